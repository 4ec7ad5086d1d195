//! `/history fox steps>20`: pictures of this session or of all.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::filter::Filter;
use crate::session::{Session, history};

/// Most lines that are printed.
const MOST: usize = 50;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "history",
    aliases: &["search"],
    group: Group::History,
    args: &[Arg::optional("all", ArgKind::Word("all")), Arg::optional("filter", ArgKind::Filter)],
    help: "the pictures of this session, or of `all`, that a filter lets through",
    details: &[
        "`/history fox steps>20 rating>=3 after:yesterday -hat`; filters are explained below.",
        "The newest 50 are shown.",
    ],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    let now = jiff::ZonedDateTime::now();
    let filter = Filter::parse(args.text("filter").unwrap_or(""), &now)?;
    let mut lines = Vec::new();
    let mut notes = Vec::new();
    if let (Some(_), Some(folder)) = (args.text("all"), &session.folder) {
        for path in history::sessions(folder) {
            match history::load(&path) {
                Ok((ledger, bad)) => {
                    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    let found = ledger.entries().filter(|entry| filter.matches(entry));
                    lines.extend(found.map(|entry| format!("{name} {}", history::describe(entry, &now))));
                    notes.extend(bad.iter().map(ToString::to_string));
                }
                Err(error) => notes.push(error.to_string()),
            }
        }
    } else {
        let found = session.ledger().entries().filter(|entry| filter.matches(entry));
        lines.extend(found.map(|entry| history::describe(entry, &now)));
    }
    if lines.is_empty() {
        lines.push("no picture is like that".into());
    }
    lines.drain(..lines.len().saturating_sub(MOST));
    lines.extend(notes);
    Ok(Outcome::Print(lines))
}
