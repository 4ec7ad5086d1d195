//! The terminal's modes, and their way back: raw mode, bracketed paste, alternate screen, standard error.
//!
//! Whatever ends the program, the terminal is sane afterwards: [`Guard`] restores when dropped, the panic hook
//! restores before the message is printed, the signals thread restores when the loop does not react. What has to
//! be undone is therefore process-wide state here, readable from any thread without a lock.
//!
//! It must not know what is drawn.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

use super::sys;

const ENTER: &[u8] = b"\x1b[?2004h";
const ENTER_ALTERNATE: &[u8] = b"\x1b[?1049h\x1b[H\x1b[2J";
const LEAVE_ALTERNATE: &[u8] = b"\x1b[?1049l";
/// End a synchronized update, plain attributes, visible cursor, no bracketed paste.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[0m\x1b[?25h\x1b[?2004l";

/// A stop that is over sooner than this was none: no shell is that fast.
const NO_STOP: Duration = Duration::from_millis(2);

static ACTIVE: AtomicBool = AtomicBool::new(false);
static ALTERNATE: AtomicBool = AtomicBool::new(false);
/// 0: the cursor stands at the start of an empty row. Else 1 + rows of a live region below the cursor's row.
static REGION: AtomicU32 = AtomicU32::new(0);
/// Whether we stopped ourselves and the SIGCONT that ends it has not been seen.
static OWN_STOP: AtomicBool = AtomicBool::new(false);
static SAVED: Mutex<Saved> = Mutex::new(Saved { output: None, stderr: None, owner: None, panic: None });

struct Saved {
    /// The terminal, for writing.
    output: Option<File>,
    /// Where standard error went before it was redirected.
    stderr: Option<File>,
    /// The thread whose panic ends the program.
    owner: Option<ThreadId>,
    /// The last panic of another thread.
    panic: Option<ThreadPanic>,
}

/// A panic on a thread that does not own the terminal: the program goes on, and the run loop decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadPanic {
    /// The thread's name.
    pub thread: String,
    /// The panic's message and place.
    pub message: String,
}

fn saved() -> std::sync::MutexGuard<'static, Saved> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds the terminal in raw mode with bracketed paste. One at a time; dropping it restores the terminal.
#[derive(Debug)]
pub struct Guard(());

impl Guard {
    /// Takes the terminal. The calling thread becomes its owner: a panic on it restores the terminal and prints
    /// to the real standard error; a panic on any other thread goes to the log and to [`take_thread_panic`].
    ///
    /// # Errors
    /// When standard output is no terminal or raw mode is refused.
    pub fn enter() -> io::Result<Self> {
        let output = sys::duplicate(io::stdout().as_fd())?;
        {
            let mut saved = saved();
            saved.output = Some(output);
            saved.owner = Some(thread::current().id());
        }
        install_panic_hook();
        enable_raw_mode()?;
        ACTIVE.store(true, Ordering::SeqCst);
        write_terminal(ENTER)?;
        Ok(Self(()))
    }

    /// Sends standard error to `log` until the terminal is restored: drivers print there, and it would land in
    /// the middle of the picture.
    ///
    /// # Errors
    /// When a descriptor cannot be duplicated.
    pub fn redirect_stderr(&self, log: &File) -> io::Result<()> {
        let mut saved = saved();
        if saved.stderr.is_none() {
            saved.stderr = Some(sys::duplicate(io::stderr().as_fd())?);
        }
        sys::redirect(log.as_fd(), io::stderr().as_raw_fd())
    }

