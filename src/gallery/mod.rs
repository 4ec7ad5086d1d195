//! Pictures on disk: saving, naming, metadata of our own and of other tools.
