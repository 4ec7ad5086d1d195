//! `/quit`: leave.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "quit",
    aliases: &["bye", "exit", "q"],
    group: Group::Program,
    args: &[],
    help: "leave; also Ctrl-D",
    details: &[],
    run,
};

fn run(_: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Quit)
}
