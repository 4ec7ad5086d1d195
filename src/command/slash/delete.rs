//! `/delete`: a picture into the trash.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "delete",
    aliases: &["trash"],
    group: Group::History,
    args: &[Arg::optional("picture", ArgKind::Picture)],
    help: "move a picture's file to the trash; its entry in the history stays",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let reference = args.picture("picture");
    let path = session.picture_file(reference)?.to_owned();
    Ok(Outcome::Delete { job: session.picture(reference)?.id, path })
}
