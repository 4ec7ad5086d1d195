//! The ways in: one file each.

pub mod doctor;
pub mod engine;
pub mod export;
pub mod generate;
pub mod inspect;
mod lines;
pub mod models;
pub mod pipe;
pub mod plain;
pub mod repl;
pub mod replay;
mod setup;
