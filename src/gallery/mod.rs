//! Pictures on disk: saving, naming, metadata of our own and of other tools.
//!
//! Knows files and text chunks; nothing of how a picture came to be beyond its recipe.

pub mod contact_sheet;
pub mod load;
pub mod metadata;
pub mod naming;
pub mod png_file;
pub mod save;

pub use contact_sheet::{Labels, contact_sheet, thumbnail};
pub use load::whole as load;
pub use metadata::{Imported, ReadError, read, texts};
pub use naming::{TemplateError, output_path};
