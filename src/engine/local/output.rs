//! Where a picture goes, and putting it there.

use std::path::{Path, PathBuf};

use super::EngineOptions;
use crate::gallery::{metadata, png_file, save};
use crate::request::{GenerateRequest, Picture, Recipe};

/// The name that stands for standard output, which is the front end's to write.
const STANDARD_OUTPUT: &str = "-";

/// Finds out whether a request's pictures could be written.
pub(super) fn check(options: &EngineOptions, request: &GenerateRequest) -> Result<(), String> {
    let probe = match request.output.as_deref() {
        Some(path) if path == Path::new(STANDARD_OUTPUT) => return Ok(()),
        Some(path) if is_folder(path) => path.join("tintype.png"),
        Some(path) => path.to_owned(),
        None => {
            let folder = &options.output_dir;
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
            folder.join("tintype.png")
        }
    };
    save::check_writable(&probe)
        .map_err(|error| format!("{error}; name a file in a folder that you can write: -o FILE"))
}

/// Writes picture `index` of a request and returns where.
pub(super) fn save(
    options: &EngineOptions,
    request: &GenerateRequest,
    index: usize,
    recipe: &Recipe,
    picture: &Picture,
) -> std::io::Result<Option<PathBuf>> {
    let target = match request.output.as_deref() {
        Some(path) if path == Path::new(STANDARD_OUTPUT) => return Ok(None),
        Some(path) if !is_folder(path) => Some(numbered(path, index)),
        _ => None,
    };
    let folder = request.output.as_deref().filter(|path| is_folder(path)).unwrap_or(&options.output_dir);
    // The file tells its own story, so it knows its name.
    let mut recipe = recipe.clone();
    recipe.path = Some(target.clone().unwrap_or_else(|| folder.join(file_name(&recipe))));
    let bytes = png_file::encode(picture, &metadata::texts(&recipe)).map_err(std::io::Error::other)?;
    match target {
        Some(path) => save::replace(&path, &bytes).map(|()| Some(path)),
        None => save::write_new(&folder.join(file_name(&recipe)), &bytes).map(Some),
    }
    .map_err(std::io::Error::other)
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

fn file_name(recipe: &Recipe) -> String {
    let mut slug: String = recipe
        .params
        .prompt
        .chars()
        .map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(48)
        .collect();
    while slug.contains("--") {
        slug = slug.replace("--", "-");
    }
    format!("{}-{}.png", slug.trim_matches('-'), recipe.params.seed)
}
