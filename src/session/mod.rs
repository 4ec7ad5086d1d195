//! A session's state without any user interface: settings, jobs, pictures, history.
//!
//! Knows nothing of terminals, tensors or command lines; the engine only as a stream of events.

pub mod derive;
pub mod settings;
pub mod sweep;
