//! The prompt: the real rustyline `Editor`, unmodified, in process, on a pty of our own.
//!
//! rustyline talks to descriptors 0 and 1 or, with `Behavior::PreferTerm`, to `/dev/tty`, which it opens once and
//! keeps. We let it, find the descriptor that is new, and put our pty's slave in its place: rustyline reads and
//! writes the pty, and the terminal stays ours. What it writes goes through vt100 into a ratatui area. So the
//! prompt has all of rustyline (emacs and vi keys, undo, kill ring, Ctrl-R, completion, hints, several lines)
//! while the panel beside it moves. If rustyline ever opens `/dev/tty` twice or not at all, [`PromptPty::start`]
//! says so and the plain front end takes over.
//!
//! It must not know what a line means: that is the helper's.

mod helper;
mod updating;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::fd::{AsFd as _, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::{Position, Rect, Size};
use ratatui::style::{Color, Modifier};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Behavior, CompletionType, Config, Editor, GraphemeClusterMode, Helper};

use super::input::{Waker, encode_key, encode_paste};
use super::sys::{self, WindowSize};
use helper::{Recorder, Replacement};
use updating::Updating;

/// Rows of our screen: more than any prompt needs (20 000 characters at 80 columns are 250), because rustyline
/// cannot edit what has scrolled away.
const SCREEN_ROWS: u16 = 400;

/// Why there is no prompt.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// rustyline did not open exactly one terminal: not the rustyline that we know, or no terminal to open.
    #[error("the line editor opened {0} terminals where one was expected; use --plain")]
    NoTerminal(usize),
    /// rustyline refused its configuration.
    #[error("the line editor cannot start: {0}; use --plain")]
    Editor(#[from] ReadlineError),
    /// A pty or a thread could not be had.
    #[error("no pseudo-terminal for the prompt: {0}; use --plain")]
    Pty(#[from] io::Error),
}

/// Emacs or vi keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EditMode {
    /// Ctrl-A, Ctrl-E, Alt-B …
    #[default]
    Emacs,
    /// Esc, h, j, k, l …
    Vi,
}

/// How the prompt works.
#[derive(Clone, Debug)]
pub struct PromptOptions {
    /// Emacs or vi keys.
    pub edit_mode: EditMode,
    /// Where entered lines are kept; `None` forgets them.
    pub history: Option<PathBuf>,
    /// Entries kept.
    pub history_size: usize,
    /// Whether the helper's highlighting is used.
    pub color: bool,
}

impl Default for PromptOptions {
    fn default() -> Self {
        Self { edit_mode: EditMode::Emacs, history: None, history_size: 1000, color: true }
    }
}

/// What came of a prompt. Call [`PromptPty::ask`] for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptEvent {
    /// A line was entered.
    Line(String),
    /// Ctrl-C; the text that it threw away.
    Interrupted(String),
    /// Ctrl-D on an empty line.
    Eof,
    /// The editor failed, or its thread is gone; one line that says why.
    Failed(String),
}

enum Order {
    Ask { prompt: String, initial: String },
    AddHistory(String),
}

/// A prompt that runs beside everything else.
pub struct PromptPty {
    master: File,
    screen: vt100::Parser,
    updating: Updating,
    /// Something was read since `pump` last said so.
    unseen: bool,
    orders: Option<Sender<Order>>,
    events: Receiver<PromptEvent>,
    thread: Option<JoinHandle<()>>,
    size: Size,
    text: Arc<Mutex<String>>,
    replacement: Replacement,
    vi: bool,
}

