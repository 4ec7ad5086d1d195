//! One job of a session and what came of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::Phase;
use crate::request::{GenerateParams, GenerateRequest, JobId, Recipe};

/// Where a job stands.
#[derive(Clone, Debug, PartialEq)]
pub enum JobState {
    /// It waits.
    Queued,
    /// It runs.
    Running(Progress),
    /// There is a picture.
    Finished,
    /// It was cancelled after so many steps.
    Cancelled(u32),
    /// It failed; one line that says why.
    Failed(String),
    /// It was put aside and can go on.
    Held {
        /// Steps done.
        step: u32,
        /// Steps in all.
        steps: u32,
    },
    /// The program ended before the job did.
    Lost,
}

/// How far a running job is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The part that runs.
    pub phase: Option<Phase>,
    /// Steps done.
    pub step: u32,
    /// Steps in all; 0 until they are known.
    pub steps: u32,
    /// Seconds that the steps took together.
    pub seconds: f64,
}

impl JobState {
    /// Whether nothing more will come of the job.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Queued | Self::Running(_) | Self::Held { .. })
    }

    /// Whether the job made a picture, or may still make one.
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Queued | Self::Running(_) | Self::Held { .. } | Self::Finished)
    }

    /// One word: `queued`, `running`, `finished`, `cancelled`, `failed`, `held`, `lost`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running(_) => "running",
            Self::Finished => "finished",
            Self::Cancelled(_) => "cancelled",
            Self::Failed(_) => "failed",
            Self::Held { .. } => "held",
            Self::Lost => "lost",
        }
    }
}

/// One job of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its id: the `12` of `#12` and `$12`.
    pub id: JobId,
    /// When it was queued.
    pub at: Timestamp,
    /// The line as typed.
    pub typed: String,
    /// What the line came to: session settings under it, seed drawn, one picture.
    pub request: GenerateRequest,
    /// The picture that it was made from, if any.
    pub parent: Option<JobId>,
    /// The first job of its line, when that line made several.
    pub batch: Option<JobId>,
    /// Where it stands.
    pub state: JobState,
    /// Steps done and steps in all when it was held last, while it is not over.
    pub held: Option<(u32, u32)>,
    /// What it resolved to.
    pub params: Option<GenerateParams>,
    /// How the picture was made.
    pub recipe: Option<Recipe>,
    /// `$@name`.
    pub name: Option<String>,
    /// 1 to 5.
    pub rating: Option<u8>,
    /// What the person wrote about it.
    pub note: Option<String>,
    /// The file is in the trash; the entry stays.
    pub deleted: bool,
}

impl Entry {
    /// The seed: drawn when the job was queued.
    pub fn seed(&self) -> Option<u64> {
        match self.request.seed {
            Some(crate::request::Seed::Fixed(seed)) => Some(seed),
            _ => self.params.as_ref().map(|params| params.seed),
        }
    }
}

/// The jobs of one line: where each picture is in the contact sheet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The first job; the others follow it without a gap.
    pub first: JobId,
    /// What varies, with its values.
    pub axes: Vec<Labels>,
    /// For each job, its place on every axis.
    pub cells: Vec<Vec<usize>>,
    /// Whether a contact sheet is wanted.
    pub sheet: bool,
}

/// What varies in a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// A setting's name, or a choice as typed.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
}

impl Batch {
    /// The jobs in the order in which they run.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        let first = self.first.0;
        (0..self.cells.len() as u64).map(move |i| JobId(first + i))
    }

    /// What sets a job apart from the others: `steps 20 · seed 4`.
    pub fn label(&self, job: JobId) -> String {
        let cell = job.0.checked_sub(self.first.0).and_then(|at| self.cells.get(at as usize));
        let places = cell.into_iter().flatten().zip(&self.axes);
        let parts = places.map(|(at, axis)| {
            let value = axis.values.get(*at).map_or("", String::as_str);
            // A choice's values speak for themselves.
            if axis.name.starts_with(['{', '_']) {
                value.to_owned()
            } else {
                format!("{} {value}", axis.name)
            }
        });
        parts.collect::<Vec<_>>().join(" · ")
    }
}
