//! `/keep`: a picture of what runs, as it is now.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "keep",
    aliases: &["k"],
    group: Group::Queue,
    args: &[],
    help: "make a picture of what the running job has so far; it goes on",
    details: &["Ctrl-K on an empty line does the same.", "`--stop-after` makes such a picture on purpose."],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let (running, job) = session.keep(&args.line)?;
    Ok(Outcome::Keep { running, job })
}
