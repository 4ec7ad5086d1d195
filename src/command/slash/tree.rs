//! `/tree`: which picture was made from which.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::{Session, SessionError, tree};

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "tree",
    aliases: &[],
    group: Group::Pictures,
    args: &[],
    help: "draw which picture was made from which",
    details: &[],
    run,
};

fn run(session: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    let lines = tree::draw(session.ledger());
    if lines.is_empty() { Err(SessionError::NothingYet.into()) } else { Ok(Outcome::Print(lines)) }
}
