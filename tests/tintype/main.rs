//! All integration tests, one binary: a module a topic.
mod models;
