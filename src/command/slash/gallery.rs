//! `/gallery`: pictures in a grid.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::{Outcome, View};
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "gallery",
    aliases: &[],
    group: Group::Screen,
    args: &[Arg::optional("filter", ArgKind::Filter)],
    help: "pictures in a grid, those that a filter lets through",
    details: &[],
    run,
};

fn run(_: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Open(View::Gallery { filter: args.text("filter").unwrap_or("").to_owned() }))
}
