//! `/pause`: start no further job.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "pause",
    aliases: &[],
    group: Group::Queue,
    args: &[],
    help: "start no further job; the running one goes on",
    details: &[],
    run,
};

fn run(session: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    session.paused = true;
    Ok(Outcome::Pause(true))
}
