//! All sessions of a person: finding them, reading them, and the lines of the prompt's history.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use jiff::ZonedDateTime;

use super::entry::{Entry, JobState};
use super::file::{self, BadLine, FileError};
use super::ledger::Ledger;
use super::record::What;

/// The files of all sessions, oldest first. A folder that is not there has none.
pub fn sessions(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    // Their names begin with the time.
    files.sort();
    files
}

/// Why there is no session of a name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// None is called so.
    #[error("there is no session or file `{name}`{}", near(nearest))]
    Missing {
        /// What was typed.
        name: String,
        /// The nearest names, newest first.
        nearest: Vec<String>,
    },
    /// Several begin so.
    #[error("several sessions begin with `{name}`: {}", sessions.join(", "))]
    Ambiguous {
        /// What was typed.
        name: String,
        /// They.
        sessions: Vec<String>,
    },
}

fn near(names: &[String]) -> String {
    if names.is_empty() {
        return "; no session was recorded yet".into();
    }
    format!("; the nearest sessions are {}", names.join(", "))
}

/// The file of a session: by its name, by the beginning of it, or `last` for the newest.
///
/// # Errors
/// When there is none, or there are several.
pub fn find(folder: Option<&Path>, name: &str) -> Result<PathBuf, FindError> {
    const NEAREST: usize = 3;
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut files = folder.map(sessions).unwrap_or_default();
    files.reverse();
    let begin = |path: &&PathBuf| stem(path).starts_with(name) && !name.is_empty();
    let exact = files.iter().find(|path| stem(path) == name || (name == "last"));
    let found: Vec<_> = exact.map_or_else(|| files.iter().filter(begin).collect(), |path| vec![path]);
    match found.as_slice() {
        [path] => Ok((*path).clone()),
        [] => {
            files.sort_by_key(|path| strsim::damerau_levenshtein(&stem(path), name));
            Err(FindError::Missing {
                name: name.into(),
                nearest: files.iter().take(NEAREST).map(stem).collect(),
            })
        }
        several => Err(FindError::Ambiguous {
            name: name.into(),
            sessions: several.iter().map(|path| stem(path)).collect(),
        }),
    }
}

/// Reads a session, and tells what of it could not be read.
///
/// # Errors
/// When the file cannot be opened.
pub fn load(path: &Path) -> Result<(Ledger, Vec<BadLine>), FileError> {
    let (records, bad) = file::read(path)?;
    let mut ledger = Ledger::default();
    for record in &records {
        ledger.apply(record);
    }
    if !in_use(path) {
        ledger.abandon();
    }
    Ok((ledger, bad))
}

/// Whether a running tintype writes this file.
fn in_use(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The lines that were typed in all sessions, the last use of each, oldest first, at most `most`.
pub fn lines(folder: &Path, most: usize) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut lines = Vec::new();
    for path in sessions(folder).iter().rev() {
        let Ok((records, _)) = file::read(path) else { continue };
        for record in records.into_iter().rev() {
            if let What::Line { text } = record.what
                && seen.insert(text.clone())
            {
                lines.push(text);
            }
        }
        if lines.len() >= most {
            break;
        }
    }
    lines.truncate(most);
    lines.reverse();
    lines
}

/// A picture in one line: `#12 14:03 a red fox · seed 42 · 20 × ddim · cfg 7 · 512×512 · ★★★ · the good one`.
pub fn describe(entry: &Entry, now: &ZonedDateTime) -> String {
    let at = entry.at.to_zoned_datetime(now.time_zone().clone());
    let format = if at.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    let mut parts = vec![format!("{} {} {}", entry.id, at.strftime(format), entry.request.prompt)];
    parts.extend(entry.seed().map(|seed| format!("seed {seed}")));
    if let Some(params) = &entry.params {
        parts.push(format!("{} × {}", params.steps, params.scheduler));
        parts.push(format!("cfg {}", params.guidance_scale));
        parts.push(params.size.to_string());
    }
    if entry.state != JobState::Finished {
        parts.push(entry.state.word().to_owned());
    }
    parts.extend(entry.name.as_ref().map(|name| format!("@{name}")));
    parts.extend(entry.rating.map(|stars| "★".repeat(stars.into())));
    parts.extend(entry.note.clone());
    if entry.deleted {
        parts.push("file deleted".into());
    }
    parts.join(" · ")
}
