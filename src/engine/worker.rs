//! The worker thread and the handle that front ends hold.

use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Choice, EngineEvent, Job, JobQueue, Phase, Preview};
use crate::diffusion::nn::profile;
use crate::request::{JobId, Picture};

/// Why a job did not end in a picture.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The person cancelled it; `0` steps were done if it had not begun.
    #[error("cancelled after step {0}")]
    Cancelled(u32),
    /// The person put it aside; what it needs to go on is a file's content.
    #[error("held after step {step} of {steps}")]
    Held {
        /// Steps that were done.
        step: u32,
        /// Steps in all.
        steps: u32,
        /// What it needs to go on.
        state: Vec<u8>,
    },
    /// It cannot be done as asked, which was found before anything was loaded; one line that says what to type.
    #[error("{0}")]
    Refused(String),
    /// It failed; one line that says what to do.
    #[error("{0}")]
    Failed(String),
}

/// What runs jobs: owns the device and the models, lives on the worker thread.
pub trait Backend: Send {
    /// Runs one job to its end and tells everything through `context`, `EngineEvent::Finished` included.
    ///
    /// # Errors
    /// When the job was cancelled or failed. The backend must stay usable for the next job.
    fn run(&mut self, job: &Job, context: &JobContext<'_>) -> Result<(), JobError>;

    /// Gives the resident model's memory back.
    fn unload(&mut self);

    /// After how long without a job [`Self::unload`] is called by itself, if ever.
    fn release_after(&self) -> Option<Duration> {
        None
    }
}

type Sink = Box<dyn Fn(EngineEvent) + Send + Sync>;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Id of the job to cancel plus one; 0 is none. Read between steps without a lock.
    cancel: AtomicU64,
    /// Likewise the job to put aside.
    hold: AtomicU64,
    /// The jobs as which the running one's picture so far is wanted.
    keep: Mutex<VecDeque<JobId>>,
    preview: Mutex<Option<Preview>>,
    /// Whether jobs are to be profiled.
    profiling: AtomicBool,
    /// The profile of the last job that was.
    profile: Mutex<Vec<String>>,
    events: Sink,
}

#[derive(Default)]
struct State {
    queue: JobQueue,
    /// What waiting jobs that were held go on from.
    held: HashMap<JobId, Arc<[u8]>>,
    /// Waiting jobs that are to do all of their steps.
    anew: HashSet<JobId>,
    running: Option<JobId>,
    /// What the running job was told to do.
    answer: Option<char>,
    unload: bool,
    quit: bool,
}

impl Shared {
    /// Tells that a job was taken out of the queue before it ran.
    fn drop_waiting(&self, job: JobId) {
        (self.events)(EngineEvent::Cancelled { job, step: 0 });
        (self.events)(EngineEvent::Ended { job });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a running job sees of the outside.
pub struct JobContext<'a> {
    job: JobId,
    shared: &'a Arc<Shared>,
    held: Option<Arc<[u8]>>,
    anew: bool,
}

impl JobContext<'_> {
    /// The job that runs.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Sends events from wherever it is taken to.
    pub fn emitter(&self) -> impl Fn(EngineEvent) + Send + Sync + use<> {
        let shared = Arc::clone(self.shared);
        move |event| (shared.events)(event)
    }

    /// Sends an event.
    pub fn emit(&self, event: EngineEvent) {
        tracing::debug!(?event);
        (self.shared.events)(event);
    }

    /// Whether the person asked to stop this job. Ask between steps and between components.
    pub fn cancelled(&self) -> bool {
        self.shared.cancel.load(Ordering::Acquire) == self.job.0 + 1
    }

    /// Whether the person asked to put this job aside: [`JobError::Held`] does it. Ask between steps.
    pub fn holding(&self) -> bool {
        self.shared.hold.load(Ordering::Acquire) == self.job.0 + 1
    }

    /// What this job goes on from, if it was held.
    pub fn held(&self) -> Option<&Arc<[u8]>> {
        self.held.as_ref()
    }

    /// Whether every step is to be done, known or not: the job is the proof of an earlier one.
    pub fn anew(&self) -> bool {
        self.anew
    }

    /// The next job as which the picture so far is wanted. Ask between steps.
    pub fn take_keep(&self) -> Option<JobId> {
        lock(&self.shared.keep).pop_front()
    }

