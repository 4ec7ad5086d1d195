//! What the engine tells: small, cloneable, no tensors, all of it logged.

use std::sync::Arc;

use serde::Serialize;

use crate::request::{GenerateParams, JobId, Picture, Recipe};
use crate::telemetry::MemSample;

/// The part of a job that is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Fetching files from the Hub.
    Download,
    /// Reading configs and weights.
    Load,
    /// The discarded first step.
    WarmUp,
    /// Text encoders.
    Encode,
    /// The picture to start from, through the VAE's encoder.
    EncodeImage,
    /// Denoising steps.
    Step,
    /// VAE.
    Decode,
    /// Writing the file.
    Save,
}

impl Phase {
    /// The phase as events and recipes call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Load => "load",
            Self::WarmUp => "warm_up",
            Self::Encode => "encode",
            Self::EncodeImage => "encode_image",
            Self::Step => "step",
            Self::Decode => "decode",
            Self::Save => "save",
        }
    }

    /// The same for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::WarmUp => "warm up",
            Self::EncodeImage => "encode image",
            other => other.name(),
        }
    }
}

/// Something happened in the engine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum EngineEvent {
    /// The job waits in the queue.
    Queued {
        /// The job.
        job: JobId,
    },
    /// The job left the queue and runs.
    Started {
        /// The job.
        job: JobId,
    },
    /// A phase of the job began.
    PhaseStarted {
        /// The job.
        job: JobId,
        /// The phase.
        phase: Phase,
    },
    /// A phase of the job ended.
    PhaseFinished {
        /// The job.
        job: JobId,
        /// The phase.
        phase: Phase,
        /// Seconds it took.
        seconds: f64,
    },
    /// Bytes of a download or of weights being read.
    Bytes {
        /// The job.
        job: JobId,
        /// `Download` or `Load`.
        phase: Phase,
        /// File or component.
        name: String,
        /// Bytes done so far, over all files.
        done: u64,
        /// Bytes in all; 0 if unknown.
        total: u64,
    },
    /// The request is resolved; steps follow.
    Resolved {
        /// The job.
        job: JobId,
        /// What it resolved to.
        params: Box<GenerateParams>,
        /// `cpu`, `cuda` or `metal`.
        device: String,
        /// `f32`, `f16` or `bf16`.
        dtype: String,
    },
    /// The model is not in memory yet: how long the first step will take to come, as the last start did.
    Starting {
        /// The job.
        job: JobId,
        /// One sentence.
        text: String,
    },
    /// The job waits for an answer ([`EngineHandle::answer`](super::EngineHandle::answer)).
    Asked {
        /// The job.
        job: JobId,
        /// What is the matter.
        question: String,
        /// What can be done.
        choices: Vec<Choice>,
    },
    /// The memory plan of the job, what it comes to first: what `/memory plan` shows.
    Planned {
        /// The job.
        job: JobId,
        /// One line that is worth saying: nothing was cut, but it is not what the job before took.
        news: Option<String>,
        /// A line each.
        plan: Vec<String>,
    },
    /// Something a person should read: a tightened plan, a step that was redone in f32.
    Notice {
        /// The job.
        job: JobId,
        /// One sentence.
        text: String,
    },
    /// A denoising step ended.
    Step {
        /// The job.
        job: JobId,
        /// Steps done so far, from 1.
        step: u32,
        /// Steps in all (model calls: Heun has more than were asked for).
        steps: u32,
        /// Seconds that this step took.
        seconds: f64,
    },
    /// A new preview lies in the mailbox (`EngineHandle::take_preview`).
    PreviewReady {
        /// The job.
        job: JobId,
    },
    /// A picture is done. A request for several pictures ends with several of these.
    Finished {
        /// The job.
        job: JobId,
        /// How it was made.
        recipe: Box<Recipe>,
        /// The picture itself.
        #[serde(skip)]
        picture: Picture,
    },
    /// The picture that was just [`Self::Finished`] could not be written; it is in memory only.
    Unsaved {
        /// The job.
        job: JobId,
        /// Why, and what would help.
        error: String,
    },
    /// The job was cancelled.
    Cancelled {
        /// The job.
        job: JobId,
        /// Steps that were done.
        step: u32,
    },
    /// The job was put aside between two steps; `EngineHandle::resume` goes on with it.
    Held {
        /// The job.
        job: JobId,
        /// Steps that were done.
        step: u32,
        /// Steps in all.
        steps: u32,
        /// What it needs to go on: a file's content.
        #[serde(skip)]
        state: Arc<[u8]>,
    },
    /// The job failed; the session lives on.
    Failed {
        /// The job.
        job: JobId,
        /// One line that says what to do.
        error: String,
        /// Whether the request cannot be done as asked (nothing was loaded, the person must change it),
        /// rather than that something broke on the way.
        refused: bool,
    },
    /// The job is over, whatever came of it: the last event about it.
    Ended {
        /// The job.
        job: JobId,
    },
    /// A reading of the memory sampler.
    Memory(#[serde(serialize_with = "as_debug")] Arc<MemSample>),
}

fn as_debug<S: serde::Serializer>(sample: &Arc<MemSample>, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&format_args!("{sample:?}"))
}

impl EngineEvent {
    /// The job that the event is about, if any.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Queued { job }
            | Self::Started { job }
            | Self::Ended { job }
            | Self::PhaseStarted { job, .. }
            | Self::PhaseFinished { job, .. }
            | Self::Bytes { job, .. }
            | Self::Resolved { job, .. }
            | Self::Starting { job, .. }
            | Self::Asked { job, .. }
            | Self::Planned { job, .. }
            | Self::Notice { job, .. }
            | Self::Step { job, .. }
            | Self::PreviewReady { job }
            | Self::Finished { job, .. }
            | Self::Unsaved { job, .. }
            | Self::Cancelled { job, .. }
            | Self::Held { job, .. }
            | Self::Failed { job, .. } => Some(*job),
            Self::Memory(_) => None,
        }
    }
}

/// One way to go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The key for it.
    pub key: char,
    /// What it does and takes.
    pub text: String,
}

/// The picture as it develops: latent-sized RGB, scaled up by whoever draws it.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The job.
    pub job: JobId,
    /// Steps done so far.
    pub step: u32,
    /// The small picture.
    pub picture: Picture,
}
