//! What the person does, as events: keys, pastes, resizes, signals, and "look, something happened" from threads.
//!
//! One place waits: [`Events::next`] selects over the terminal, the prompt's pty and the wake pipe, without a
//! tick, so that an idle program costs nothing. The bytes are taken apart by our own `Tokenizer`, because
//! crossterm's reader spins when the terminal hangs up (crossterm #793), takes a late `CSI ? … $ y` for an
//! unfinished key and then swallows what is typed, and turns late `OSC` and `DCS` answers into typed letters.
//! The types are crossterm's, so the rest of the program does not see the difference.
//!
//! It must not know what a key means.

mod encode;
mod tokenizer;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;
use ratatui::layout::Size;

use super::signals::{self, Signal};
use super::sys;

pub use encode::{encode_key, encode_paste};
pub(super) use tokenizer::Report;
use tokenizer::{Token, Tokenizer};

/// How long an `ESC` may stay alone before it is the Esc key and not the start of a sequence.
const ESCAPE_DELAY: Duration = Duration::from_millis(30);
/// How long an answer of the terminal may stay unfinished before it is thrown away.
const REPORT_DELAY: Duration = Duration::from_secs(1);

/// Something that the run loop should react to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text came in one bracketed paste; line ends are `\n`.
    Paste(String),
    /// The window has this size now (columns, rows).
    Resize(Size),
    /// A signal; window changes come as `Resize` instead.
    Signal(Signal),
    /// The terminal is gone. Comes once; nothing is read from it any more.
    HungUp,
    /// The pty given to [`Events::next`] can be read.
    PtyReady,
    /// A [`Waker`] was used: drain the channels.
    Wake,
}

/// Wakes the run loop from any thread: one byte in a pipe. Cheap to clone and to call too often.
#[derive(Clone, Debug)]
pub struct Waker(Arc<UnixStream>);

impl Waker {
    /// Makes the loop return [`Event::Wake`].
    pub fn wake(&self) {
        // A full pipe means that a wake is already due; a closed one that nobody waits any more.
        let _ = (&*self.0).write(&[1]);
    }
}

/// The stream of events.
pub struct Events {
    tty: Option<File>,
    tokenizer: Tokenizer,
    /// When the last bytes came, for the delays above.
    last_input: Instant,
    wake: UnixStream,
    waker: Waker,
    signals: Option<Receiver<Signal>>,
    size: Size,
    queue: VecDeque<Event>,
    /// Answers of the terminal that nobody has asked for yet.
    reports: Vec<Report>,
}

impl Events {
    /// Reads from `tty`, a descriptor of the terminal that nobody else reads from.
    ///
    /// # Errors
    /// When the wake pipe cannot be made.
    pub fn new(tty: File) -> io::Result<Self> {
        let (wake, sender) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        let size = size_of(tty.as_fd());
        Ok(Self {
            tty: Some(tty),
            tokenizer: Tokenizer::default(),
            last_input: Instant::now(),
            wake,
            waker: Waker(Arc::new(sender)),
            signals: None,
            size,
            queue: VecDeque::new(),
            reports: Vec::new(),
        })
    }

    /// Reads from standard input.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated or the wake pipe not be made.
    pub fn from_stdin() -> io::Result<Self> {
        Self::new(sys::duplicate(io::stdin().as_fd())?)
    }

