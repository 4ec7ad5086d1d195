//! `/undo`: back to the picture that the current one was made from.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "undo",
    aliases: &[],
    group: Group::Pictures,
    args: &[],
    help: "back to the picture that the current one was made from",
    details: &[],
    run,
};

fn run(session: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    super::back::back(session, 1)
}
