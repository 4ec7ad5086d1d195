//! The views: pure functions from state to cells. One file a view.

pub mod compare;
pub mod full;
pub mod gallery;
pub mod help;
pub mod history;
pub mod panel;
pub mod result;
pub mod sheet;
pub mod themes;

mod memory;
mod rows;
