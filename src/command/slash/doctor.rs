//! `/doctor`: what works here and what does not.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "doctor",
    aliases: &[],
    group: Group::Program,
    args: &[],
    help: "look at the terminal, the device and the caches",
    details: &[],
    run,
};

fn run(_: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Doctor)
}
