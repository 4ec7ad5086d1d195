//! The terminal user interface: state, views, and the loop that joins them to the terminal.
//!
//! State ([`app`], [`gallery`]) is plain; views are pure functions of it; only the run loop touches the terminal.

pub mod app;
mod browse;
mod errands;
mod finish;
pub mod format;
pub mod gallery;
pub mod history;
pub mod keymap;
pub mod loader;
pub mod memory;
mod outcome;
pub mod painter;
pub mod progress;
pub mod prompt;
mod run;
#[cfg(test)]
mod samples;
pub mod sheet;
mod start;
pub mod terminal;
pub mod themes;
pub mod views;
pub mod widgets;

pub use start::{Doctor, Services, Setup, Sink, StartError, Tokenizer, start};
