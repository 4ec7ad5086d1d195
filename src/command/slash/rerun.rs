//! `/rerun $5 -s 40`: a picture again, with or without changes.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::{CommandError, queue};
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "rerun",
    aliases: &["again"],
    group: Group::Pictures,
    args: &[Arg::optional("picture", ArgKind::Picture), Arg::optional("change", ArgKind::Change)],
    help: "make a picture again, with a change such as `+ rain` or `-s 40`",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let plan = session.derive(&args.line, &args.change("change"), args.picture("picture"))?;
    Ok(queue(session, plan))
}
