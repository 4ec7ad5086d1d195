//! From a typed line to a prompt with switches or a slash command.
