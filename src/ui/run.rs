//! The run loop: one thread that owns the terminal, and everything that can happen to it.
//!
//! Keys go to rustyline or to a screen, lines to the session, jobs to the engine; events come back, change the
//! state, and the state is drawn at most once a frame. While nothing happens, nothing runs.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Position, Rect, Size};

use super::app::{App, Screen};
use super::errands::Errands;
use super::keymap::{Action, action};
use super::loader::Loader;
use super::outcome::{PROMPT, QUESTION};
use super::painter::{Painter, thumbnail};
use super::prompt::PromptState;
use super::start::Services;
use super::terminal::{Block, Terminal};
use super::views;
use crate::engine::{EngineEvent, EngineHandle, Preview, StartLines};
use crate::request::ImageSize;
use crate::session::Session;
use crate::session::plan::Plan;
use crate::term::{Event, Events, PromptEvent, PromptPty, Signal};

/// Frames are at least this far apart.
const FRAME: Duration = Duration::from_millis(16);
/// A second Ctrl-C within this time leaves.
const TWICE: Duration = Duration::from_secs(2);
/// A frame that takes this long to write means a slow line: previews become rarer.
const SLOW_WRITE: Duration = Duration::from_millis(50);
/// Previews are halved so often at most.
const MOST_HALVINGS: u32 = 3;
/// After so many frames that were quick to write the line is taken to be better.
const QUICK_FRAMES: u32 = 64;
/// No preview is made smaller than this.
const SMALLEST_PREVIEW: u32 = 8;
/// Narrower or lower windows show the prompt alone.
const PANEL_FROM: Size = Size::new(10, 2);

/// Everything the loop joins together.
pub struct Ui {
    pub(super) app: App,
    pub(super) session: Session,
    pub(super) services: Services,
    pub(super) engine: EngineHandle,
    pub(super) inbox: Receiver<EngineEvent>,
    pub(super) events: Events,
    pub(super) terminal: Terminal,
    pub(super) prompt: PromptPty,
    pub(super) prompt_state: Arc<PromptState>,
    /// The model where none is named.
    pub(super) default_model: String,
    pub(super) loader: Option<Loader>,
    pub(super) errands: Errands,
    /// The doctor is at it.
    pub(super) examining: bool,
    /// Model, revision and variant that tokens are counted for.
    pub(super) counting_for: Option<(Option<String>, Option<String>, Option<String>)>,
    pub(super) pace: Pace,
    /// rustyline is reading a line.
    pub(super) asking: bool,
    /// What the next line begins with.
    pub(super) initial: String,
    /// A large plan that waits for a yes.
    pub(super) confirming: Option<Box<Plan>>,
    /// The gallery was opened from the full screen.
    pub(super) full_behind: bool,
    pub(super) interrupted: Option<Instant>,
    /// Why the prompt can go on no longer.
    pub(super) failure: Option<String>,
    /// The story of the start.
    pub(super) start_lines: StartLines,
    /// Set when the loop shall end, with the exit code.
    pub(super) exit: Option<u8>,
}

/// When to draw, and when to fetch a preview.
pub(super) struct Pace {
    /// Something that is shown has changed.
    dirty: bool,
    /// A key was passed on whose echo has not been seen: it need not wait for the next frame.
    typed: bool,
    next_frame: Instant,
    preview_due: bool,
    next_preview: Instant,
    /// How often the sides of previews are halved.
    halvings: u32,
    /// A frame was slow not long ago: a second one tells a slow line from a busy moment.
    slow: bool,
    /// Frames since the last slow one.
    quick: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            dirty: true,
            typed: false,
            next_frame: now,
            preview_due: false,
            next_preview: now,
            halvings: 0,
            slow: false,
            quick: 0,
        }
    }

    /// The prompt's line looks different.
    fn changed_by_typing(&mut self) {
        self.dirty = true;
        if std::mem::take(&mut self.typed) {
            self.next_frame = Instant::now();
        }
    }

    /// A frame was drawn at `now`; it took `write` to write.
    fn drawn(&mut self, now: Instant, write: Duration) {
        self.dirty = false;
        self.next_frame = now + FRAME;
        // on a slow line half of the time stays for everything but previews, and they become smaller
        self.next_preview = now;
        if write > SLOW_WRITE {
            self.next_preview = now + 2 * write;
            self.halvings = (self.halvings + u32::from(self.slow)).min(MOST_HALVINGS);
            (self.slow, self.quick) = (true, 0);
            return;
        }
        self.quick += 1;
        if self.quick == QUICK_FRAMES {
            self.halvings = self.halvings.saturating_sub(1);
            (self.slow, self.quick) = (false, 0);
        }
    }

    /// The longest side of a preview that has this size.
    fn preview_side(&self, size: ImageSize) -> u32 {
        (size.width.max(size.height) >> self.halvings).max(SMALLEST_PREVIEW)
    }

    /// How long the loop may wait; `tick` is when the clock moves next.
    fn timeout(&self, now: Instant, tick: Option<Duration>) -> Option<Duration> {
        let frame = self.dirty.then(|| self.next_frame.saturating_duration_since(now));
        let preview =
            self.preview_due.then(|| self.next_preview.max(self.next_frame).saturating_duration_since(now));
        [frame, preview, tick].into_iter().flatten().min()
    }
}

