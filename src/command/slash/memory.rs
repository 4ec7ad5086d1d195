//! `/memory`: what the program, the GPU and the swap take.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::{Outcome, View};
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "memory",
    aliases: &["mem"],
    group: Group::Screen,
    args: &[],
    help: "memory of the program, the GPU and the swap",
    details: &[],
    run,
};

fn run(_: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Open(View::Memory))
}
