//! `/save fox.png`: a picture under another name.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "save",
    aliases: &[],
    group: Group::History,
    args: &[Arg::optional("picture", ArgKind::Picture), Arg::required("file", ArgKind::File)],
    help: "write a picture to another file",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let job = session.picture(args.picture("picture"))?.id;
    Ok(Outcome::Save { job, to: args.file("file").unwrap_or_default() })
}
