//! `/branch $12`: go on from another picture; `/branch $12@9 at night`: from the middle of it.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::{CommandError, queue};
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;
use crate::session::derive::Derivation;
use crate::session::plan::made_from;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "branch",
    aliases: &[],
    group: Group::Pictures,
    args: &[Arg::required("picture", ArgKind::Moment), Arg::optional("change", ArgKind::Change)],
    help: "go on from another picture, or from a step within it, with a change at once",
    details: &[
        "`/branch $12@9 at night` does the steps after the ninth with another prompt; `@9` alone is the current picture.",
        "Prompts, guidance and eta may change there, and scheduler and steps where the noise levels meet.",
        "A scheduler that draws noise goes on with the same noise, or with that of another seed.",
    ],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let reference = args.picture("picture");
    let change = args.change("change");
    if let Some(step) = args.step("picture") {
        let plan = session.branch(&args.line, &change, reference, step)?;
        return Ok(queue(session, plan));
    }
    let parent = session.picture(reference)?;
    let job = parent.id;
    if change != Derivation::default() {
        let mut plan = session.derive(&args.line, &change, reference)?;
        plan.changes.insert(0, format!("from {}", made_from(parent, &plan)));
        return Ok(queue(session, plan));
    }
    let entry = session.make_current(job)?;
    Ok(Outcome::Print(vec![format!("going on from {} {}", entry.id, entry.request.prompt)]))
}
