//! `/load fox.png`: the recipe of a picture, whoever made it.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "load",
    aliases: &["fetch", "inspect"],
    group: Group::History,
    args: &[Arg::required("file", ArgKind::File)],
    help: "read the recipe in a picture of any tool and put its line into the editor",
    details: &[],
    run,
};

fn run(_: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Load(args.file("file").unwrap_or_default()))
}
