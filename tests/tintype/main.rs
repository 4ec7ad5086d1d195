//! All integration tests, one binary: a module a topic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "these are tests")]

mod architecture;
mod cli;
mod clip;
mod config;
mod doctor;
mod embedded_model;
#[cfg(target_os = "linux")]
mod full_disk;
#[cfg(feature = "cuda")]
mod gpu_ops;
mod grammar;
mod inspect;
mod keys;
mod memory;
mod metadata;
mod models;
mod nn;
mod output;
mod pipelines;
mod profile;
mod pty;
mod repl;
mod replay;
mod reuse;
mod schedulers;
mod session;
mod startup;
#[cfg(feature = "hub")]
mod store;
mod travel;
mod views;
