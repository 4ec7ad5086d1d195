//! `/name hero`: a name for `$@hero`.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "name",
    aliases: &["tag"],
    group: Group::History,
    args: &[Arg::optional("picture", ArgKind::Picture), Arg::required("name", ArgKind::Text)],
    help: "name a picture, for `$@name`",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let name = args.text("name").unwrap_or("");
    let job = session.name(args.picture("picture"), name)?;
    Ok(Outcome::Print(vec![format!("{job} is $@{name}")]))
}
