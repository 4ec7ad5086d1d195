//! Where a picture goes, and putting it there.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::gallery::{metadata, naming, png_file, save};
use crate::request::{GenerateRequest, Picture, Recipe};

/// Where pictures go that were given no file.
#[derive(Clone, Debug)]
pub struct OutputOptions {
    /// The folder.
    pub folder: PathBuf,
    /// Their names within it: see [`naming::output_path`].
    pub template: String,
    /// What the template's `{session}` stands for.
    pub session: String,
}

impl OutputOptions {
    /// Names by the default template.
    pub fn new(folder: impl Into<PathBuf>, session: impl Into<String>) -> Self {
        let template = naming::DEFAULT_TEMPLATE.to_owned();
        Self { folder: folder.into(), template, session: session.into() }
    }
}

/// Finds out whether a request's pictures could be written.
pub(super) fn check(options: &OutputOptions, request: &GenerateRequest) -> Result<(), String> {
    if request.is_for_stdout() {
        return Ok(());
    }
    let probe = match request.output.as_deref() {
        Some(path) if !is_folder(path) => path.to_owned(),
        folder => {
            naming::check_template(&options.template).map_err(|error| error.to_string())?;
            let folder = folder.unwrap_or(&options.folder);
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
            folder.join("tintype.png")
        }
    };
    save::check_writable(&probe)
        .map_err(|error| format!("{error}; name a file in a folder that you can write: -o FILE"))
}

/// A file that was written.
pub(super) struct Written {
    /// Where.
    pub path: PathBuf,
    /// Of its bytes.
    pub sha256: String,
}

/// Writes picture `index` of a request and says where; `None` if it goes to standard output.
pub(super) fn save(
    options: &OutputOptions,
    request: &GenerateRequest,
    index: usize,
    recipe: &Recipe,
    picture: &Picture,
) -> Result<Option<Written>, String> {
    if request.is_for_stdout() {
        return Ok(None);
    }
    let sha256 = std::cell::RefCell::new(String::new());
    let encode = |path: &Path| {
        // The file tells its own story, so it knows its name.
        let recipe = Recipe { path: Some(path.to_owned()), ..recipe.clone() };
        let bytes = png_file::encode(picture, &metadata::texts(&recipe)).map_err(std::io::Error::other)?;
        *sha256.borrow_mut() = hex(&Sha256::digest(&bytes));
        Ok(bytes)
    };
    let path = match request.output.as_deref() {
        Some(path) if !is_folder(path) => {
            let path = numbered(path, index);
            let bytes = encode(&path).map_err(|error: std::io::Error| error.to_string())?;
            save::replace(&path, &bytes).map(|()| path)
        }
        folder => {
            let now = jiff::ZonedDateTime::now().datetime();
            let name = naming::output_path(&options.template, recipe, &options.session, now)
                .map_err(|error| error.to_string())?;
            save::write_within(folder.unwrap_or(&options.folder), &name, encode)
        }
    };
    let path = path.map_err(|error| error.to_string())?;
    Ok(Some(Written { path, sha256: sha256.into_inner() }))
}

/// Bytes as lower-case digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/')
}

fn numbered(path: &Path, index: usize) -> PathBuf {
    if index == 0 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{}{extension}", index + 1))
}
