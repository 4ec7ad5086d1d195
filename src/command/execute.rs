//! Doing what a line says.

use super::args;
use super::line::{Line, ParseError, parse};
use super::outcome::{Outcome, Submission};
use crate::session::filter::FilterError;
use crate::session::plan::Plan;
use crate::session::replay::ReplayError;
use crate::session::settings::ValueError;
use crate::session::{Session, SessionError};

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The session cannot.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A filter that makes no sense.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Nothing to replay.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// What was typed after it.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A setting that holds for one line only.
    #[error("{0} holds for one line; type it there as --{0}")]
    OneLine(&'static str),
    /// Stars beyond five.
    #[error("a rating goes from 0 (none) to 5, not {0}")]
    Stars(u32),
    /// Too few or too many.
    #[error("make from 1 to 99 variations, not {0}")]
    Variations(u32),
    /// No such theme.
    #[error("there is no theme `{name}`; /theme shows them{}", nearest.as_ref().map(|n| format!(", did you mean {n}?")).unwrap_or_default())]
    NoTheme {
        /// What was typed.
        name: String,
        /// The nearest name.
        nearest: Option<String>,
    },
    /// No help on that.
    #[error("there is no help on `{0}`; /help lists everything")]
    NoTopic(String),
}

impl From<ValueError> for CommandError {
    fn from(error: ValueError) -> Self {
        Self::Session(error.into())
    }
}

impl CommandError {
    /// What to print: the message, and if the line itself is wrong, the line with the place marked.
    pub fn render(&self, line: &str) -> String {
        match self {
            Self::Parse(error) => error.render(line),
            error => error.to_string(),
        }
    }
}

/// Does what a line says, as far as the session goes, and returns what is left to do.
///
/// # Errors
/// When the line is not understood or cannot be done. Nothing has changed then.
pub fn execute(line: &str, session: &mut Session) -> Result<Outcome, CommandError> {
    let outcome = match parse(line) {
        Line::Empty => return Ok(Outcome::Nothing),
        Line::ParseError(error) => return Err(error.into()),
        Line::Prompt(typed) => {
            let plan = session.plan(line, &typed)?;
            queue(session, plan)
        }
        Line::Derive(change) => {
            let plan = session.derive(line, &change, None)?;
            queue(session, plan)
        }
        Line::Command(typed) => {
            let command = typed.found.command;
            let args = args::bind(command.args, typed.found.setting, line, &typed.args, &command.usage())?;
            (command.run)(session, &args)?
        }
    };
    session.typed(line);
    Ok(outcome)
}

/// Queues a plan, or asks first if it is a large one.
pub fn queue(session: &mut Session, plan: Plan) -> Outcome {
    if plan.pictures.len() > session.confirm_above {
        return Outcome::Confirm { question: question(session, &plan), plan: Box::new(plan) };
    }
    confirmed(session, &plan)
}

/// Queues a plan.
pub fn confirmed(session: &mut Session, plan: &Plan) -> Outcome {
    let mut lines = plan.changes.clone();
    if plan.pictures.len() > 1 {
        lines.push(summary(plan));
    }
    let jobs = session.submit(plan);
    Outcome::Submit(Submission { jobs, parent: plan.parent, diff: plan.diff.clone(), lines })
}

/// `12 pictures: steps 10, 20, 30 × cfg 5, 7`
fn summary(plan: &Plan) -> String {
    let axes = plan.axes.iter().map(|axis| match axis.values.as_slice() {
        [first, .., last] if axis.values.len() > 6 => format!("{} {first} … {last}", axis.name),
        values => format!("{} {}", axis.name, values.join(", ")),
    });
    if plan.axes.is_empty() {
        return format!("{} pictures", plan.pictures.len());
    }
    format!("{} pictures: {}", plan.pictures.len(), axes.collect::<Vec<_>>().join(" × "))
}

fn question(session: &Session, plan: &Plan) -> String {
    let time = session.estimate(plan).map(|seconds| format!(", about {}", duration(seconds)));
    format!("{}{}. Make them all?", summary(plan), time.unwrap_or_default())
}

/// `40 s`, `2 min`, `3 h 20 min`
fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round() as u64;
    match minutes {
        _ if seconds < 90.0 => format!("{seconds:.0} s"),
        0..90 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests;
