//! `/edit $12`: the line that makes a picture, to be changed by hand.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::format::prompt_line;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "edit",
    aliases: &[],
    group: Group::Pictures,
    args: &[Arg::optional("picture", ArgKind::Picture)],
    help: "put the line that makes a picture into the editor",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Edit(line(session, args)?))
}

/// The line that makes the picture, whatever the session's settings are.
pub fn line(session: &Session, args: &Args) -> Result<String, CommandError> {
    Ok(prompt_line(&session.picture(args.picture("picture"))?.request))
}
