//! The table of slash commands. A command is a file in `slash` and a line here; parsing, completion, `/help` and
//! `docs/commands.md` read its row.

use super::args::{Arg, Args};
use super::execute::CommandError;
use super::line::nearest;
use super::outcome::Outcome;
use super::slash;
use crate::session::Session;
use crate::session::settings::{self, Setting};

/// A slash command.
pub struct SlashCommand {
    /// The name, without the slash.
    pub name: &'static str,
    /// Other names; those of ollama and InvokeAI among them.
    pub aliases: &'static [&'static str],
    /// Which part of the help it is in.
    pub group: Group,
    /// What follows it.
    pub args: &'static [Arg],
    /// One line of help.
    pub help: &'static str,
    /// What else there is to know, a sentence a line.
    pub details: &'static [&'static str],
    /// What it does. It changes nothing but the session; everything else is for the front end to do.
    pub run: fn(&mut Session, &Args) -> Result<Outcome, CommandError>,
}

/// A part of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What the next pictures are like.
    Settings,
    /// Making pictures from pictures.
    Pictures,
    /// Jobs that wait and run.
    Queue,
    /// Finding and keeping.
    History,
    /// What is on the screen.
    Screen,
    /// The program itself.
    Program,
}

impl Group {
    /// All, in the order of the help.
    pub const ALL: [Self; 6] =
        [Self::Settings, Self::Pictures, Self::Queue, Self::History, Self::Screen, Self::Program];

    /// What the help calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Settings => "Settings",
            Self::Pictures => "Pictures from pictures",
            Self::Queue => "Queue",
            Self::History => "History and files",
            Self::Screen => "Screen",
            Self::Program => "Program",
        }
    }
}

/// The commands, in the order of the help.
pub static COMMANDS: &[&SlashCommand] = &[
    &slash::set::COMMAND,
    &slash::show::COMMAND,
    &slash::reset::COMMAND,
    &slash::take::COMMAND,
    &slash::pick::COMMAND,
    &slash::rerun::COMMAND,
    &slash::replay::COMMAND,
    &slash::vary::COMMAND,
    &slash::edit::COMMAND,
    &slash::undo::COMMAND,
    &slash::back::COMMAND,
    &slash::branch::COMMAND,
    &slash::tree::COMMAND,
    &slash::queue::COMMAND,
    &slash::cancel::COMMAND,
    &slash::keep::COMMAND,
    &slash::hold::COMMAND,
    &slash::pause::COMMAND,
    &slash::resume::COMMAND,
    &slash::history::COMMAND,
    &slash::rate::COMMAND,
    &slash::note::COMMAND,
    &slash::name::COMMAND,
    &slash::save::COMMAND,
    &slash::open::COMMAND,
    &slash::copy::COMMAND,
    &slash::delete::COMMAND,
    &slash::load::COMMAND,
    &slash::export::COMMAND,
    &slash::gallery::COMMAND,
    &slash::compare::COMMAND,
    &slash::full::COMMAND,
    &slash::theme::COMMAND,
    &slash::memory::COMMAND,
    &slash::unload::COMMAND,
    &slash::profile::COMMAND,
    &slash::doctor::COMMAND,
    &slash::help::COMMAND,
    &slash::quit::COMMAND,
];

/// A command that was found by a name.
#[derive(Clone, Copy)]
pub struct Found {
    /// The command.
    pub command: &'static SlashCommand,
    /// The setting, when the name is a setting's: `/steps 30` is `/set steps 30`.
    pub setting: Option<&'static Setting>,
}

/// The command of this name, without the slash. A setting's name is a command, too.
pub fn find(name: &str) -> Option<Found> {
    let lower = name.to_ascii_lowercase();
    let named = |command: &&&SlashCommand| command.name == lower || command.aliases.contains(&lower.as_str());
    if let Some(command) = COMMANDS.iter().find(named) {
        return Some(Found { command, setting: None });
    }
    let setting = settings::find(&lower).filter(|setting| setting.sticky)?;
    Some(Found { command: &slash::set::COMMAND, setting: Some(setting) })
}

/// The name that is most likely meant.
pub fn suggest(name: &str) -> Option<&'static str> {
    nearest(name, names().map(|(name, _)| name))
}

/// All names with their help, commands before settings, aliases not among them.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    let settings = settings::SETTINGS.iter().filter(|setting| setting.sticky);
    let commands = COMMANDS.iter().map(|command| (command.name, command.help));
    commands.chain(settings.map(|setting| (setting.name, setting.help)))
}

impl SlashCommand {
    /// How it is typed: `/save [picture] FILE`.
    pub fn usage(&self) -> String {
        let args = self.args.iter().map(|arg| match (arg.kind, arg.required) {
            (_, true) => format!(" {}", arg.name.to_uppercase()),
            (_, false) => format!(" [{}]", arg.name),
        });
        std::iter::once(format!("/{}", self.name)).chain(args).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_command_is_explained() {
        let mut seen = std::collections::BTreeSet::new();
        for command in COMMANDS {
            for name in std::iter::once(&command.name).chain(command.aliases) {
                assert!(seen.insert(*name), "/{name} twice");
                assert!(std::ptr::eq(find(name).unwrap().command, *command));
                assert!(settings::find(name).is_none(), "/{name} is a setting");
            }
            assert!(!command.help.is_empty() && !command.help.ends_with('.'), "/{}", command.name);
            assert!(command.details.iter().all(|line| line.ends_with('.')), "/{}", command.name);
            let rest = command.args.iter().position(|arg| arg.kind.takes_rest());
            assert!(
                rest.is_none_or(|at| at + 1 == command.args.len()),
                "/{}: the rest comes last",
                command.name
            );
        }
        for group in Group::ALL {
            assert!(COMMANDS.iter().any(|command| command.group == group), "{group:?} is empty");
        }
    }

    #[test]
    fn what_other_tools_call_it_is_known() {
        for (typed, name) in
            [("bye", "quit"), ("?", "help"), ("exit", "quit"), ("fetch", "load"), ("HISTORY", "history")]
        {
            assert_eq!(find(typed).unwrap().command.name, name);
        }
        for (typed, name) in [("sampler", "scheduler"), ("cfg", "guidance-scale"), ("model", "model")] {
            assert_eq!(find(typed).unwrap().setting.unwrap().name, name);
        }
        assert!(find("image").is_none(), "it holds for one line only");
        assert_eq!(suggest("histroy"), Some("history"));
        assert_eq!(suggest("gal"), Some("gallery"));
    }
}
