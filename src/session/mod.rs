//! A session's state without any user interface: settings, jobs, pictures, history.
//!
//! A front end asks for a [`Plan`] ([`Session::plan`], [`Session::derive`]), queues it ([`Session::submit`]), and
//! hands every engine event to [`Session::apply`]. Knows nothing of terminals, tensors or command lines; the engine
//! only as a stream of events. Everything that happens is a record: it changes the [`ledger`] and goes to the file.

pub mod choices;
pub mod derive;
pub mod entry;
pub mod export;
pub mod file;
pub mod filter;
pub mod held;
pub mod history;
pub mod ledger;
pub mod plan;
pub mod record;
pub mod reference;
pub mod replay;
pub mod settings;
pub mod sheet;
pub mod sweep;
pub mod tree;

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use self::choices::{ChoiceError, Wildcards};
use self::derive::EditError;
use self::entry::{Batch, Entry, JobState};
use self::file::{BadLine, FileError, SessionFile};
use self::ledger::Ledger;
use self::plan::{Plan, Planned};
use self::record::{FORMAT, Record, What};
use self::reference::Reference;
use self::replay::Recorded;
use self::settings::ValueError;
use crate::config::Config;
use crate::engine::{EngineEvent, Job};
use crate::gallery::save::{self, SaveError};
use crate::gallery::{metadata, png_file};
use crate::request::{GenerateRequest, ImageSize, JobId, Picture, Recipe};

/// Why something cannot be done: one line that says what to type instead.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A value that cannot be.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// A change of a prompt that cannot be made.
    #[error(transparent)]
    Edit(EditError),
    /// Choices that make no sense.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The session's file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A reference to nothing.
    #[error("there is no picture {0} in this session; /history lists them")]
    NoPicture(String),
    /// No picture at all.
    #[error("there is no picture yet; type a prompt first")]
    NothingYet,
    /// A picture that is still being made.
    #[error("picture {0} is not finished yet; wait for it, or name another one")]
    NotFinished(Reference),
    /// A picture whose file is gone.
    #[error("the file of picture {reference} is gone: {}", path.as_ref().map_or("it was never written".into(), |p| p.display().to_string()))]
    Gone {
        /// The picture.
        reference: Reference,
        /// Where it was.
        path: Option<PathBuf>,
    },
    /// A copy cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// No such file.
    #[error("there is no file {}", .0.display())]
    NoFile(PathBuf),
    /// `--seed 1..4 -n 2`.
    #[error("--seed and --num-images both ask for several seeds; take one of them out")]
    SeedsTwice,
    /// Several pictures to standard output.
    #[error("--output - holds one picture; name a file for several")]
    OneToStdout,
    /// A name that cannot be typed.
    #[error("`{0}` is no name; use letters, digits, - and _")]
    BadName(String),
    /// A job that is not held.
    #[error("{reference} is {state}, not held; /queue lists what waits")]
    NotHeld {
        /// The job.
        reference: Reference,
        /// What it is.
        state: &'static str,
    },
    /// What a held job goes on from cannot be read.
    #[error("{reference} cannot go on where it was held ({error}); type /rerun {reference}")]
    HeldIsGone {
        /// The job.
        reference: Reference,
        /// Why.
        error: std::io::Error,
    },
    /// Nothing runs.
    #[error("no job runs; type a prompt first")]
    NothingRuns,
    /// A change that cannot be made between two steps.
    #[error("{setting} cannot change in the middle of a picture; leave the step out: /branch {reference} …")]
    NotInTheMiddle {
        /// The setting.
        setting: &'static str,
        /// The picture.
        reference: Reference,
    },
    /// No sheet to pick from.
    #[error("there is no contact sheet with a picture {0}; /pick $12 takes any picture")]
    NotOnSheet(u32),
    /// The oldest picture has none before it.
    #[error("there is no picture before {0}")]
    NoneBefore(Reference),
}

/// Names that the front end knows, for lists and completion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Models in the cache and folders.
    pub models: Vec<Name>,
    /// Schedulers.
    pub schedulers: Vec<Name>,
    /// Themes.
    pub themes: Vec<Name>,
}

/// A name with a few words about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub name: String,
    /// What it is; may be empty.
    pub help: String,
}

