//! A checkpoint's files, found and chosen: plain data between `store`, which finds them, and `diffusion`, which reads them.
//!
//! Imports nothing of the crate. Variants, shards and caches are settled before this is made.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A file on disk, or bytes compiled into the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    /// A file.
    File(PathBuf),
    /// Bytes of the program itself (the embedded model).
    Static(&'static [u8]),
}

impl Blob {
    /// The whole content.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> std::io::Result<Cow<'static, [u8]>> {
        match self {
            Self::File(path) => std::fs::read(path).map(Cow::Owned),
            Self::Static(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// Size in bytes.
    ///
    /// # Errors
    /// When the file cannot be looked at.
    pub fn size(&self) -> std::io::Result<u64> {
        match self {
            Self::File(path) => Ok(std::fs::metadata(path)?.len()),
            Self::Static(bytes) => Ok(bytes.len() as u64),
        }
    }
}

/// A model in diffusers layout with one choice made for every component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Repo id, folder, or `embedded`: what messages call it.
    pub name: String,
    /// Commit, when it came from the Hub or its cache.
    pub revision: Option<String>,
    /// The variant of the weights that were chosen, such as `fp16`; `None` is the plain files.
    pub variant: Option<String>,
    /// Everything that is not weights, by path relative to the model's folder: `model_index.json`,
    /// `unet/config.json`, `tokenizer/vocab.json`.
    pub files: BTreeMap<String, Blob>,
    /// The safetensors files of each component, by the component's folder: `unet`, `vae`, `text_encoder`, …
    /// One file, or all shards.
    pub weights: BTreeMap<String, Vec<Blob>>,
}

impl Checkpoint {
    /// The content of one of `files`.
    ///
    /// # Errors
    /// When the checkpoint has no such file or it cannot be read.
    pub fn read(&self, path: &str) -> std::io::Result<Cow<'static, [u8]>> {
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "the checkpoint does not hold it");
        self.files.get(path).ok_or_else(missing)?.read()
    }
}
