//! `/profile`: where the time of the last job went.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "profile",
    aliases: &[],
    group: Group::Program,
    args: &[Arg::optional("off", ArgKind::Word("off"))],
    help: "where the time of the last job went, op by op",
    details: &[
        "The first time it begins recording: make a picture, then type it again.",
        "`/profile off` stops recording. On a GPU each recorded op waits for the device, so pictures take longer.",
        "tintype --profile FILE also writes every job into a trace for chrome://tracing or Perfetto.",
    ],
    run,
};

fn run(_: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Profile(args.text("off").is_none()))
}
