//! A session's state, made of its records and of nothing else.

use std::collections::BTreeMap;

use super::entry::{Batch, Entry, JobState, Progress};
use super::record::{Record, What};
use crate::request::{GenerateRequest, JobId};

/// Everything that a session knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// The session's id.
    pub session: String,
    /// What holds for every line that does not say otherwise.
    pub settings: GenerateRequest,
    entries: BTreeMap<JobId, Entry>,
    batches: BTreeMap<JobId, Batch>,
    current: Option<JobId>,
}

impl Ledger {
    /// An empty one with these settings.
    pub fn new(settings: GenerateRequest) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Takes a record in. One about a job that is not known changes nothing: its line was torn.
    pub fn apply(&mut self, record: &Record) {
        match &record.what {
            What::Opened { session, .. } => {
                self.session.clone_from(session);
                // Whoever opens the file is alone with it, so nobody works at these any more.
                self.abandon();
            }
            What::Settings { settings } => self.settings = (**settings).clone(),
            What::Batch(batch) => {
                self.batches.insert(batch.first, batch.clone());
            }
            What::Queued { job, typed, request, parent, batch } => {
                let entry = Entry {
                    id: *job,
                    at: record.at,
                    typed: typed.clone(),
                    request: (**request).clone(),
                    parent: *parent,
                    batch: *batch,
                    state: JobState::Queued,
                    held: None,
                    params: None,
                    recipe: None,
                    name: None,
                    rating: None,
                    note: None,
                    deleted: false,
                };
                self.entries.insert(*job, entry);
                self.current = Some(*job);
            }
            What::Current { job } => self.current = Some(*job),
            What::Line { .. } | What::Unknown => {}
            about_a_job => self.change(about_a_job),
        }
    }

    /// Nobody works at this session any more: what is not over is lost, or back where it was held.
    pub fn abandon(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| !entry.state.is_over()) {
            entry.state = match entry.held {
                Some((step, steps)) => JobState::Held { step, steps },
                None => JobState::Lost,
            };
        }
    }

    fn change(&mut self, what: &What) {
        let job = match what {
            What::Started { job }
            | What::Resolved { job, .. }
            | What::Finished { job, .. }
            | What::Saved { job, .. }
            | What::Cancelled { job, .. }
            | What::Held { job, .. }
            | What::TakenUp { job }
            | What::Failed { job, .. }
            | What::Rated { job, .. }
            | What::Noted { job, .. }
            | What::Named { job, .. }
            | What::Deleted { job } => *job,
            _ => return,
        };
        if let What::Named { name, .. } = what {
            // A name is one picture's: the last that got it.
            let others = self.entries.values_mut().filter(|entry| entry.name.as_ref() == Some(name));
            others.for_each(|entry| entry.name = None);
        }
        let Some(entry) = self.entries.get_mut(&job) else { return };
        match what {
            What::Started { .. } => entry.state = JobState::Running(Progress::default()),
            What::Resolved { params, .. } => entry.params = Some((**params).clone()),
            What::Finished { recipe, .. } => {
                entry.state = JobState::Finished;
                // What was kept on the way learns where that was, so that it can be made again.
                entry.request.stop_after = recipe.params.stop_after;
                entry.recipe = Some((**recipe).clone());
            }
            What::Saved { path, .. } => {
                entry.recipe.iter_mut().for_each(|recipe| recipe.path = Some(path.clone()));
            }
            What::Cancelled { step, .. } => entry.state = JobState::Cancelled(*step),
            What::Held { step, steps, .. } => {
                entry.state = JobState::Held { step: *step, steps: *steps };
                entry.held = Some((*step, *steps));
            }
            What::TakenUp { .. } => entry.state = JobState::Queued,
            What::Failed { error, .. } => entry.state = JobState::Failed(error.clone()),
            What::Rated { stars, .. } => entry.rating = *stars,
            What::Noted { text, .. } => entry.note.clone_from(text),
            What::Named { name, .. } => entry.name = Some(name.clone()),
            What::Deleted { .. } => entry.deleted = true,
            _ => {}
        }
        if entry.state.is_over() {
            entry.held = None;
        }
    }

    /// The entry of a job.
    pub fn entry(&self, id: JobId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    pub(super) fn entry_mut(&mut self, id: JobId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// The batch whose first job this is.
    pub fn batch(&self, first: JobId) -> Option<&Batch> {
        self.batches.get(&first)
    }

    /// The id that the next job gets.
    pub fn next_id(&self) -> JobId {
        JobId(self.entries.last_key_value().map_or(1, |(last, _)| last.0 + 1))
    }

    /// The current picture: the last one that was asked for, or where `/back` and `/branch` went. One that came
    /// to nothing hands over to the one before it.
    pub fn current(&self) -> Option<&Entry> {
        let current = self.current?;
        self.entries.range(..=current).map(|(_, entry)| entry).rev().find(|entry| entry.state.is_alive())
    }

    /// The `n`-th last picture up to the current one; 1 is the current one.
    pub fn back(&self, n: u64) -> Option<&Entry> {
        let current = self.current()?.id;
        let alive = self.entries.range(..=current).map(|(_, entry)| entry).rev();
        alive.filter(|entry| entry.state.is_alive()).nth(usize::try_from(n).ok()?.checked_sub(1)?)
    }

    /// The picture of this name.
    pub fn named(&self, name: &str) -> Option<&Entry> {
        self.entries.values().rev().find(|entry| entry.name.as_deref() == Some(name))
    }

    /// Pictures made from this one, oldest first.
    pub fn children(&self, id: JobId) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| entry.parent == Some(id))
    }
}