impl PromptPty {
    /// Starts the editor. `size` is how many columns the prompt has and how many rows of it are shown at most;
    /// `waker` is used when a line was entered. No other thread may open terminals meanwhile.
    ///
    /// # Errors
    /// When rustyline does not behave as expected or the system has no pty.
    pub fn start<H: Helper + Send + 'static>(
        options: &PromptOptions,
        helper: H,
        size: Size,
        waker: Waker,
    ) -> Result<Self, PromptError> {
        let config = config(options)?;
        let before = sys::tty_fds();
        let mut editor: Editor<Recorder<H>, DefaultHistory> = Editor::with_config(config)?;
        let opened: Vec<RawFd> = sys::tty_fds().into_iter().filter(|fd| !before.contains(fd)).collect();
        let [terminal] = opened[..] else { return Err(PromptError::NoTerminal(opened.len())) };
        let (master, slave) = sys::open_pty(window_size(size))?;
        // Between two lines rustyline puts back the modes it found: let them be silent ones, so that what is
        // typed in the gap is neither echoed nor lost.
        sys::make_silent(slave.as_fd())?;
        sys::redirect(slave.as_fd(), terminal)?;

        let text = Arc::new(Mutex::new(String::new()));
        let replacement = Replacement::default();
        editor.set_helper(Some(Recorder::new(helper, Arc::clone(&text))));
        helper::bind_keys(&mut editor, &replacement);
        let history = options.history.clone();
        if let Some(path) = &history
            && let Err(error) = editor.load_history(path)
        {
            tracing::debug!(%error, path = %path.display(), "no prompt history yet");
        }
        let (orders, order_receiver) = channel();
        let (sender, events) = channel();
        let last_text = Arc::clone(&text);
        let thread = thread::Builder::new().name("rustyline".into()).spawn(move || {
            let lines = Lines { editor, orders: order_receiver, history, last_text };
            for event in lines {
                if sender.send(event).is_err() {
                    break;
                }
                waker.wake();
            }
        })?;
        Ok(Self {
            master: File::from(master),
            screen: new_screen(size.width),
            updating: Updating::default(),
            unseen: false,
            orders: Some(orders),
            events,
            thread: Some(thread),
            size,
            text,
            replacement,
            vi: options.edit_mode == EditMode::Vi,
        })
    }

    /// The descriptor to wait on: readable when the prompt looks different.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Shows a fresh prompt with `initial` already typed.
    pub fn ask(&mut self, prompt: &str, initial: &str) {
        self.read();
        self.screen = new_screen(self.size.width);
        self.order(Order::Ask { prompt: prompt.to_owned(), initial: initial.to_owned() });
    }

    /// Adds a line to the history before the next prompt.
    pub fn add_history(&mut self, line: &str) {
        self.order(Order::AddHistory(line.to_owned()));
    }

    fn order(&mut self, order: Order) {
        if let Some(orders) = &self.orders {
            // a dead thread is told by `event`
            let _ = orders.send(order);
        }
    }

    /// What came of the prompt, if anything did. Everything that it wrote is on the screen then.
    pub fn event(&mut self) -> Option<PromptEvent> {
        let event = match self.events.try_recv() {
            Ok(event) => event,
            Err(std::sync::mpsc::TryRecvError::Empty) => return None,
            Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                self.orders.take()?;
                PromptEvent::Failed("the line editor has stopped; start again or use --plain".into())
            }
        };
        self.read();
        Some(event)
    }

    /// The text as it is being typed.
    pub fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the text being typed; the cursor goes to its end. Undo brings the old one back.
    pub fn set_text(&mut self, text: &str) {
        self.replacement.set(text);
        self.send(helper::REPLACE_KEY);
        self.send(helper::END_KEY);
    }

    /// Passes a key on.
    pub fn key(&mut self, key: &KeyEvent) {
        if key.code == KeyCode::Esc && self.vi {
            self.send(b"\x1b");
        } else {
            self.send(&encode_key(key));
        }
    }

    /// Passes a paste on.
    pub fn paste(&mut self, text: &str) {
        self.send(&encode_paste(text));
    }

    fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match (&self.master).write(bytes) {
                Ok(n) if n > 0 => bytes = bytes.get(n..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A long paste: the pty is full until rustyline, which may be writing itself, reads on.
                    self.read();
                    if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                        return;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Takes what rustyline wrote; returns whether there is something new to show.
    ///
    /// rustyline begins and ends each change with the marks of a synchronized update. Half a change is not worth a
    /// frame: the other half would have to wait for the next one.
    pub fn pump(&mut self) -> bool {
        self.read();
        self.unseen && !self.updating.is_open() && std::mem::take(&mut self.unseen)
    }

    fn read(&mut self) {
        let mut bytes = [0; 8192];
        while let Ok(n @ 1..) = (&self.master).read(&mut bytes) {
            let bytes = bytes.get(..n).unwrap_or_default();
            self.screen.process(bytes);
            self.updating.see(bytes);
            self.unseen = true;
        }
    }

    /// Rows that the prompt takes, at least 1, at most as many as are shown.
    pub fn rows(&self) -> u16 {
        self.used_rows().min(self.size.height).max(1)
    }

    /// Rows up to the last one with text or the cursor.
    fn used_rows(&self) -> u16 {
        let screen = self.screen.screen();
        let cursor = screen.cursor_position().0;
        let is_used = |row: &u16| {
            (0..self.size.width)
                .any(|column| screen.cell(*row, column).is_some_and(vt100::Cell::has_contents))
        };
        (cursor + 1..SCREEN_ROWS).rev().find(is_used).unwrap_or(cursor) + 1
    }

    /// The prompt has this many columns and is shown in at most so many rows now.
    pub fn resize(&mut self, size: Size) {
        if size == self.size {
            return;
        }
        self.read();
        let narrower_or_wider = size.width != self.size.width;
        self.size = size;
        // Our screen does not re-flow, which is what rustyline takes for granted when it repaints.
        self.screen.screen_mut().set_size(non_zero(SCREEN_ROWS), non_zero(size.width));
        if let Err(error) = sys::set_window_size(self.master.as_fd(), window_size(size)) {
            tracing::warn!(%error, "the prompt keeps its size");
        } else if narrower_or_wider {
            // The pty is nobody's controlling terminal: the kernel sends nothing by itself.
            let _ = signal_hook::low_level::raise(signal_hook::consts::SIGWINCH);
        }
    }

    /// Draws the prompt into `area`: the rows around the cursor, if it has more than fit. Returns where the
    /// cursor is.
    pub fn render(&self, area: Rect, buffer: &mut Buffer) -> Option<Position> {
        let screen = self.screen.screen();
        let (cursor_row, cursor_column) = screen.cursor_position();
        let last_top = self.used_rows().saturating_sub(area.height);
        let top = cursor_row.saturating_sub(area.height / 2).min(last_top);
        for y in 0..area.height {
            for x in 0..area.width.min(self.size.width) {
                if let (Some(from), Some(to)) =
                    (screen.cell(top + y, x), buffer.cell_mut((area.x + x, area.y + y)))
                {
                    copy_cell(from, to);
                }
            }
        }
        let x = area.x + cursor_column.min(area.width.saturating_sub(1));
        let visible = !area.is_empty() && !screen.hide_cursor();
        visible.then(|| Position { x, y: area.y + cursor_row - top })
    }
}

impl Drop for PromptPty {
    fn drop(&mut self) {
        self.orders = None;
        // A reader of the slave gets end of file, and readline returns, when the master is closed.
        if let Ok(null) = File::open("/dev/null") {
            self.master = null;
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn config(options: &PromptOptions) -> Result<Config, ReadlineError> {
    // Sequences reach the pty in one write, so a lone ESC is soon known for the key that it is; emacs mode never
    // gets one.
    let (mode, timeout) = match options.edit_mode {
        EditMode::Emacs => (rustyline::EditMode::Emacs, None),
        EditMode::Vi => (rustyline::EditMode::Vi, Some(10)),
    };
    let color = if options.color { rustyline::ColorMode::Forced } else { rustyline::ColorMode::Disabled };
    Ok(Config::builder()
        .behavior(Behavior::PreferTerm)
        // what our screen counts, whatever the terminal outside does
        .grapheme_cluster_mode(GraphemeClusterMode::WcWidth)
        .completion_type(CompletionType::List)
        .bell_style(rustyline::config::BellStyle::None)
        .edit_mode(mode)
        .keyseq_timeout(timeout)
        .color_mode(color)
        .history_ignore_dups(true)?
        .max_history_size(options.history_size)?
        .build())
}

fn non_zero(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN)
}

fn new_screen(columns: u16) -> vt100::Parser {
    vt100::Parser::new(non_zero(SCREEN_ROWS), non_zero(columns), 0)
}

/// What rustyline is told: it pages completions by the rows that are shown.
fn window_size(size: Size) -> WindowSize {
    WindowSize { cols: size.width.max(1), rows: size.height.max(2), ..WindowSize::default() }
}

fn copy_cell(from: &vt100::Cell, to: &mut Cell) {
    if from.is_wide_continuation() {
        return;
    }
    to.reset();
    if from.has_contents() {
        to.set_symbol(from.contents());
    }
    to.fg = color(from.fgcolor());
    to.bg = color(from.bgcolor());
    to.modifier.set(Modifier::BOLD, from.bold());
    to.modifier.set(Modifier::DIM, from.dim());
    to.modifier.set(Modifier::ITALIC, from.italic());
    to.modifier.set(Modifier::UNDERLINED, from.underline());
    to.modifier.set(Modifier::REVERSED, from.inverse());
}

fn color(color: vt100::Color) -> Color {
    match color {
        vt100::Color::Default => Color::Reset,
        vt100::Color::Idx(index) => Color::Indexed(index),
        vt100::Color::Rgb(red, green, blue) => Color::Rgb(red, green, blue),
    }
}

/// The editor's side: one event for each prompt that was asked for.
struct Lines<H: Helper> {
    editor: Editor<H, DefaultHistory>,
    orders: Receiver<Order>,
    history: Option<PathBuf>,
    last_text: Arc<Mutex<String>>,
}

impl<H: Helper> Lines<H> {
    fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let added = self.editor.add_history_entry(line);
        if let (Ok(true), Some(path)) = (added, &self.history)
            && let Err(error) = self.editor.append_history(path)
        {
            tracing::warn!(%error, path = %path.display(), "the prompt history cannot be written");
            self.history = None;
        }
    }
}

impl<H: Helper> Iterator for Lines<H> {
    type Item = PromptEvent;

    fn next(&mut self) -> Option<PromptEvent> {
        loop {
            match self.orders.recv().ok()? {
                Order::AddHistory(line) => self.remember(&line),
                Order::Ask { prompt, initial } => {
                    return Some(match self.editor.readline_with_initial(&prompt, (&initial, "")) {
                        Ok(line) => {
                            self.remember(&line);
                            PromptEvent::Line(line)
                        }
                        Err(ReadlineError::Interrupted) => {
                            let text = self.last_text.lock().unwrap_or_else(PoisonError::into_inner).clone();
                            PromptEvent::Interrupted(text)
                        }
                        Err(ReadlineError::Eof) => PromptEvent::Eof,
                        Err(error) => PromptEvent::Failed(format!("the line editor failed: {error}")),
                    });
                }
            }
        }
    }
}
