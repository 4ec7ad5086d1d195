//! The log: a file, never the terminal.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

/// Sends everything that is traced to the end of `path`. `filter` is in tracing's syntax; the default is `tintype=info`.
///
/// # Errors
/// When the file cannot be opened. A program without a log runs on.
pub fn start(path: &Path, filter: Option<&str>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file: File = OpenOptions::new().create(true).append(true).open(path)?;
    let filter =
        EnvFilter::try_new(filter.unwrap_or("tintype=info")).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .with_env_filter(filter)
        .finish();
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)
}
