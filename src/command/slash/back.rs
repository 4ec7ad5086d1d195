//! `/back 3`: back along the tree.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "back",
    aliases: &[],
    group: Group::Pictures,
    args: &[Arg::optional("count", ArgKind::Count)],
    help: "back by so many pictures along the tree; the next change starts there",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    back(session, args.count("count").unwrap_or(1))
}

/// Goes back and says where that is.
pub fn back(session: &mut Session, count: u32) -> Result<Outcome, CommandError> {
    let entry = session.back(count)?;
    Ok(Outcome::Print(vec![format!("back at {} {}", entry.id, entry.request.prompt)]))
}
