//! `/branch $12`: go on from another picture.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::{CommandError, queue};
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;
use crate::session::derive::Derivation;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "branch",
    aliases: &[],
    group: Group::Pictures,
    args: &[Arg::required("picture", ArgKind::Picture), Arg::optional("change", ArgKind::Change)],
    help: "go on from another picture, with a change at once",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let reference = args.picture("picture");
    let change = args.change("change");
    if change != Derivation::default() {
        let plan = session.derive(&args.line, &change, reference)?;
        return Ok(queue(session, plan));
    }
    let job = session.picture(reference)?.id;
    let entry = session.make_current(job)?;
    Ok(Outcome::Print(vec![format!("going on from {} {}", entry.id, entry.request.prompt)]))
}
