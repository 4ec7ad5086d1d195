//! The pipeline: tensors in, tensors out.
//!
//! No threads, channels, terminal or network in here: the engine brings a [`Checkpoint`](crate::checkpoint::Checkpoint)
//! and callbacks, and gets pictures.

pub mod branch;
pub mod component;
pub mod denoise;
pub mod device;
pub mod error;
pub mod families;
pub mod guidance;
pub mod memory_plan;
pub mod models;
pub mod moment;
pub mod nn;
pub mod pipeline;
pub mod preview;
pub mod prompt;
pub mod rng;
pub mod schedulers;
pub mod self_test;
pub mod tokenizer;
pub mod watchdog;
pub mod weights;

pub use error::{DiffusionError, Result};
