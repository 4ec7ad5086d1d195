//! The engine: one worker thread that owns the device and the pipeline, a queue before it, events out of it.
//!
//! Knows nothing of terminals. A front end holds an [`EngineHandle`]; the work itself is a [`Backend`]:
//! the real one in `local`, a scripted one in `fake`.

mod event;
pub mod fake;
pub mod local;
mod output;
mod queue;
mod start_lines;
mod worker;

pub use event::{Choice, EngineEvent, Phase, Preview};
pub use queue::{Job, JobQueue};
pub use start_lines::StartLines;
pub use worker::{Backend, EngineHandle, JobContext, JobError, spawn};
