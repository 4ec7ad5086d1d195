//! `/note the good one`: words about a picture.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "note",
    aliases: &[],
    group: Group::History,
    args: &[Arg::optional("picture", ArgKind::Picture), Arg::required("text", ArgKind::Text)],
    help: "write something about a picture; `\"\"` takes it away",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let text = args.text("text").unwrap_or("");
    let job = session.note(args.picture("picture"), text)?;
    Ok(Outcome::Print(vec![format!("{job} {}", if text.is_empty() { "no note" } else { text })]))
}
