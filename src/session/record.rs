//! What a session writes down: one JSON object a line, for everything that changes it.
//!
//! The file is the session: reading the records in order gives the same [`super::ledger::Ledger`] that the running
//! session has, since that is changed by the same records and by nothing else.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::entry::Batch;
use crate::request::{GenerateParams, GenerateRequest, JobId, Recipe};

/// Version of the format.
pub const FORMAT: u32 = 1;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum What {
    /// The session began, or was taken up again.
    Opened {
        /// Its id.
        session: String,
        /// Version of tintype.
        version: String,
        /// Version of the format.
        format: u32,
    },
    /// A line was typed and understood.
    Line {
        /// The line.
        text: String,
    },
    /// The session's settings changed to these.
    Settings {
        /// All of them.
        settings: Box<GenerateRequest>,
    },
    /// A line made several jobs, which follow.
    Batch(Batch),
    /// A job was queued.
    Queued {
        /// The job.
        job: JobId,
        /// The line as typed.
        typed: String,
        /// What it came to.
        request: Box<GenerateRequest>,
        /// The picture that it is made from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<JobId>,
        /// First job of its line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batch: Option<JobId>,
    },
    /// It left the queue.
    Started {
        /// The job.
        job: JobId,
    },
    /// The model said what the request means.
    Resolved {
        /// The job.
        job: JobId,
        /// What it means.
        params: Box<GenerateParams>,
        /// `cpu`, `cuda` or `metal`.
        device: String,
        /// `f32`, `f16` or `bf16`.
        dtype: String,
    },
    /// There is a picture.
    Finished {
        /// The job.
        job: JobId,
        /// How it was made.
        recipe: Box<Recipe>,
    },
    /// A picture that could not be written at first was written after all.
    Saved {
        /// The picture.
        job: JobId,
        /// Where to.
        path: PathBuf,
    },
    /// It was cancelled.
    Cancelled {
        /// The job.
        job: JobId,
        /// Steps done.
        step: u32,
    },
    /// It was put aside; what it goes on from was written before.
    Held {
        /// The job.
        job: JobId,
        /// Steps done.
        step: u32,
        /// Steps in all.
        steps: u32,
    },
    /// It was queued again, to go on where it was held.
    TakenUp {
        /// The job.
        job: JobId,
    },
    /// It failed.
    Failed {
        /// The job.
        job: JobId,
        /// Why.
        error: String,
    },
    /// Another picture became the current one.
    Current {
        /// The picture.
        job: JobId,
    },
    /// A picture was rated.
    Rated {
        /// The picture.
        job: JobId,
        /// 1 to 5; none takes the rating away.
        stars: Option<u8>,
    },
    /// A picture got a note.
    Noted {
        /// The picture.
        job: JobId,
        /// The note; none takes it away.
        text: Option<String>,
    },
    /// A picture got a name.
    Named {
        /// The picture.
        job: JobId,
        /// The name; it leaves the picture that had it before.
        name: String,
    },
    /// A picture's file went to the trash.
    Deleted {
        /// The picture.
        job: JobId,
    },
    /// Something that a later version writes.
    #[serde(other)]
    Unknown,
}