impl Ui {
    /// Runs until the person leaves, the terminal goes away, or a signal ends it. Returns the exit code.
    ///
    /// # Errors
    /// When the terminal cannot be read from or written to.
    pub fn run(mut self) -> io::Result<u8> {
        self.ask();
        loop {
            let now = Instant::now();
            let (moved, tick) = self.app.tick(now);
            self.pace.dirty |= moved;
            self.fetch_preview(now);
            if self.pace.dirty && now >= self.pace.next_frame {
                self.draw()?;
                self.pace.drawn(Instant::now(), self.terminal.last_write());
                self.load_pictures();
            }
            let timeout = self.pace.timeout(Instant::now(), tick);
            if let Some(event) = self.events.next(Some(self.prompt.fd()), timeout)? {
                self.handle(event)?;
            }
            if let Some(code) = self.exit {
                self.terminal.finish()?;
                if let Some(failure) = self.failure {
                    return Err(io::Error::other(failure));
                }
                return Ok(code);
            }
        }
    }

    fn handle(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Key(key) => self.key(&key)?,
            Event::Paste(text) => self.paste(&text),
            Event::Resize(size) => self.resize(size)?,
            Event::PtyReady => self.pump()?,
            Event::Wake => {
                self.pump()?;
                self.drain_engine()?;
                self.take_pictures();
                self.take_errands()?;
            }
            Event::Signal(Signal::Suspend) => self.suspend()?,
            Event::Signal(Signal::Continued) => self.redraw()?,
            Event::Signal(Signal::WindowChanged) => {}
            Event::Signal(Signal::Terminate(number)) => self.exit = Some(128 + number as u8),
            Event::HungUp => self.exit = Some(129),
        }
        Ok(())
    }

    fn key(&mut self, key: &KeyEvent) -> io::Result<()> {
        self.app.line_empty = self.confirming.is_none() && self.prompt_state.is_empty();
        if let Some(answer) = self.answer(key) {
            return self.answered(answer);
        }
        let meaning = action(key, &self.app);
        // what rustyline makes of a key tells that something changed, the key itself does not
        self.pace.dirty |= meaning != Action::Type;
        match meaning {
            Action::Type => {
                let interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if !interrupt {
                    self.interrupted = None;
                }
                if matches!(key.code, KeyCode::Char(_)) && !key.modifiers.contains(KeyModifiers::CONTROL) {
                    self.prompt_state.typing();
                }
                self.prompt.key(key);
                self.pace.typed = true;
            }
            Action::Gallery => self.gallery_key(key)?,
            Action::History => self.history_key(key)?,
            Action::Themes => self.themes_key(key)?,
            Action::ToggleFull => {
                self.app.screen = if self.app.screen.is_full() { Screen::Inline } else { Screen::Full };
                self.show_screen()?;
            }
            Action::ToggleGallery if matches!(self.app.screen, Screen::Gallery(_)) => self.close_gallery()?,
            Action::ToggleGallery => self.open_gallery(|_| ())?,
            Action::ToggleHistory if matches!(self.app.screen, Screen::History(_)) => self.close_gallery()?,
            Action::ToggleHistory => self.open_history()?,
            Action::ToggleHelp => {
                self.app.help = !self.app.help;
                self.show_screen()?;
            }
            Action::Inline => self.close_gallery()?,
            Action::Cancel => self.cancel_running(),
            Action::Keep => self.submit("/keep")?,
            Action::Suspend => self.suspend()?,
            Action::Redraw => self.redraw()?,
            Action::Ignore => {}
        }
        Ok(())
    }

    /// The choice that a key makes: on an empty line, while the running job waits for one.
    fn answer(&self, key: &KeyEvent) -> Option<char> {
        let KeyCode::Char(typed) = key.code else { return None };
        let types =
            action(key, &self.app) == Action::Type && (key.modifiers - KeyModifiers::SHIFT).is_empty();
        let offered = self.app.choices.iter().any(|choice| choice.key == typed);
        (types && offered && self.prompt_state.is_empty()).then_some(typed)
    }

    fn answered(&mut self, key: char) -> io::Result<()> {
        let choices = std::mem::take(&mut self.app.choices);
        self.app.notice = None;
        self.engine.answer(key);
        match choices.iter().find(|choice| choice.key == key) {
            Some(choice) => self.remark(&choice.text),
            None => Ok(()),
        }
    }

    fn paste(&mut self, text: &str) {
        self.interrupted = None;
        match &mut self.app.screen {
            Screen::Gallery(gallery) => {
                gallery.paste(text);
                self.pace.dirty = true;
            }
            Screen::History(history) => {
                history.paste(text);
                self.pace.dirty = true;
            }
            _ => self.prompt.paste(text),
        }
    }

    /// Makes the screen fit the state.
    pub(super) fn show_screen(&mut self) -> io::Result<()> {
        self.pace.dirty = true;
        self.terminal.set_full(self.app.screen.is_full() || self.app.help)
    }

    fn resize(&mut self, size: Size) -> io::Result<()> {
        self.pace.dirty = true;
        self.prompt.resize(size);
        self.terminal.resize(size)
    }

    fn redraw(&mut self) -> io::Result<()> {
        self.pace.dirty = true;
        self.terminal.redraw()
    }

    fn suspend(&mut self) -> io::Result<()> {
        self.terminal.suspend()?;
        self.events.check_size();
        self.pace.dirty = true;
        Ok(())
    }

    /// Takes what rustyline wrote, and the lines it has read.
    fn pump(&mut self) -> io::Result<()> {
        if self.prompt.pump() {
            self.pace.changed_by_typing();
        }
        while let Some(event) = self.prompt.event() {
            self.pace.dirty = true;
            self.asking = false;
            match event {
                PromptEvent::Line(text) => self.submit(&text)?,
                PromptEvent::Interrupted(text) => self.interrupt(&text)?,
                PromptEvent::Eof => self.exit = Some(0),
                PromptEvent::Failed(error) => {
                    self.failure = Some(error);
                    self.exit = Some(1);
                }
            }
            if self.exit.is_none() {
                self.ask();
            }
        }
        Ok(())
    }

    fn ask(&mut self) {
        self.prompt_state.begin();
        self.asking = true;
        let prompt = if self.confirming.is_some() { QUESTION } else { PROMPT };
        self.prompt.ask(prompt, &std::mem::take(&mut self.initial));
    }

    /// Ctrl-C: the line was cleared; on an empty one the running job is cancelled, and a second one leaves.
    fn interrupt(&mut self, text: &str) -> io::Result<()> {
        if self.confirming.take().is_some() {
            return self.remark("not made; the line is in the history");
        }
        if !text.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        if self.interrupted.replace(now).is_some_and(|before| now.duration_since(before) < TWICE) {
            self.exit = Some(0);
            return Ok(());
        }
        if self.app.running.is_some() {
            self.cancel_running();
            return Ok(());
        }
        self.remark("Ctrl-C again leaves; so does Ctrl-D")
    }

    pub(super) fn cancel_running(&mut self) {
        if let Some(job) = self.engine.running() {
            self.engine.cancel(job);
            self.app.cancelling();
        }
    }

    /// Something that is shown has changed.
    pub(super) fn redraw_soon(&mut self) {
        self.pace.dirty = true;
    }

    /// Prints lines into the scrollback.
    pub(super) fn say(&mut self, lines: Vec<ratatui::text::Line<'static>>) -> io::Result<()> {
        self.pace.dirty = true;
        self.terminal.print(Block::Text(lines))
    }

    /// Prints what the session has to say.
    pub(super) fn say_notices(&mut self) -> io::Result<()> {
        for notice in self.session.take_notices() {
            self.say(views::result::warning(&notice, &self.app.theme))?;
        }
        Ok(())
    }

    fn drain_engine(&mut self) -> io::Result<()> {
        while let Ok(event) = self.inbox.try_recv() {
            if let EngineEvent::PreviewReady { .. } = event {
                self.pace.preview_due = true;
                continue;
            }
            if let Some(line) = self.start_lines.line(&event) {
                self.remark(&line)?;
            }
            let sheet = self.session.apply(&event).cloned();
            let before = match &event {
                EngineEvent::Finished { recipe, .. } => self.picture_before(recipe.job),
                _ => None,
            };
            self.pace.dirty |= self.app.update(&event);
            let theme = &self.app.theme;
            match event {
                EngineEvent::Finished { recipe, picture, .. } => {
                    self.finished(&recipe, picture, before)?;
                }
                EngineEvent::Planned { news: Some(news), .. } => self.remark(&news)?,
                EngineEvent::Asked { job, question, choices } => {
                    let lines = views::result::question(job, &question, &choices, theme);
                    self.say(lines)?;
                }
                EngineEvent::Cancelled { job, step } => {
                    let lines = views::result::cancelled(job, step, theme);
                    self.say(lines)?;
                }
                EngineEvent::Started { job } => self.began(job),
                EngineEvent::Ended { job } => self.ended(job),
                EngineEvent::Held { job, step, steps, .. } => {
                    let lines = views::result::held(job, step, steps, theme);
                    self.say(lines)?;
                }
                EngineEvent::Failed { job, error, .. } => {
                    let lines = views::result::failed(job, &error, theme);
                    self.say(lines)?;
                }
                _ => {}
            }
            self.say_notices()?;
            if let Some(batch) = sheet {
                self.contact_sheet(&batch)?;
            }
        }
        Ok(())
    }

    fn fetch_preview(&mut self, now: Instant) {
        if self.pace.preview_due && now >= self.pace.next_preview.max(self.pace.next_frame) {
            self.pace.preview_due = false;
            if let Some(Preview { job, step, picture }) = self.engine.take_preview() {
                let picture = thumbnail(&picture, self.pace.preview_side(picture.size));
                self.app.previewed(Preview { job, step, picture });
                self.pace.dirty = true;
            }
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        self.app.tokens = self.prompt_state.tokens();
        let size = self.terminal.size();
        self.app.rows = size.height;
        let most = (size.height / 3).clamp(1, 10);
        let prompt_rows = self.prompt.rows().min(most);
        let (app, prompt) = (&mut self.app, &self.prompt);
        if let Screen::Gallery(gallery) = &mut app.screen {
            let (columns, rows) = views::gallery::grid_size(Rect::from((Position::ORIGIN, size)));
            gallery.set_grid(columns, rows);
        }
        let app = &*app;
        let panel_rows = if size.width < PANEL_FROM.width || size.height < PANEL_FROM.height {
            0
        } else {
            views::panel::height(app).min(size.height - prompt_rows)
        };
        self.terminal.draw(panel_rows + prompt_rows, &app.theme, |area, painter| {
            let cursor = match &app.screen {
                Screen::Inline if !app.help => {
                    let [panel, line] =
                        Layout::vertical([Constraint::Length(panel_rows), Constraint::Min(0)]).areas(area);
                    views::panel::draw(app, panel, painter);
                    prompt.render(line, painter.buffer())
                }
                Screen::Inline => None,
                Screen::Full => full_screen(app, prompt, prompt_rows, area, painter),
                Screen::Gallery(gallery) => {
                    views::gallery::draw(gallery, area, painter);
                    None
                }
                Screen::History(history) => {
                    views::history::draw(history, area, painter);
                    None
                }
                Screen::Themes(picker) => {
                    views::themes::draw(picker, app, area, painter);
                    None
                }
            };
            if !app.help {
                return cursor;
            }
            views::help::draw(&app.commands, area, painter);
            None
        })
    }
}

fn full_screen(
    app: &App,
    prompt: &PromptPty,
    prompt_rows: u16,
    area: Rect,
    painter: &mut Painter<'_>,
) -> Option<Position> {
    let [view, line] = Layout::vertical([Constraint::Min(0), Constraint::Length(prompt_rows)]).areas(area);
    views::full::draw(app, view, painter);
    prompt.render(line, painter.buffer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_halves_previews_until_it_is_better() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let size = ImageSize::new(64, 48);
        assert_eq!(pace.preview_side(size), 64);
        let (slow, quick) = (Duration::from_millis(200), Duration::from_millis(1));
        let mut sides = Vec::new();
        for _ in 0..5 {
            pace.drawn(now, slow);
            sides.push(pace.preview_side(size));
        }
        assert_eq!(sides, [64, 32, 16, 8, 8]);
        assert_eq!(pace.next_preview, now + 2 * slow);
        for _ in 0..QUICK_FRAMES {
            pace.drawn(now, quick);
        }
        assert_eq!((pace.preview_side(size), pace.next_preview), (16, now));
        assert_eq!(pace.preview_side(ImageSize::new(4, 4)), 8, "never enlarged by what scales it");
    }
}
