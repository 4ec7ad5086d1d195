//! The ways in: one file each.

pub mod doctor;
pub mod engine;
pub mod generate;
pub mod inspect;
pub mod models;
pub mod repl;
