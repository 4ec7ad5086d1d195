//! `/replay 20260304-101500`: the pictures of a record once more, compared with it.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::{CommandError, queue};
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;
use crate::session::replay::{ReplayError, Source};

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "replay",
    aliases: &[],
    group: Group::Pictures,
    args: &[Arg::optional("session", ArgKind::File)],
    help: "make recorded pictures again, here, and say whether they came out the same",
    details: &[
        "A session by its name, the beginning of it, or `last`; a session's file, a picture, or a folder of pictures.",
        "Without one, the pictures of this session.",
    ],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let source = match args.text("session") {
        Some(name) => Source::read(name, session.folder.as_deref())?,
        None => Source::of_ledger(session.ledger()),
    };
    if source.pictures.is_empty() {
        return Err(ReplayError::Nothing("this session".into()).into());
    }
    let plan = session.replay(&args.line, source);
    Ok(queue(session, plan))
}
