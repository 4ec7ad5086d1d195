//! `/cancel`: stop a job.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::{Cancel, Outcome};
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "cancel",
    aliases: &["stop"],
    group: Group::Queue,
    args: &[Arg::optional("all", ArgKind::Word("all")), Arg::optional("picture", ArgKind::Picture)],
    help: "cancel the running job after the step in hand; or the one named, or `all`",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    if args.text("all").is_some() {
        return Ok(Outcome::Cancel(Cancel::All));
    }
    let Some(reference) = args.picture("picture") else { return Ok(Outcome::Cancel(Cancel::Running)) };
    let entry = session.picture(Some(reference))?;
    if entry.state.is_over() {
        return Ok(Outcome::Print(vec![format!("{} is {} already", entry.id, entry.state.word())]));
    }
    Ok(Outcome::Cancel(Cancel::Job(entry.id)))
}
