//! The terminal user interface: state, views, and the loop that joins them to the terminal.
//!
//! State ([`app`], [`gallery`]) is plain; views are pure functions of it; only the run loop touches the terminal.

pub mod app;
pub mod format;
pub mod gallery;
pub mod keymap;
pub mod loader;
pub mod memory;
pub mod painter;
pub mod progress;
pub mod prompt;
mod run;
mod start;
mod submit;
pub mod terminal;
pub mod views;
pub mod widgets;

pub use start::{Setup, Sink, StartError, start};
