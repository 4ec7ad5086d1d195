//! Signals as events: a thread that turns them into a message and one byte in the wake pipe.
//!
//! It must not know what anybody does about them, except for one thing: when nobody does anything about an
//! order to end (the loop hangs in a write to a terminal that is gone), it ends the process itself.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;

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

/// Starts the thread: every signal goes to `sender`, then `waker` wakes the loop. It runs as long as the process:
/// when nobody listens any more, an order to end is obeyed at once.
///
/// # Errors
/// When a handler cannot be installed or the thread not started.
pub(super) fn start(sender: Sender<Signal>, waker: Waker) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        for number in signals.forever() {
            let signal = match number {
                SIGTSTP => Signal::Suspend,
                SIGCONT if guard::take_own_stop() => continue,
                SIGCONT => Signal::Continued,
                SIGWINCH => Signal::WindowChanged,
                number => Signal::Terminate(number),
            };
            let heard = sender.send(signal).is_ok();
            waker.wake();
            match signal {
                Signal::Terminate(number) if heard => end_later(number),
                Signal::Terminate(number) => end(number),
                Signal::Suspend if !heard => drop(signal_hook::low_level::emulate_default_handler(SIGTSTP)),
                _ => {}
            }
        }
    })?;
    Ok(())
}

/// Ends the process after the grace, unless it ended by itself before.
fn end_later(number: i32) {
    let grace = if number == SIGHUP { HANG_UP_GRACE } else { GRACE };
    let last_resort = move || {
        thread::sleep(grace);
        end(number);
    };
    // A thread of its own: a second signal must not wait behind the first. Without one, end at once.
    if thread::Builder::new().name("last-resort".into()).spawn(last_resort).is_err() {
        sys::exit_now(128 + number);
    }
}

/// Ends the process now.
fn end(number: i32) -> ! {
    // Writing may block for ever (flow control): the restoration gets a moment of its own.
    if let Ok(restoration) = thread::Builder::new().spawn(guard::restore) {
        let until = Instant::now() + Duration::from_millis(200);
        while !restoration.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
    sys::exit_now(128 + number)
}
