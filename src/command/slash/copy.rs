//! `/copy`: the line that makes a picture, on the clipboard.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "copy",
    aliases: &[],
    group: Group::History,
    args: &[Arg::optional("picture", ArgKind::Picture)],
    help: "put the line that makes a picture on the clipboard",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Copy(super::edit::line(session, args)?))
}
