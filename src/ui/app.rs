//! What the views show: a plain value, changed by events and keys, drawn by pure functions.
//!
//! Owns everything a person sees except the prompt's text, which rustyline owns. Knows nothing of the terminal.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gallery::Gallery;
use super::history::History;
use super::memory::MemoryTrail;
use super::painter::thumbnail;
use super::progress::{Progress, Transfer};
use super::sheet::LiveSheet;
use super::themes::ThemePicker;
use crate::engine::{Choice, EngineEvent, Preview};
use crate::request::{JobId, Picture, Recipe};
use crate::theme::Theme;

/// Longest side of the pictures that are kept for lists and grids, in pixels.
pub const THUMBNAIL: u32 = 192;

/// A finished picture of this session.
#[derive(Clone, Debug)]
pub struct Shot {
    /// How it was made.
    pub recipe: Arc<Recipe>,
    /// It, small.
    pub thumbnail: Picture,
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// Its prompt.
    pub prompt: String,
}

/// What fills the screen.
#[derive(Clone, Debug, Default)]
pub enum Screen {
    /// The live region at the end of the scrollback.
    #[default]
    Inline,
    /// Everything at once.
    Full,
    /// Pictures in a grid.
    Gallery(Box<Gallery>),
    /// Everything that was made, as a list.
    History(Box<History>),
    /// The themes, tried on.
    Themes(ThemePicker),
}

impl Screen {
    /// Whether this needs the alternate screen.
    pub fn is_full(&self) -> bool {
        !matches!(self, Self::Inline)
    }
}

/// How much of the text encoder's limit a prompt takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCount {
    /// Tokens, begin and end included.
    pub used: usize,
    /// The most that the encoder reads.
    pub limit: usize,
    /// Where in the text the first word begins that it does not read any more.
    pub cut_at_byte: Option<usize>,
}

/// What runs pictures, in the words of the panel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The model's name.
    pub model: String,
    /// `cpu`, `cuda` or `metal`; empty until a job was resolved.
    pub device: String,
    /// `f32`, `f16` or `bf16`; empty until a job was resolved.
    pub dtype: String,
    /// Settings that differ from the defaults: name and value.
    pub settings: Vec<(String, String)>,
}

/// The state of the user interface.
#[derive(Clone, Debug, Default)]
pub struct App {
    /// What fills the screen.
    pub screen: Screen,
    /// Whether the help lies over it.
    pub help: bool,
    /// Colours.
    pub theme: Theme,
    /// The home folder, for `~` in paths.
    pub home: Option<PathBuf>,
    /// Model, device, settings.
    pub facts: Facts,
    /// The running job.
    pub running: Option<Progress>,
    /// Waiting jobs in order.
    pub waiting: Vec<Waiting>,
    /// Whether the queue is paused.
    pub paused: bool,
    /// Memory.
    pub memory: MemoryTrail,
    /// Finished pictures of this session, oldest first.
    pub shots: Vec<Shot>,
    /// The newest of them in full, while the screen is full.
    pub last_picture: Option<Picture>,
    /// Commands for the help: what to type, and what it does.
    pub commands: Vec<(String, String)>,
    /// Whether nothing is typed.
    pub line_empty: bool,
    /// The contact sheet of the line whose jobs run.
    pub sheet: Option<LiveSheet>,
    /// Rows of the window.
    pub rows: u16,
    /// Tokens of the line that is being typed.
    pub tokens: Option<TokenCount>,
    /// The engine's last remark about the running job, or what a person should know now.
    pub notice: Option<String>,
    /// The memory plan of the last job, a line each.
    pub plan: Vec<String>,
    /// What the running job waits to be told.
    pub choices: Vec<Choice>,
    prompts: BTreeMap<JobId, String>,
    started: Option<Instant>,
}

impl App {
    /// Remembers the prompt of a job that was handed to the engine.
    pub fn submitted(&mut self, job: JobId, prompt: &str) {
        self.prompts.insert(job, prompt.to_owned());
    }

