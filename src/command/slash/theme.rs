//! `/theme`: colours.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::line::nearest;
use crate::command::outcome::{Outcome, View};
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "theme",
    aliases: &["colors", "colours"],
    group: Group::Screen,
    args: &[Arg::optional("theme", ArgKind::Theme)],
    help: "use a theme; without a name, try them on",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let Some(name) = args.text("theme") else { return Ok(Outcome::Open(View::Themes)) };
    let themes = &session.catalog.themes;
    // A front end without themes knows no names; then it may find out by itself.
    if themes.is_empty() || themes.iter().any(|theme| theme.name == name) {
        return Ok(Outcome::SetTheme(name.to_owned()));
    }
    let nearest = nearest(name, themes.iter().map(|theme| theme.name.as_str())).map(str::to_owned);
    Err(CommandError::NoTheme { name: name.to_owned(), nearest })
}