    /// Catches signals from now on; without this only keys and wakes come.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn catch_signals(&mut self) -> io::Result<()> {
        let (sender, receiver) = channel();
        signals::start(sender, self.waker())?;
        self.signals = Some(receiver);
        Ok(())
    }

    /// Something that wakes this stream.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// The terminal's size as of the last event, in cells; at least 1×1.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The next event, or `None` when `timeout` passes. With `None` for `timeout` it waits as long as it takes.
    ///
    /// # Errors
    /// When waiting or reading fails for a reason other than a hang-up.
    pub fn next(
        &mut self,
        pty: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Option<Event>> {
        let deadline = timeout.map(|t| Instant::now() + t);
        loop {
            // answers that came too late for the probe
            self.reports.clear();
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(event));
            }
            self.wait(pty, deadline)?;
            if self.queue.is_empty() && deadline.is_some_and(|d| Instant::now() >= d) {
                return Ok(None);
            }
        }
    }

    /// Waits once and fills the queue.
    fn wait(&mut self, pty: Option<BorrowedFd<'_>>, deadline: Option<Instant>) -> io::Result<()> {
        let pending = self.tokenizer.pending_since(self.last_input);
        let limit = [deadline, pending].into_iter().flatten().min();
        let limit = limit.map(|d| d.saturating_duration_since(Instant::now()));
        let tty = self.tty.as_ref().map(|tty| tty.as_fd());
        let fds: Vec<_> = [Some(self.wake.as_fd()), tty, pty].into_iter().flatten().collect();
        let ready = sys::wait_readable(&fds, limit)?;
        let is_ready = |index: usize| ready.get(index).copied().unwrap_or(false);
        let (wake, tty_ready) = (is_ready(0), tty.is_some() && is_ready(1));
        let pty_ready = pty.is_some() && is_ready(fds.len() - 1);
        if wake {
            self.drain_wakes();
        }
        if tty_ready {
            self.read_tty()?;
        } else if self.tokenizer.pending_since(self.last_input).is_some_and(|d| Instant::now() >= d) {
            let late = self.tokenizer.flush();
            self.accept(late);
        }
        if pty_ready {
            self.queue.push_back(Event::PtyReady);
        }
        Ok(())
    }

    fn drain_wakes(&mut self) {
        let mut bytes = [0; 256];
        while matches!((&self.wake).read(&mut bytes), Ok(n) if n > 0) {}
        let signals: Vec<_> = self.signals.iter().flat_map(Receiver::try_iter).collect();
        for signal in signals {
            if signal == Signal::WindowChanged {
                self.check_size();
            } else {
                self.queue.push_back(Event::Signal(signal));
            }
        }
        self.queue.push_back(Event::Wake);
    }

    /// Emits a resize if the window has another size than the last one told.
    pub fn check_size(&mut self) {
        let Some(tty) = &self.tty else { return };
        let size = size_of(tty.as_fd());
        if size != self.size {
            self.size = size;
            self.queue.retain(|event| !matches!(event, Event::Resize(_)));
            self.queue.push_back(Event::Resize(size));
        }
    }

    fn read_tty(&mut self) -> io::Result<()> {
        let Some(tty) = &mut self.tty else { return Ok(()) };
        let mut bytes = [0; 16 * 1024];
        match tty.read(&mut bytes) {
            Ok(0) => self.hang_up(),
            Ok(n) => {
                self.last_input = Instant::now();
                let tokens = self.tokenizer.push(bytes.get(..n).unwrap_or_default());
                self.accept(tokens);
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                _ if matches!(error.raw_os_error(), Some(libc::EIO | libc::ENXIO)) => self.hang_up(),
                _ => return Err(error),
            },
        }
        Ok(())
    }

    fn hang_up(&mut self) {
        self.tty = None;
        self.queue.push_back(Event::HungUp);
    }

    fn accept(&mut self, tokens: Vec<Token>) {
        for token in tokens {
            match token {
                Token::Key(key) => self.queue.push_back(Event::Key(key)),
                Token::Paste(text) => self.queue.push_back(Event::Paste(text)),
                Token::Report(report) => self.reports.push(report),
            }
        }
    }

    /// Waits for answers of the terminal until `done` says so or `deadline` passes. What the person types
    /// meanwhile stays in the queue; answers that come later are dropped by `next`.
    pub(super) fn collect_reports(
        &mut self,
        deadline: Instant,
        mut on_report: impl FnMut(Report) -> Option<Instant>,
    ) -> io::Result<()> {
        let mut deadline = deadline;
        loop {
            for report in std::mem::take(&mut self.reports) {
                if let Some(sooner) = on_report(report) {
                    deadline = deadline.min(sooner);
                }
            }
            if self.tty.is_none() || Instant::now() >= deadline {
                return Ok(());
            }
            self.wait(None, Some(deadline))?;
        }
    }
}

fn size_of(tty: BorrowedFd<'_>) -> Size {
    let size = sys::window_size(tty).unwrap_or_default();
    // 0 is what a terminal without a window says (serial lines, some CI): the customary size then.
    let or = |n: u16, default: u16| if n == 0 { default } else { n };
    Size::new(or(size.cols, 80), or(size.rows, 24))
}

impl Tokenizer {
    /// When what is unfinished must be decided.
    fn pending_since(&self, last_input: Instant) -> Option<Instant> {
        let delay = match self.pending()? {
            tokenizer::Pending::Escape => ESCAPE_DELAY,
            tokenizer::Pending::Report => REPORT_DELAY,
        };
        Some(last_input + delay)
    }
}

#[cfg(test)]
mod tests;
