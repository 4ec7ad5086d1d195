//! `/full`: the whole screen.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::{Outcome, View};
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "full",
    aliases: &["fullscreen"],
    group: Group::Screen,
    args: &[],
    help: "full screen, and back; also F2",
    details: &[],
    run,
};

fn run(_: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Open(View::Full))
}