/// A session.
#[derive(Debug)]
pub struct Session {
    ledger: Ledger,
    file: Option<SessionFile>,
    /// What `/reset` goes back to.
    defaults: GenerateRequest,
    /// Names for lists and completion.
    pub catalog: Catalog,
    /// Where wildcard files are.
    pub wildcards: Wildcards,
    /// Where all sessions are, for `/history all`.
    pub folder: Option<PathBuf>,
    /// A line that makes more pictures than this is asked about first.
    pub confirm_above: usize,
    /// Whether the queue is paused.
    pub paused: bool,
    /// Pictures that could not be written.
    unsaved: BTreeMap<JobId, Picture>,
    /// What jobs that replay are compared with.
    replays: BTreeMap<JobId, Recorded>,
    notices: Vec<String>,
    /// Whether records wait for room on the disk.
    behind: bool,
    /// What the jobs go on from that were held since the session was opened.
    aside: HashMap<JobId, Arc<[u8]>>,
}

impl Session {
    /// A session that is not written down. `defaults` comes from the person's configuration.
    pub fn new(defaults: GenerateRequest) -> Self {
        Self {
            ledger: Ledger::new(defaults.clone()),
            file: None,
            defaults,
            catalog: Catalog::default(),
            wildcards: Wildcards::default(),
            folder: None,
            confirm_above: 16,
            paused: false,
            unsaved: BTreeMap::new(),
            replays: BTreeMap::new(),
            notices: Vec::new(),
            behind: false,
            aside: HashMap::new(),
        }
    }

    /// What the configuration sets for every line, and what is wrong with it: the default's name, and why.
    pub fn defaults_of(config: &Config) -> (GenerateRequest, Vec<(String, String)>) {
        let pairs = config.defaults.iter().map(|(name, value)| (name.as_str(), value.to_string()));
        let (mut request, problems) = settings::from_pairs(pairs);
        if request.model.is_none() && config.model != Config::default().model {
            request.model = Some(config.model.clone());
        }
        (request, problems)
    }

    /// A new session with a file of its own in `folder`.
    ///
    /// # Errors
    /// When the file cannot be created; [`Session::new`] works without one.
    pub fn create(folder: &Path, defaults: GenerateRequest) -> Result<Self, FileError> {
        let now = jiff::ZonedDateTime::now();
        let file = SessionFile::create(folder, &now.strftime("%Y%m%d-%H%M%S").to_string())?;
        let mut session = Self { folder: Some(folder.to_owned()), ..Self::new(defaults) };
        session.begin(file);
        let settings = Box::new(session.ledger.settings.clone());
        session.record(What::Settings { settings });
        Ok(session)
    }

    /// Takes an earlier session up again, and tells what of its file could not be read.
    ///
    /// # Errors
    /// When the file cannot be opened, or another tintype has it open.
    pub fn resume(path: &Path, defaults: GenerateRequest) -> Result<(Self, Vec<BadLine>), FileError> {
        // Read before the torn last line is ended: then it is known to be torn.
        let (records, bad) = file::read(path)?;
        let file = SessionFile::open(path)?;
        let mut session = Self { folder: path.parent().map(Path::to_owned), ..Self::new(defaults) };
        for record in &records {
            session.ledger.apply(record);
        }
        session.begin(file);
        Ok((session, bad))
    }

    fn begin(&mut self, file: SessionFile) {
        let id = file.path().file_stem().unwrap_or_default().to_string_lossy().into_owned();
        self.file = Some(file);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.record(What::Opened { session: id, version, format: FORMAT });
    }

    /// Makes something so, here and in the file.
    pub(crate) fn record(&mut self, what: What) {
        let record = Record { at: Timestamp::now(), what };
        self.ledger.apply(&record);
        let Some(file) = &mut self.file else { return };
        // Each is said once.
        match file.append(&record) {
            Err(error) if !self.behind => {
                self.behind = true;
                self.notices.push(format!("{error}; what happens is written as soon as there is room"));
            }
            Ok(()) if self.behind => {
                self.behind = false;
                self.notices.push("the session is written again, and nothing of it is missing".to_owned());
            }
            _ => {}
        }
    }

    /// Waits until everything is on the disk.
    pub fn sync(&self) {
        self.file.iter().for_each(SessionFile::sync);
    }

    /// What a person should know, each once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Everything that the session knows.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The session's id: its file's name, or `unrecorded`.
    pub fn id(&self) -> &str {
        if self.ledger.session.is_empty() { "unrecorded" } else { &self.ledger.session }
    }

