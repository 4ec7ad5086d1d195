//! Reusable pieces that know nothing of the program's state.

mod gauge;
mod graph;

pub use gauge::Gauge;
pub use graph::Graph;
