//! What comes of a line: plain data that a front end acts on.

use std::path::PathBuf;

use crate::engine::Job;
use crate::request::JobId;
use crate::session::derive::PromptDiff;
use crate::session::held::Resumed;
use crate::session::plan::Plan;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing.
    Nothing,
    /// Print these lines.
    Print(Vec<String>),
    /// Hand these jobs to the engine.
    Submit(Submission),
    /// Ask, and if the answer is yes, do what [`super::confirmed`] says.
    Confirm {
        /// The question.
        question: String,
        /// What it is about.
        plan: Box<Plan>,
    },
    /// Put this line into the editor.
    Edit(String),
    /// Show this.
    Open(View),
    /// Use this theme from now on.
    SetTheme(String),
    /// Cancel.
    Cancel(Cancel),
    /// Stop starting jobs, or go on.
    Pause(bool),
    /// Put this running job aside.
    Hold(JobId),
    /// Go on with these, which were held; and with the queue.
    Resume(Vec<Resumed>),
    /// Make a picture of what a running job has so far.
    Keep {
        /// The running job.
        running: JobId,
        /// The job that the picture is.
        job: JobId,
    },
    /// Give the model's memory back.
    Unload,
    /// Open the file with the system's viewer.
    OpenFile(PathBuf),
    /// Put this text on the clipboard.
    Copy(String),
    /// Write the picture to another file.
    Save {
        /// The picture.
        job: JobId,
        /// Where to.
        to: PathBuf,
    },
    /// Write this text to a file where none is.
    Write {
        /// The file.
        to: PathBuf,
        /// What goes into it.
        text: String,
    },
    /// Move the file to the trash, then tell the session ([`crate::session::Session::deleted`]).
    Delete {
        /// The picture.
        job: JobId,
        /// Its file.
        path: PathBuf,
    },
    /// Read a picture's recipe, whoever wrote it, and put its line into the editor.
    Load(PathBuf),
    /// Print where the last job's time went, recording from now on, or stop recording.
    Profile(bool),
    /// Look at the terminal, the device and the caches, and print what is found.
    Doctor,
    /// Leave.
    Quit,
}

/// Jobs that were queued, and what to say about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Submission {
    /// The jobs in order.
    pub jobs: Vec<Job>,
    /// The picture that they are made from.
    pub parent: Option<JobId>,
    /// What becomes of its prompt.
    pub diff: Option<PromptDiff>,
    /// What else to print: changed values, the count of a sweep.
    pub lines: Vec<String>,
}

/// What fills the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Everything at once.
    Full,
    /// Pictures in a grid.
    Gallery {
        /// What to show of them; empty is all.
        filter: String,
    },
    /// Memory, in numbers.
    Memory,
    /// What the last job was expected to take.
    MemoryPlan,
    /// Two pictures side by side.
    Compare(JobId, JobId),
    /// The themes, each tried on as it is chosen.
    Themes,
}

/// What to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The running job.
    Running,
    /// This job, running or waiting.
    Job(JobId),
    /// All of them.
    All,
}
