//! `/resume`: go on after `/pause`.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "resume",
    aliases: &[],
    group: Group::Queue,
    args: &[],
    help: "go on after `/pause`",
    details: &[],
    run,
};

fn run(session: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    session.paused = false;
    Ok(Outcome::Pause(false))
}
