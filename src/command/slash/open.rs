//! `/open`: a picture in the system's viewer.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "open",
    aliases: &[],
    group: Group::History,
    args: &[Arg::optional("picture", ArgKind::Picture)],
    help: "open a picture with the system's viewer",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::OpenFile(session.picture_file(args.picture("picture"))?.to_owned()))
}