    /// Switches to the alternate screen, cleared, or back.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn set_alternate(&self, on: bool) -> io::Result<()> {
        if ALTERNATE.swap(on, Ordering::SeqCst) == on {
            return Ok(());
        }
        write_terminal(if on { ENTER_ALTERNATE } else { LEAVE_ALTERNATE })
    }

    /// Whether the alternate screen is on.
    pub fn alternate(&self) -> bool {
        ALTERNATE.load(Ordering::SeqCst)
    }

    /// Restores the terminal, stops the job as Ctrl-Z does, and takes the terminal again when it is continued.
    /// Leave the alternate screen and close the live region first.
    ///
    /// # Errors
    /// When the terminal cannot be written to or raw mode is refused afterwards.
    pub fn suspend(&self) -> io::Result<()> {
        write_terminal(LEAVE)?;
        disable_raw_mode()?;
        OWN_STOP.store(true, Ordering::SeqCst);
        let start = Instant::now();
        let stopped = sys::stop_job();
        if start.elapsed() < NO_STOP {
            // Nobody could have continued us (see `stop_job`), so no SIGCONT is on its way.
            OWN_STOP.store(false, Ordering::SeqCst);
        }
        self.resume()?;
        stopped
    }

    /// Takes the terminal again after somebody else had it: after a stop that we did not make.
    ///
    /// # Errors
    /// When the terminal cannot be written to or raw mode is refused.
    pub fn resume(&self) -> io::Result<()> {
        // crossterm keeps the modes of before; a second "enable" would be ignored without this.
        disable_raw_mode()?;
        enable_raw_mode()?;
        write_terminal(ENTER)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

/// Whether the SIGCONT that arrives now ends a stop of our own making; asked once for each.
pub(super) fn take_own_stop() -> bool {
    OWN_STOP.swap(false, Ordering::SeqCst)
}

/// Tells how far below the cursor the live region ends, so that a message after a crash lands beneath it; `None`
/// when no region is open.
pub(super) fn set_rows_below(rows: Option<u16>) {
    REGION.store(rows.map_or(0, |rows| u32::from(rows) + 1), Ordering::SeqCst);
}

/// Gives the terminal back. Works from any thread, any number of times.
pub fn restore() {
    if !ACTIVE.swap(false, Ordering::SeqCst) {
        return;
    }
    // Modes before bytes: writing may block or fail, this does not.
    let _ = disable_raw_mode();
    let mut bytes = Vec::new();
    if ALTERNATE.swap(false, Ordering::SeqCst) {
        bytes.extend_from_slice(LEAVE_ALTERNATE);
    }
    let region = REGION.swap(0, Ordering::SeqCst);
    if region > 1 {
        bytes.extend_from_slice(format!("\x1b[{}B", region - 1).as_bytes());
    }
    if region > 0 {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(LEAVE);
    let _ = write_terminal(&bytes);
    // Not `lock`: a thread that panicked while it held the lock may be this one.
    if let Ok(mut saved) = SAVED.try_lock()
        && let Some(stderr) = saved.stderr.take()
    {
        let _ = sys::redirect(stderr.as_fd(), io::stderr().as_raw_fd());
    }
}

/// The panic of a thread that does not own the terminal, once.
pub fn take_thread_panic() -> Option<ThreadPanic> {
    saved().panic.take()
}

/// Writes to the terminal past std's locked and buffered stdout, which a panicking thread may hold.
fn write_terminal(bytes: &[u8]) -> io::Result<()> {
    match SAVED.try_lock() {
        Ok(mut saved) => saved.output.as_mut().map_or(Ok(()), |output| output.write_all(bytes)),
        Err(_) => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
    }
}

fn install_panic_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !ACTIVE.load(Ordering::SeqCst) {
                return previous(info);
            }
            let current = thread::current();
            let ours = SAVED.try_lock().map_or(true, |saved| saved.owner == Some(current.id()));
            if ours {
                restore();
                return previous(info);
            }
            let thread = current.name().unwrap_or("unnamed").to_owned();
            let message = info.to_string();
            tracing::error!(%thread, %message, "a thread panicked");
            if let Ok(mut saved) = SAVED.try_lock() {
                saved.panic = Some(ThreadPanic { thread, message });
                if saved.stderr.is_none() {
                    // it would be printed across the screen
                    return;
                }
            }
            previous(info);
        }));
    });
}
