//! `/rate 4`: stars.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "rate",
    aliases: &[],
    group: Group::History,
    args: &[Arg::optional("picture", ArgKind::Picture), Arg::required("stars", ArgKind::Count)],
    help: "give a picture 1 to 5 stars; 0 takes them away",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let stars = args.count("stars").unwrap_or(0);
    let kept = u8::try_from(stars).ok().filter(|stars| *stars <= 5).ok_or(CommandError::Stars(stars))?;
    let job = session.rate(args.picture("picture"), (kept > 0).then_some(kept))?;
    let shown = if kept == 0 { "no stars".into() } else { "★".repeat(kept.into()) };
    Ok(Outcome::Print(vec![format!("{job} {shown}")]))
}
