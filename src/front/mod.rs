//! The ways in: one file each.

pub mod doctor;
pub mod engine;
pub mod generate;
pub mod inspect;
mod lines;
pub mod models;
pub mod pipe;
pub mod plain;
pub mod repl;
mod setup;
