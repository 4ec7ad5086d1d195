//! `/unload`: the model out of memory.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "unload",
    aliases: &[],
    group: Group::Program,
    args: &[],
    help: "give the model's memory back; the next prompt loads it again",
    details: &[],
    run,
};

fn run(_: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Unload)
}
