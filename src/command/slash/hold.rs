//! `/hold`: put the running job aside.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "hold",
    aliases: &["park"],
    group: Group::Queue,
    args: &[],
    help: "put the running job aside after the step in hand; `/resume` goes on with it",
    details: &[
        "It keeps where it was when tintype ends: `tintype --resume` takes the session up again.",
        "The next job in the queue begins; `/pause` before it holds those, too.",
    ],
    run,
};

fn run(session: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Hold(session.running()?.id))
}
