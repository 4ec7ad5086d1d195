//! `/resume`: go on after `/pause` and `/hold`.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "resume",
    aliases: &[],
    group: Group::Queue,
    args: &[Arg::optional("picture", ArgKind::Picture)],
    help: "go on after `/pause`, and with held jobs: all of them, or the one named",
    details: &["A held job goes on exactly where it was: the picture is the same as without a break."],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let jobs = match args.picture("picture") {
        Some(reference) => vec![session.picture(Some(reference))?.id],
        None => session.held_jobs().collect(),
    };
    let taken: Result<Vec<_>, _> = jobs.into_iter().map(|job| session.take_up(job)).collect();
    let taken = taken?;
    session.paused = false;
    Ok(Outcome::Resume(taken))
}
