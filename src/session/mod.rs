//! A session's state without any user interface.
