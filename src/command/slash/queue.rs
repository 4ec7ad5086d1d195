//! `/queue`: what runs and what waits.

use crate::command::args::Args;
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;
use crate::session::entry::JobState;

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "queue",
    aliases: &["jobs"],
    group: Group::Queue,
    args: &[],
    help: "what runs and what waits",
    details: &[],
    run,
};

fn run(session: &mut Session, _: &Args) -> Result<Outcome, CommandError> {
    let mut lines = Vec::new();
    for entry in session.ledger().entries() {
        let state = match &entry.state {
            JobState::Running(progress) if progress.steps > 0 => {
                format!("step {} of {}", progress.step, progress.steps)
            }
            state if !state.is_over() => state.word().to_owned(),
            _ => continue,
        };
        lines.push(format!("{} {} · {state}", entry.id, entry.request.prompt));
    }
    if session.paused {
        lines.push("the queue is paused; /resume goes on".into());
    } else if lines.is_empty() {
        lines.push("nothing runs and nothing waits".into());
    }
    Ok(Outcome::Print(lines))
}
