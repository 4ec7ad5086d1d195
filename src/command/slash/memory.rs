//! `/memory`: what the program, the GPU and the swap take.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::{Outcome, View};
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "memory",
    aliases: &["mem"],
    group: Group::Screen,
    args: &[Arg::optional("plan", ArgKind::Word("plan"))],
    help: "memory in use, by phase; plan: what the last job was expected to take",
    details: &[],
    run,
};

fn run(_: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    Ok(Outcome::Open(if args.text("plan").is_some() { View::MemoryPlan } else { View::Memory }))
}
