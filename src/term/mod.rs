//! The terminal: who owns its modes, what it can do, what is typed, what is drawn.
//!
//! In reading order: [`Guard`] takes the terminal and gives it back whatever happens; [`Events`] is everything
//! that happens; [`probe`] asks the terminal what it can do; [`LiveRegion`] and [`FullScreen`] are the two places
//! to draw with ratatui; [`PromptPty`] is the line editor; [`graphics`] shows pictures.
//!
//! One thread, the run loop's, reads and writes the terminal. The start is always in this order:
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tintype::term::{self, Canvas, Capabilities, Environment, Events, Guard, LiveRegion, PromptPty};
//!
//! let environment = Environment::from_lookup(|name| std::env::var_os(name));
//! let guard = Guard::enter()?;
//! let mut events = Events::from_stdin()?;
//! let mut output = term::output()?;
//! let answers = term::probe::query(&mut events, &mut output, &environment, term::probe::TIMEOUT)?;
//! let capabilities = Capabilities::new(&answers, &environment, term::window(), Default::default(), None);
//! // before any other thread opens a terminal
//! let mut prompt = PromptPty::start(&Default::default(), (), events.size(), events.waker())?;
//! events.catch_signals()?;
//! let mut region = LiveRegion::new(output, events.size().width, capabilities.frame_options())?;
//! let mut canvas = Canvas::new(&capabilities);
//! prompt.ask("> ", "");
//! while let Some(event) = events.next(Some(prompt.fd()), None)? {
//!     // …
//!     prompt.pump();
//!     region.draw(prompt.rows(), &mut canvas, |frame, _pictures| {
//!         let area = frame.area();
//!         if let Some(cursor) = prompt.render(area, frame.buffer_mut()) {
//!             frame.set_cursor_position(cursor);
//!         }
//!     })?;
//! # break;
//! }
//! region.close()?;
//! drop(guard);
//! # Ok(())
//! # }
//! ```

#[cfg(not(unix))]
compile_error!("tintype needs a Unix terminal");

mod backend;
mod color;
mod full_screen;
pub mod graphics;
mod guard;
pub mod input;
mod live_region;
pub mod probe;
mod prompt_pty;
mod signals;
mod sys;

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use ratatui::layout::Size;

pub use backend::{FrameOptions, Traffic};
pub use color::{limit as limit_color, sgr};
pub use full_screen::FullScreen;
pub use graphics::{Canvas, Pictures, Protocol};
pub use guard::{Guard, ThreadPanic, restore, take_thread_panic};
pub use input::{Event, Events, Waker};
pub use live_region::LiveRegion;
pub use probe::{Capabilities, ColorChoice, ColorDepth, Environment, Window};
pub use prompt_pty::{EditMode, PromptError, PromptEvent, PromptOptions, PromptPty};
pub use signals::Signal;

/// The terminal for writing: unbuffered, so that a frame is one `write`.
///
/// # Errors
/// When standard output is closed.
pub fn output() -> io::Result<File> {
    sys::duplicate(io::stdout().as_fd())
}

/// The window's size as the kernel knows it; zeros where standard output is no terminal.
pub fn window() -> Window {
    let size = sys::window_size(io::stdout().as_fd()).unwrap_or_default();
    Window { cells: Size::new(size.cols, size.rows), pixels: Size::new(size.width_px, size.height_px) }
}

/// What kind of front end the surroundings allow for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surroundings {
    /// A terminal that can do everything: live region, full screen.
    Interactive,
    /// A terminal that can only do lines, and why.
    Plain(&'static str),
    /// Standard input is no terminal: one prompt a line.
    Pipe,
}

/// Looks at the standard descriptors and the environment.
pub fn surroundings(environment: &Environment) -> Surroundings {
    if !io::stdin().is_terminal() {
        return Surroundings::Pipe;
    }
    let size = window().cells;
    if !io::stdout().is_terminal() {
        Surroundings::Plain("standard output is no terminal")
    } else if environment.is_dumb() {
        Surroundings::Plain("TERM says that the terminal cannot move the cursor")
    } else if File::open("/dev/tty").is_err() {
        Surroundings::Plain("there is no controlling terminal")
    } else if (size.width, size.height) != (0, 0) && (size.width < 2 || size.height < 2) {
        Surroundings::Plain("the window is too small")
    } else {
        Surroundings::Interactive
    }
}
