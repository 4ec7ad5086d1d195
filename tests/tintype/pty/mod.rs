//! End to end without a display: programs on a pty whose other side is a terminal that we play ourselves.
//!
//! [`fake_terminal::FakeTerminal`] is the terminal: it keeps a screen (vt100), remembers every byte, answers what its profile
//! answers, and decodes the pictures that it was sent. `child` is a small program made of `tintype::term` alone,
//! run by starting this test binary again.

mod child;
pub mod fake_terminal;
pub mod pictures;
mod program;
mod protocols;
