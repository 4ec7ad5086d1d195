//! Pictures on disk: saving, naming, metadata of our own and of other tools.
//!
//! Knows files and text chunks; nothing of how a picture came to be beyond its recipe.

pub mod load;
pub mod metadata;
pub mod png_file;
pub mod save;

pub use metadata::{Imported, ReadError, read, texts};