    /// Waits until the person has chosen; `None` when they cancelled the job instead.
    pub fn ask(&self, question: String, choices: &[Choice]) -> Option<char> {
        lock(&self.shared.state).answer = None;
        self.emit(EngineEvent::Asked { job: self.job, question, choices: choices.to_vec() });
        let mut state = lock(&self.shared.state);
        loop {
            if self.cancelled() || state.quit {
                return None;
            }
            if let Some(key) =
                state.answer.take().filter(|key| choices.iter().any(|choice| choice.key == *key))
            {
                return Some(key);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a preview into the mailbox, over the one that nobody fetched, and says so.
    pub fn post_preview(&self, step: u32, picture: Picture) {
        *lock(&self.shared.preview) = Some(Preview { job: self.job, step, picture });
        (self.shared.events)(EngineEvent::PreviewReady { job: self.job });
    }

    /// Whether a person wants to know where the time of this job goes.
    pub fn profiling(&self) -> bool {
        self.shared.profiling.load(Ordering::Acquire)
    }

    /// Keeps the profile of this job, a line each, until there is a newer one.
    pub fn post_profile(&self, table: Vec<String>) {
        *lock(&self.shared.profile) = table;
    }

    /// Runs `work` as a phase, between its two events, and returns what it returned and the seconds it took.
    ///
    /// # Errors
    /// Those of `work`; `PhaseFinished` is not sent then.
    pub fn phase<T, E>(&self, phase: Phase, work: impl FnOnce() -> Result<T, E>) -> Result<(T, f64), E> {
        self.emit(EngineEvent::PhaseStarted { job: self.job, phase });
        let start = Instant::now();
        let span = profile::phase(phase.name());
        let value = work()?;
        drop(span);
        let seconds = start.elapsed().as_secs_f64();
        self.emit(EngineEvent::PhaseFinished { job: self.job, phase, seconds });
        Ok((value, seconds))
    }
}

/// A front end's hold on the engine. Dropping it cancels what runs and ends the thread.
pub struct EngineHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl EngineHandle {
    /// Queues a job.
    pub fn submit(&self, job: Job) {
        (self.shared.events)(EngineEvent::Queued { job: job.id });
        lock(&self.shared.state).queue.push(job);
        self.shared.changed.notify_one();
    }

    /// Cancels a job: a waiting one at once, the running one after the step in hand.
    /// Returns whether there was such a job.
    pub fn cancel(&self, job: JobId) -> bool {
        let mut state = lock(&self.shared.state);
        if state.queue.remove(job).is_some() {
            drop(state);
            self.shared.drop_waiting(job);
            return true;
        }
        let running = state.running == Some(job);
        if running {
            self.shared.cancel.store(job.0 + 1, Ordering::Release);
            // it may be waiting for an answer
            self.shared.changed.notify_one();
        }
        running
    }

    /// Tells the job that asked what to do: the key of one of its choices.
    pub fn answer(&self, key: char) {
        lock(&self.shared.state).answer = Some(key);
        self.shared.changed.notify_one();
    }

    /// Puts the running job aside after the step in hand. Returns whether it was running.
    pub fn hold(&self, job: JobId) -> bool {
        let running = self.running() == Some(job);
        if running {
            self.shared.hold.store(job.0 + 1, Ordering::Release);
        }
        running
    }

    /// Queues a job that was held, with what [`EngineEvent::Held`] said that it goes on from.
    pub fn resume(&self, job: Job, state: Arc<[u8]>) {
        lock(&self.shared.state).held.insert(job.id, state);
        self.submit(job);
    }

    /// Queues a job that does all of its steps, also those that are known from an earlier one.
    pub fn submit_anew(&self, job: Job) {
        lock(&self.shared.state).anew.insert(job.id);
        self.submit(job);
    }

    /// Makes a picture, as job `id`, of what `running` has so far. Returns whether that was running.
    pub fn keep(&self, running: JobId, id: JobId) -> bool {
        let state = lock(&self.shared.state);
        let runs = state.running == Some(running);
        if runs {
            lock(&self.shared.keep).push_back(id);
        }
        runs
    }

    /// The job that runs now.
    pub fn running(&self) -> Option<JobId> {
        lock(&self.shared.state).running
    }

    /// The waiting jobs in order.
    pub fn waiting(&self) -> Vec<Job> {
        lock(&self.shared.state).queue.iter().cloned().collect()
    }

    /// Pauses or resumes the queue; the running job goes on.
    pub fn set_paused(&self, paused: bool) {
        lock(&self.shared.state).queue.paused = paused;
        self.shared.changed.notify_one();
    }

    /// Whether the queue is paused.
    pub fn paused(&self) -> bool {
        lock(&self.shared.state).queue.paused
    }

    /// Cancels every waiting job and the running one.
    pub fn cancel_all(&self) {
        let (waiting, running) = {
            let mut state = lock(&self.shared.state);
            (state.queue.clear(), state.running)
        };
        for job in waiting {
            self.shared.drop_waiting(job.id);
        }
        if let Some(job) = running {
            self.cancel(job);
        }
    }

    /// The newest preview, once.
    pub fn take_preview(&self) -> Option<Preview> {
        lock(&self.shared.preview).take()
    }

    /// The profile of the last job that was recorded, or what must happen before there is one. From now on jobs are
    /// recorded, or no longer.
    pub fn profile(&self, on: bool) -> Vec<String> {
        let was_on = self.shared.profiling.swap(on, Ordering::AcqRel);
        let table = lock(&self.shared.profile).clone();
        match (on, table.is_empty()) {
            (false, _) => vec!["jobs are no longer recorded".into()],
            (true, false) => table,
            (true, true) if was_on => {
                vec!["no job was recorded yet: make a picture, then type it again".into()]
            }
            (true, true) => {
                vec!["jobs are recorded from now on: make a picture, then type it again".into()]
            }
        }
    }

    /// Gives the resident model's memory back when no job runs.
    pub fn unload(&self) {
        lock(&self.shared.state).unload = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.cancel_all();
        lock(&self.shared.state).quit = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts the worker thread. `backend` is built on that thread (a GPU device belongs to one thread);
/// `events` is called from it and must not block.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn<B: Backend + 'static>(
    backend: impl FnOnce() -> B + Send + 'static,
    events: impl Fn(EngineEvent) + Send + Sync + 'static,
) -> std::io::Result<EngineHandle> {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        changed: Condvar::new(),
        cancel: AtomicU64::new(0),
        hold: AtomicU64::new(0),
        keep: Mutex::default(),
        preview: Mutex::new(None),
        profiling: AtomicBool::new(false),
        profile: Mutex::default(),
        events: Box::new(events),
    });
    let ours = Arc::clone(&shared);
    let thread =
        std::thread::Builder::new().name("engine".into()).spawn(move || work(&mut backend(), &ours))?;
    Ok(EngineHandle { shared, thread: Some(thread) })
}

fn work(backend: &mut dyn Backend, shared: &Arc<Shared>) {
    loop {
        let mut release_at = backend.release_after().map(|after| Instant::now() + after);
        let (job, held, anew) = {
            let mut state = lock(&shared.state);
            loop {
                if state.quit {
                    return;
                }
                if std::mem::take(&mut state.unload) {
                    backend.unload();
                }
                if let Some(job) = state.queue.pop() {
                    state.running = Some(job.id);
                    let held = state.held.remove(&job.id);
                    let anew = state.anew.remove(&job.id);
                    break (job, held, anew);
                }
                let Some(at) = release_at else {
                    state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                };
                let left = at.saturating_duration_since(Instant::now());
                state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                if Instant::now() >= at && state.queue.is_empty() {
                    backend.unload();
                    release_at = None;
                }
            }
        };
        let context = JobContext { job: job.id, shared, held, anew };
        context.emit(EngineEvent::Started { job: job.id });
        // A panic in a model must not take the session down: it becomes a failed job.
        let result = catch_unwind(AssertUnwindSafe(|| backend.run(&job, &context)))
            .unwrap_or_else(|panic| Err(JobError::Failed(panic_text(panic.as_ref()))));
        lock(&shared.state).running = None;
        shared.cancel.store(0, Ordering::Release);
        shared.hold.store(0, Ordering::Release);
        // It was over before they could be made.
        let too_late = std::mem::take(&mut *lock(&shared.keep));
        for keep in too_late {
            shared.drop_waiting(keep);
        }
        match result {
            Ok(()) => {}
            Err(JobError::Cancelled(step)) => context.emit(EngineEvent::Cancelled { job: job.id, step }),
            Err(JobError::Held { step, steps, state }) => {
                context.emit(EngineEvent::Held { job: job.id, step, steps, state: state.into() });
            }
            Err(JobError::Refused(error)) => {
                context.emit(EngineEvent::Failed { job: job.id, error, refused: true });
            }
            Err(JobError::Failed(error)) => {
                context.emit(EngineEvent::Failed { job: job.id, error, refused: false });
            }
        }
        context.emit(EngineEvent::Ended { job: job.id });
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    format!("the engine panicked: {text}; the job is lost, the session goes on (please report it)")
}
