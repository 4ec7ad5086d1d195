//! Jobs that were put aside: what they go on from lies beside the session's file, or in memory where there is none.
//!
//! The engine says what is in it and judges it when the job goes on; here it is bytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::What;
use super::{JobState, Reference, Session, SessionError};
use crate::engine::Job;
use crate::gallery::save;
use crate::request::JobId;

/// A held job, ready to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct Resumed {
    /// The job.
    pub job: Job,
    /// What it goes on from.
    pub state: Arc<[u8]>,
}

/// `20261124-131456.12.held` beside `20261124-131456.jsonl`.
fn path_of(session: &Path, job: JobId) -> PathBuf {
    session.with_extension(format!("{}.held", job.0))
}

impl Session {
    /// The engine put a job aside.
    pub(super) fn held(&mut self, job: JobId, step: u32, steps: u32, state: &Arc<[u8]>) {
        // Written whole before it is recorded: what the session says is there, is there.
        let written = self.path().map(|path| save::replace(&path_of(path, job), state));
        if let Some(Err(error)) = written {
            self.notices.push(format!("{error}; {job} can go on only until tintype ends"));
        }
        self.aside.insert(job, Arc::clone(state));
        self.record(What::Held { job, step, steps });
    }

    /// The held jobs, oldest first.
    pub fn held_jobs(&self) -> impl Iterator<Item = JobId> {
        let held = self.ledger.entries().filter(|entry| matches!(entry.state, JobState::Held { .. }));
        held.map(|entry| entry.id)
    }

    /// Takes a held job up again: to hand to the engine.
    ///
    /// # Errors
    /// When it is not held, or what it goes on from cannot be read.
    pub fn take_up(&mut self, job: JobId) -> Result<Resumed, SessionError> {
        let reference = Reference::Number(job);
        let entry = self.picture(Some(&reference))?;
        if !matches!(entry.state, JobState::Held { .. }) {
            return Err(SessionError::NotHeld { reference, state: entry.state.word() });
        }
        let request = entry.request.clone();
        let state = match self.aside.get(&job) {
            Some(state) => Arc::clone(state),
            None => {
                let read = self.path().map(|path| std::fs::read(path_of(path, job)));
                let read = read.unwrap_or_else(|| Err(std::io::ErrorKind::NotFound.into()));
                read.map_err(|error| SessionError::HeldIsGone { reference, error })?.into()
            }
        };
        self.record(What::TakenUp { job });
        Ok(Resumed { job: Job { id: job, request }, state })
    }

    /// A job that may have been held is over.
    pub(super) fn forget_held(&mut self, job: JobId) {
        let file = self.path().map(|path| path_of(path, job));
        if self.aside.remove(&job).is_some() || file.as_ref().is_some_and(|file| file.exists()) {
            // It holds nothing that is not made again.
            let _ = file.map(std::fs::remove_file);
        }
    }
}
