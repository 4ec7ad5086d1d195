//! `/pick 3`: the best of a sheet.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "pick",
    aliases: &[],
    group: Group::Settings,
    args: &[Arg::optional("picture", ArgKind::Picture), Arg::optional("number", ArgKind::Count)],
    help: "go on with a picture of the last contact sheet: its settings become the session's",
    details: &["Changes start from it, too: it is the current picture then."],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let job = match (args.picture("picture"), args.count("number")) {
        (Some(reference), _) => session.picture(Some(reference))?.id,
        (None, Some(number)) => session.on_sheet(number)?,
        (None, None) => session.picture(None)?.id,
    };
    session.make_current(job)?;
    let said = format!("picked {job} {}", session.label(job));
    super::take::take(session, job)?;
    let Outcome::Print(settings) = super::show::settings(session) else { return Ok(Outcome::Nothing) };
    Ok(Outcome::Print(std::iter::once(said).chain(settings).collect()))
}
