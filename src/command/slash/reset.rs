//! `/reset`: back to what the configuration says.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "reset",
    aliases: &[],
    group: Group::Settings,
    args: &[Arg::optional("setting", ArgKind::Setting)],
    help: "back to the configuration, for one setting or all",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let mut settings = session.defaults().clone();
    if let Some(setting) = args.setting("setting") {
        let default = setting.get(&settings);
        settings = session.settings().clone();
        match default {
            Some(default) => setting.set(&mut settings, &default)?,
            None => setting.clear(&mut settings),
        }
    }
    session.set_settings(settings);
    Ok(super::show::settings(session))
}
