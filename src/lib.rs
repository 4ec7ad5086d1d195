//! tintype: an instant-picture REPL for diffusion models.
//!
//! The modules in reading order; `ARCHITECTURE.md` says who may import whom.

pub mod checkpoint;
pub mod logging;
pub mod paths;
pub mod request;

pub mod diffusion;
pub mod telemetry;

pub mod gallery;
pub mod store;

pub mod engine;

pub mod config;
pub mod session;
pub mod theme;

pub mod command;
pub mod term;
pub mod ui;

pub mod cli;
pub mod front;
