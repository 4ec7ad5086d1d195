//! The job queue: what waits, in order, and whether it is paused.

use std::collections::VecDeque;

use crate::request::{GenerateRequest, JobId};

/// A request with the id that the session gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The id.
    pub id: JobId,
    /// What was asked for.
    pub request: GenerateRequest,
}

/// Waiting jobs, first in, first out.
#[derive(Debug, Default)]
pub struct JobQueue {
    waiting: VecDeque<Job>,
    /// While true, no further job is started.
    pub paused: bool,
}

impl JobQueue {
    /// Puts a job at the end.
    pub fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// The next job to run, unless the queue is paused.
    pub fn pop(&mut self) -> Option<Job> {
        if self.paused { None } else { self.waiting.pop_front() }
    }

    /// Takes a waiting job out.
    pub fn remove(&mut self, id: JobId) -> Option<Job> {
        let at = self.waiting.iter().position(|job| job.id == id)?;
        self.waiting.remove(at)
    }

    /// Takes all waiting jobs out.
    pub fn clear(&mut self) -> Vec<Job> {
        self.waiting.drain(..).collect()
    }

    /// The waiting jobs in order.
    pub fn iter(&self) -> impl Iterator<Item = &Job> {
        self.waiting.iter()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
