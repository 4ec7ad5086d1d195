//! `/export evening.html`: the session as a script, as JSON, or as a page.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;
use crate::session::export::{Format, export};

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "export",
    aliases: &[],
    group: Group::History,
    args: &[Arg::required("file", ArgKind::File)],
    help: "write the session: a script of its lines, `.json`, or `.html` with all pictures",
    details: &[
        "`tintype < FILE` makes the pictures of a script again; what its lines leave open is the configuration's to say.",
        "The page needs nothing but itself.",
    ],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let to = args.file("file").unwrap_or_default();
    let text = export(session.ledger(), Format::of(&to));
    Ok(Outcome::Write { to, text })
}
