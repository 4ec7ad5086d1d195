//! `/vary $12 4 0.1`: neighbours of a picture.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::{CommandError, queue};
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "vary",
    aliases: &[],
    group: Group::Pictures,
    args: &[
        Arg::optional("picture", ArgKind::Picture),
        Arg::optional("count", ArgKind::Count),
        Arg::optional("amount", ArgKind::Number),
    ],
    help: "make variations of a picture: other noise mixed into its own",
    details: &["4 with an amount of 0.1 unless said otherwise; 0 changes nothing, 1 leaves nothing."],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let count = args.count("count").unwrap_or(4);
    if !(1..=99).contains(&count) {
        return Err(CommandError::Variations(count));
    }
    let amount = args.number("amount").unwrap_or(0.1);
    let plan = session.vary(&args.line, args.picture("picture"), count, amount)?;
    Ok(queue(session, plan))
}