    /// Takes an event in. Whether anything visible changed.
    pub fn update(&mut self, event: &EngineEvent) -> bool {
        self.memory.update(event);
        match event {
            EngineEvent::Queued { job } => {
                let prompt = self.prompts.get(job).cloned().unwrap_or_default();
                self.waiting.push(Waiting { job: *job, prompt });
            }
            EngineEvent::Started { job } => {
                self.waiting.retain(|waiting| waiting.job != *job);
                let prompt = self.prompts.get(job).cloned().unwrap_or_default();
                self.running = Some(Progress::new(*job, prompt));
                self.started = Some(Instant::now());
                self.notice = None;
            }
            EngineEvent::Ended { job } => {
                self.waiting.retain(|waiting| waiting.job != *job);
                self.prompts.remove(job);
                if self.running.as_ref().is_some_and(|running| running.job == *job) {
                    self.running = None;
                    self.started = None;
                    self.choices.clear();
                    self.notice = None;
                }
            }
            EngineEvent::Memory(_) => {
                // while nothing runs nothing moves
                return self.running.is_some();
            }
            EngineEvent::Finished { recipe, picture, .. } => self.finished(recipe, picture),
            EngineEvent::PhaseFinished { .. } => return false,
            other => return self.progressed(other),
        }
        true
    }

    fn finished(&mut self, recipe: &Recipe, picture: &Picture) {
        self.shots.push(Shot { recipe: Arc::new(recipe.clone()), thumbnail: thumbnail(picture, THUMBNAIL) });
        self.last_picture = Some(picture.clone());
        if let Some(running) = self.running.as_mut().filter(|running| running.job == recipe.job) {
            // a request for several pictures goes on
            running.preview = None;
        }
    }

    fn progressed(&mut self, event: &EngineEvent) -> bool {
        let Some(running) = self.running.as_mut().filter(|running| event.job() == Some(running.job)) else {
            return false;
        };
        match event {
            EngineEvent::PhaseStarted { phase, .. } => running.enter(*phase),
            EngineEvent::Bytes { name, done, total, .. } => {
                running.transfer = Some(Transfer { name: name.clone(), done: *done, total: *total });
            }
            EngineEvent::Resolved { params, device, dtype, .. } => {
                running.size = Some(params.size);
                running.steps = params.steps;
                self.facts.model.clone_from(&params.model);
                self.facts.device.clone_from(device);
                self.facts.dtype.clone_from(dtype);
            }
            EngineEvent::Step { step, steps, seconds, .. } => running.stepped(*step, *steps, *seconds),
            EngineEvent::Notice { text, .. } => self.notice = Some(text.clone()),
            EngineEvent::Planned { plan, .. } => self.plan.clone_from(plan),
            EngineEvent::Asked { choices, .. } => {
                let keys: Vec<String> =
                    choices.iter().map(|choice| format!("{} {}", choice.key, choice.text)).collect();
                self.notice = Some(format!("it does not fit: {}", keys.join(" · ")));
                self.choices.clone_from(choices);
            }
            _ => return false,
        }
        true
    }

    /// Takes the newest preview in.
    pub fn previewed(&mut self, preview: Preview) {
        if let Some(running) = self.running.as_mut().filter(|running| running.job == preview.job) {
            running.preview = Some((preview.step, preview.picture));
        }
    }

    /// Whether keys go to the gallery's filter.
    pub fn filtering(&self) -> bool {
        matches!(&self.screen, Screen::Gallery(gallery) if gallery.filtering)
    }

    /// The running job shall stop after the step in hand.
    pub fn cancelling(&mut self) {
        if let Some(running) = &mut self.running {
            running.cancelling = true;
        }
    }

    /// Time passed: whether that shows, and after how long it shows next; `None` while nothing runs.
    pub fn tick(&mut self, now: Instant) -> (bool, Option<Duration>) {
        let (Some(running), Some(started)) = (&mut self.running, self.started) else { return (false, None) };
        let elapsed = now.saturating_duration_since(started);
        let next = Duration::from_nanos(1_000_000_000 - u64::from(elapsed.subsec_nanos()));
        // between steps the clock is all that moves
        let shows = running.phase != Some(crate::engine::Phase::Step) || running.step == 0;
        let moved = elapsed.as_secs() != running.elapsed.as_secs();
        running.elapsed = elapsed;
        (moved && shows, Some(next))
    }
}

#[cfg(test)]
mod tests;
