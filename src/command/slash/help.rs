//! `/help`: everything, or one thing.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::switches;
use crate::command::table::{COMMANDS, Group, SlashCommand, find};
use crate::session::Session;
use crate::session::filter::FIELDS;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "help",
    aliases: &["?"],
    group: Group::Program,
    args: &[Arg::optional("topic", ArgKind::Topic)],
    help: "what can be typed; with a name, more about it",
    details: &["Topics beside the commands and settings: `switches`, `filters`, `changes`."],
    run,
};

fn run(_: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let Some(topic) = args.text("topic") else { return Ok(Outcome::Print(overview())) };
    let topic = topic.trim_start_matches(['/', '-']);
    let lines = match topic {
        "switches" | "settings" => columns(switches::help()),
        "filters" => columns(FIELDS.iter().map(|(field, help)| (format!("{field}:"), *help))),
        "changes" => CHANGES.iter().map(ToString::to_string).collect(),
        name => match find(name) {
            Some(found) => match found.setting {
                Some(setting) => columns([(switches::forms(setting), setting.help)]),
                None => about(found.command),
            },
            None => setting(name).ok_or_else(|| CommandError::NoTopic(topic.to_owned()))?,
        },
    };
    Ok(Outcome::Print(lines))
}

const CHANGES: [&str; 5] = [
    "+ rain        the current picture again with `, rain` added to its prompt",
    "- hat         without `hat`",
    "s/dog/fox/    with the first `dog` replaced; s/dog/fox/g replaces every one",
    "-C 6 -s 40    with other values",
    "All keep the seed. /undo, /back 3 and /branch $12 choose what the current picture is; /tree draws them all.",
];

fn overview() -> Vec<String> {
    let mut lines = vec![
        "Type a prompt, and switches after it:  a red fox -s 20 -C 7 -S 42 -n \"blurry\" 768x512".to_owned(),
        "Change the last picture:  + rain   - hat   s/dog/fox/   -C 6".to_owned(),
        "More: /help switches, /help changes, /help filters, /help COMMAND".to_owned(),
    ];
    for group in Group::ALL {
        lines.push(String::new());
        lines.push(group.title().to_owned());
        let commands = COMMANDS.iter().filter(|command| command.group == group);
        lines.extend(columns(commands.map(|command| (command.usage(), command.help))));
    }
    lines.push(String::new());
    lines.push("The name of a setting is a command, too: /steps 30, /model, /cfg 7".to_owned());
    lines
}

fn about(command: &SlashCommand) -> Vec<String> {
    let mut lines = vec![command.usage(), format!("  {}", command.help)];
    lines.extend(command.details.iter().map(|line| format!("  {line}")));
    if !command.aliases.is_empty() {
        let aliases: Vec<_> = command.aliases.iter().map(|alias| format!("/{alias}")).collect();
        lines.push(format!("  Also {}.", aliases.join(", ")));
    }
    lines
}

/// A setting that is no command, since it holds for one line only.
fn setting(name: &str) -> Option<Vec<String>> {
    let setting = crate::session::settings::find(name)?;
    Some(columns([(switches::forms(setting), setting.help)]))
}

fn columns<'a>(rows: impl IntoIterator<Item = (String, &'a str)>) -> Vec<String> {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0).min(32);
    rows.iter().map(|(left, right)| format!("  {left:<width$}  {right}")).collect()
}