    /// The session's file.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(SessionFile::path)
    }

    /// What holds for every line that does not say otherwise.
    pub fn settings(&self) -> &GenerateRequest {
        &self.ledger.settings
    }

    /// What the configuration says, which `/reset` goes back to.
    pub fn defaults(&self) -> &GenerateRequest {
        &self.defaults
    }

    /// Changes the settings.
    pub fn set_settings(&mut self, settings: GenerateRequest) {
        if settings != self.ledger.settings {
            self.record(What::Settings { settings: Box::new(settings) });
        }
    }

    /// Remembers a line that was typed and understood, for the prompt's history.
    pub fn typed(&mut self, line: &str) {
        self.record(What::Line { text: line.to_owned() });
    }

    /// Queues a plan: the jobs to hand to the engine, in order.
    pub fn submit(&mut self, plan: &Plan) -> Vec<Job> {
        let first = self.ledger.next_id();
        // Pictures that are made again have nothing in common but their line.
        let several = plan.pictures.len() > 1 && plan.replays.is_empty();
        if several {
            let cells = plan.pictures.iter().map(|picture| picture.cell.clone()).collect();
            self.record(What::Batch(Batch { first, axes: plan.axes.clone(), cells, sheet: plan.sheet }));
        }
        let mut jobs = Vec::with_capacity(plan.pictures.len());
        for (at, picture) in plan.pictures.iter().enumerate() {
            let id = self.ledger.next_id();
            self.replays.extend(plan.replays.get(at).map(|recorded| (id, recorded.clone())));
            self.record(What::Queued {
                job: id,
                typed: plan.typed.clone(),
                request: Box::new(picture.request.clone()),
                parent: plan.parent,
                batch: several.then_some(first),
            });
            jobs.push(Job { id, request: picture.request.clone() });
        }
        jobs
    }

    /// Takes an engine event in. Returns the batch that it completed, if a contact sheet of it is wanted.
    pub fn apply(&mut self, event: &EngineEvent) -> Option<&Batch> {
        let job = event.job()?;
        match event {
            EngineEvent::Started { .. } => self.record(What::Started { job }),
            EngineEvent::Resolved { params, device, dtype, .. } => self.record(What::Resolved {
                job,
                params: params.clone(),
                device: device.clone(),
                dtype: dtype.clone(),
            }),
            EngineEvent::Finished { recipe, picture, .. } => {
                // Whoever reads the record is in another folder.
                let path = recipe.path.as_deref().map(absolute);
                let recipe = Box::new(Recipe { path, ..(**recipe).clone() });
                self.record(What::Finished { job, recipe: recipe.clone() });
                if let Some(recorded) = self.replays.remove(&job) {
                    let comparison = replay::compare(&recorded, &recipe, picture);
                    let kept = match recipe.reused.steps {
                        0 => String::new(),
                        steps => format!(" ({steps} of {} steps were kept from before)", recipe.reused.of),
                    };
                    let said = comparison.describe();
                    self.notices.push(format!("{job} is {} again: {said}{kept}", recorded.name));
                }
                if recipe.path.is_none() {
                    self.unsaved.insert(job, picture.clone());
                }
            }
            EngineEvent::Unsaved { job, error } => {
                let reference = Reference::Number(*job);
                self.notices.push(format!("{error}; {job} is kept in memory: type /save {reference} FILE"));
            }
            EngineEvent::Cancelled { step, .. } => self.record(What::Cancelled { job, step: *step }),
            EngineEvent::Failed { error, .. } => self.record(What::Failed { job, error: error.clone() }),
            EngineEvent::Held { step, steps, state, .. } => self.held(job, *step, *steps, state),
            EngineEvent::Ended { .. } => {
                if self.ledger.entry(job).is_some_and(|entry| entry.state.is_over()) {
                    self.forget_held(job);
                }
                return self.completed(job);
            }
            event => self.progressed(job, event),
        }
        None
    }

    fn progressed(&mut self, job: JobId, event: &EngineEvent) {
        let Some(entry) = self.ledger.entry_mut(job) else { return };
        let JobState::Running(progress) = &mut entry.state else { return };
        match event {
            EngineEvent::PhaseStarted { phase, .. } => progress.phase = Some(*phase),
            EngineEvent::Step { step, steps, seconds, .. } => {
                (progress.step, progress.steps) = (*step, *steps);
                progress.seconds += seconds;
            }
            _ => {}
        }
    }

    fn completed(&self, job: JobId) -> Option<&Batch> {
        let batch = self.ledger.batch(self.ledger.entry(job)?.batch?)?;
        let states = || batch.jobs().filter_map(|job| Some(&self.ledger.entry(job)?.state));
        let done = states().all(JobState::is_over) && states().any(|state| *state == JobState::Finished);
        (batch.sheet && done).then_some(batch)
    }

    /// The picture of a reference, or the current one; finished or not.
    ///
    /// # Errors
    /// When there is none.
    pub fn picture(&self, reference: Option<&Reference>) -> Result<&Entry, SessionError> {
        let ledger = &self.ledger;
        match reference {
            None => ledger.current(),
            Some(Reference::Back(n)) => ledger.back(*n),
            Some(Reference::Number(id)) => ledger.entry(*id),
            Some(Reference::Name(name)) => ledger.named(name),
        }
        .ok_or_else(|| match reference {
            Some(reference) if ledger.current().is_some() => SessionError::NoPicture(reference.to_string()),
            _ => SessionError::NothingYet,
        })
    }

    /// The file of a picture.
    ///
    /// # Errors
    /// When there is no such picture, or it is not finished, or its file is gone.
    pub fn picture_file(&self, reference: Option<&Reference>) -> Result<&Path, SessionError> {
        let entry = self.picture(reference)?;
        let reference = Reference::Number(entry.id);
        if !entry.state.is_over() {
            return Err(SessionError::NotFinished(reference));
        }
        let path = entry.recipe.as_ref().and_then(|recipe| recipe.path.as_deref());
        match path {
            Some(path) if path.is_file() => Ok(path),
            path => Err(SessionError::Gone { reference, path: path.map(Path::to_owned) }),
        }
    }

    /// Writes a picture to another file, also one that could not be written before and is only in memory.
    ///
    /// # Errors
    /// When there is no such picture, or it cannot be read, or `to` is taken or cannot be written.
    pub fn save(&mut self, reference: Option<&Reference>, to: &Path) -> Result<(), SessionError> {
        let entry = self.picture(reference)?;
        let job = entry.id;
        let (Some(recipe), Some(picture)) = (&entry.recipe, self.unsaved.get(&job)) else {
            let from = self.picture_file(reference)?;
            let bytes = std::fs::read(from).map_err(|source| SaveError { path: from.to_owned(), source })?;
            return Ok(save::write_new(to, &bytes)?);
        };
        let recipe = Recipe { path: Some(to.to_owned()), ..recipe.clone() };
        let bytes = png_file::encode(picture, &metadata::texts(&recipe))
            .map_err(|error| SaveError { path: to.to_owned(), source: std::io::Error::other(error) })?;
        save::write_new(to, &bytes)?;
        self.unsaved.remove(&job);
        self.record(What::Saved { job, path: absolute(to) });
        Ok(())
    }

    /// Whether a job is compared with a record when it is done.
    pub fn replays(&self, job: JobId) -> bool {
        self.replays.contains_key(&job)
    }

    /// The job that runs.
    ///
    /// # Errors
    /// When none does.
    pub fn running(&self) -> Result<&Entry, SessionError> {
        let runs = |entry: &&Entry| matches!(entry.state, JobState::Running(_));
        self.ledger.entries().find(runs).ok_or(SessionError::NothingRuns)
    }

    /// Makes room for a picture of what the running job has so far: that job, and the one to be.
    ///
    /// # Errors
    /// When none runs.
    pub fn keep(&mut self, line: &str) -> Result<(JobId, JobId), SessionError> {
        let entry = self.running()?;
        let (running, current) = (entry.id, self.ledger.current().map(|current| current.id));
        let request = Box::new(GenerateRequest { output: None, ..entry.request.clone() });
        let job = self.ledger.next_id();
        let (typed, parent) = (line.to_owned(), Some(running));
        self.record(What::Queued { job, typed, request, parent, batch: None });
        if let Some(job) = current {
            self.record(What::Current { job });
        }
        Ok((running, job))
    }

    /// Goes back along the parents of the current picture, and from one without a parent to the picture before it.
    /// Returns the new current picture.
    ///
    /// # Errors
    /// When there are fewer pictures than that.
    pub fn back(&mut self, steps: u32) -> Result<&Entry, SessionError> {
        let mut at = self.picture(None)?.id;
        for _ in 0..steps {
            let entry = self.ledger.entry(at);
            let parent = entry.and_then(|entry| entry.parent);
            let before = || {
                let older = self.ledger.entries().rev().find(|older| older.id < at && older.state.is_alive());
                older.map(|entry| entry.id)
            };
            at = parent.or_else(before).ok_or(SessionError::NoneBefore(Reference::Number(at)))?;
        }
        self.make_current(at)
    }

    /// Makes a picture the one that `$` and changes mean.
    ///
    /// # Errors
    /// When there is no such picture.
    pub fn make_current(&mut self, job: JobId) -> Result<&Entry, SessionError> {
        self.picture(Some(&Reference::Number(job)))?;
        self.record(What::Current { job });
        self.picture(Some(&Reference::Number(job)))
    }

    /// Rates a picture with 1 to 5 stars, or takes its rating away.
    ///
    /// # Errors
    /// When there is no such picture.
    pub fn rate(&mut self, reference: Option<&Reference>, stars: Option<u8>) -> Result<JobId, SessionError> {
        let job = self.picture(reference)?.id;
        self.record(What::Rated { job, stars });
        Ok(job)
    }

    /// Writes something about a picture, or takes it away.
    ///
    /// # Errors
    /// When there is no such picture.
    pub fn note(&mut self, reference: Option<&Reference>, text: &str) -> Result<JobId, SessionError> {
        let job = self.picture(reference)?.id;
        let text = Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        self.record(What::Noted { job, text });
        Ok(job)
    }

    /// Names a picture, for `$@name`.
    ///
    /// # Errors
    /// When there is no such picture, or the name cannot be typed.
    pub fn name(&mut self, reference: Option<&Reference>, name: &str) -> Result<JobId, SessionError> {
        if !reference::is_name(name) {
            return Err(SessionError::BadName(name.to_owned()));
        }
        let job = self.picture(reference)?.id;
        self.record(What::Named { job, name: name.to_owned() });
        Ok(job)
    }

    /// The file of a picture went to the trash.
    pub fn deleted(&mut self, job: JobId) {
        self.record(What::Deleted { job });
    }

    /// Seconds that the pictures of a plan will take, by what the last ones took: their steps at their size, and what
    /// is beside those. Steps that a picture shares with the one before count once. `None` before the first picture.
    pub fn estimate(&self, plan: &Plan) -> Option<f64> {
        let recent = self.ledger.entries().rev().filter_map(|entry| entry.recipe.as_ref());
        let recent: Vec<_> = recent.filter(|recipe| !recipe.timings.steps.is_empty()).take(5).collect();
        let last = recent.first()?;
        let area = |size: ImageSize| f64::from(size.width) * f64::from(size.height);
        let mean = |of: &dyn Fn(&Recipe) -> f64| {
            recent.iter().map(|recipe| of(recipe) / area(recipe.params.size)).sum::<f64>()
                / recent.len() as f64
        };
        let step =
            mean(&|recipe| recipe.timings.steps.iter().sum::<f64>() / recipe.timings.steps.len() as f64);
        let rest = mean(&|recipe| {
            let timings = &recipe.timings;
            let others = timings.load + timings.warm_up + timings.steps.iter().sum::<f64>();
            (timings.total - others).max(0.)
        });
        let mut total = 0.;
        let mut before: Option<(GenerateRequest, u32)> = None;
        for Planned { request, .. } in &plan.pictures {
            let size = ImageSize::new(
                request.width.unwrap_or(last.params.size.width),
                request.height.unwrap_or(last.params.size.height),
            );
            let steps = request.steps.unwrap_or(last.params.steps);
            let done = request.branch.as_ref().map_or(0, |branch| branch.step);
            let steps = request.stop_after.unwrap_or(steps);
            let whole = GenerateRequest { stop_after: None, ..request.clone() };
            let shared = before.filter(|(other, _)| *other == whole).map_or(done, |(_, steps)| steps);
            total += area(size) * (step * f64::from(steps.saturating_sub(shared)) + rest);
            before = Some((whole, steps));
        }
        Some(total)
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests;
