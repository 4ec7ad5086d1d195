//! Signals as events: a thread that turns them into a message and one byte in the wake pipe.
//!
//! It must not know what anybody does about them, except for one thing: when nobody does anything about an
//! order to end (the loop hangs in a write to a terminal that is gone), it ends the process itself.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::{Handle, Signals};

use super::input::Waker;
use super::{guard, sys};

/// How long the loop may take to end by itself once it was told to.
const GRACE: Duration = Duration::from_secs(3);
/// The same when the terminal hung up: nobody is left to see how it ends.
const HANG_UP_GRACE: Duration = Duration::from_millis(700);

/// A signal that somebody sent to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Leave: restore the terminal and exit with 128 + this number.
    Terminate(i32),
    /// Stop, as on Ctrl-Z.
    Suspend,
    /// Running again after a stop that we did not make.
    Continued,
    /// The window may have another size.
    WindowChanged,
}

/// The running signals thread; ends when dropped.
pub(super) struct SignalThread {
    handle: Handle,
}

impl Drop for SignalThread {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Starts the thread: every signal goes to `sender`, then `waker` wakes the loop.
///
/// # Errors
/// When a handler cannot be installed or the thread not started.
pub(super) fn start(sender: Sender<Signal>, waker: Waker) -> io::Result<SignalThread> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH])?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for number in signals.forever() {
            let signal = match number {
                SIGTSTP => Signal::Suspend,
                SIGCONT => Signal::Continued,
                SIGWINCH => Signal::WindowChanged,
                number => Signal::Terminate(number),
            };
            if sender.send(signal).is_err() {
                return;
            }
            waker.wake();
            if let Signal::Terminate(number) = signal {
                end_later(number);
            }
        }
    })?;
    Ok(SignalThread { handle })
}

/// Ends the process after the grace, unless it ended by itself before.
fn end_later(number: i32) {
    let grace = if number == SIGHUP { HANG_UP_GRACE } else { GRACE };
    let last_resort = move || {
        thread::sleep(grace);
        // Writing may block for ever (flow control): give the restoration a moment of its own.
        if thread::Builder::new().spawn(guard::restore).is_ok() {
            thread::sleep(Duration::from_millis(200));
        }
        sys::exit_now(128 + number);
    };
    // A thread of its own: a second signal must not wait behind the first. Without one, end at once.
    if thread::Builder::new().name("last-resort".into()).spawn(last_resort).is_err() {
        sys::exit_now(128 + number);
    }
}
