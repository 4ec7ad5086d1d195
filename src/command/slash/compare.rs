//! `/compare $3 $7`: side by side.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::{Outcome, View};
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "compare",
    aliases: &["diff"],
    group: Group::Screen,
    args: &[Arg::required("picture", ArgKind::Picture), Arg::optional("other", ArgKind::Picture)],
    help: "two pictures side by side; the second is the current one unless named",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let one = session.picture(args.picture("picture"))?.id;
    let other = session.picture(args.picture("other"))?.id;
    Ok(Outcome::Open(View::Compare(one, other)))
}
