//! A model in a folder on disk: one that a person named, or a snapshot of the Python cache.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::select::Source;
use crate::checkpoint::Blob;

/// A folder in diffusers layout as a place to take files from.
pub(super) struct Folder {
    root: PathBuf,
    name: String,
    listing: BTreeSet<String>,
}

impl Folder {
    /// Lists the model's own files and those of its components, one level down; deeper ones are never a pipeline's.
    ///
    /// A link whose target is gone (a blob that was deleted from the Python cache) is not listed.
    pub(super) fn open(root: &Path, name: &str) -> Result<Self, StoreError> {
        let mut listing = BTreeSet::new();
        for (file, is_folder) in entries(root)? {
            if !is_folder {
                listing.insert(file);
                continue;
            }
            for (inner, is_folder) in entries(&root.join(&file))? {
                if !is_folder {
                    listing.insert(format!("{file}/{inner}"));
                }
            }
        }
        Ok(Self { root: root.to_owned(), name: name.to_owned(), listing })
    }

    fn path(&self, path: &str) -> Result<PathBuf, StoreError> {
        if self.listing.contains(path) {
            return Ok(self.root.join(path));
        }
        Err(StoreError::MissingFile { model: self.name.clone(), file: path.into() })
    }
}

impl Source for Folder {
    fn listing(&self) -> &BTreeSet<String> {
        &self.listing
    }

    fn read(&mut self, path: &str) -> Result<Cow<'static, [u8]>, StoreError> {
        let path = self.path(path)?;
        std::fs::read(&path).map(Cow::Owned).map_err(|source| StoreError::io(&path, source))
    }

    fn fetch(&mut self, paths: &[String]) -> Result<Vec<Blob>, StoreError> {
        paths.iter().map(|path| self.path(path).map(Blob::File)).collect()
    }
}

/// Names in a folder with whether each is a folder itself, links followed; names that are not UTF-8 and links that
/// lead nowhere are left out.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, bool)>, StoreError> {
    let read = std::fs::read_dir(folder).map_err(|source| StoreError::io(folder, source))?;
    Ok(read
        .flatten()
        .filter_map(|entry| {
            let is_folder = std::fs::metadata(entry.path()).ok()?.is_dir();
            Some((entry.file_name().into_string().ok()?, is_folder))
        })
        .collect())
}
