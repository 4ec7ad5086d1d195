//! What a picture's file says about how it was made: written as A1111 does and as our own recipe, read from
//! everybody's files.
//!
//! A file is first reduced to [`Texts`] (`container`), whatever its format, with every length bounded; then the
//! [`READERS`] are tried in order. A tool is one file and one line of that table. Nothing here knows which schedulers
//! or models exist: names are resolved by the caller.

pub mod a1111;
mod comfyui;
mod container;
mod draft;
mod draw_things;
mod invokeai;
mod mflux;
mod models;
mod mold;
mod stable_diffusion_cpp;
mod swarmui;
pub mod tintype;

use std::borrow::Cow;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use container::Texts;
use draft::Draft;

use super::png_file::TextEntry;
use crate::request::{GenerateRequest, Recipe};

/// What another tool's, or our own, metadata says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Imported {
    /// What it comes to as a request. The picture that an image-to-image job started from is only in our own.
    pub request: GenerateRequest,
    /// The tool that wrote it.
    pub source: &'static str,
    /// What has no counterpart here, by the tool's own names.
    pub unmapped: Vec<(String, String)>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: ReadProblem,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadProblem {
    /// The system cannot read it.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Neither a picture nor a text.
    #[error("is no PNG, JPEG or WebP picture and no text with settings")]
    NotAPicture,
    /// The file contradicts itself.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
    /// Nothing that a reader knows.
    #[error(
        "has no settings of a known tool in it; many sites and messengers strip them, so try the original file"
    )]
    Nothing,
    /// A reader's own text, but broken.
    #[error("has settings of {tool} in it, but they are broken: {reason}")]
    Broken {
        /// Who wrote them.
        tool: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// Tells the canonical name of a scheduler by any name that people and tools use: `diffusion::schedulers`' resolver.
pub type ResolveScheduler<'a> = &'a dyn Fn(&str) -> Option<String>;

/// One tool's metadata.
struct Reader {
    source: &'static str,
    read: fn(&Texts) -> Result<Option<Draft>, ReadProblem>,
}

/// The readers in the order that they are tried: those that say most first, A1111's text last but for ComfyUI's graph,
/// whose savers often add one that is better than what a graph can tell.
const READERS: &[Reader] = &[
    Reader { source: "tintype", read: tintype::read },
    Reader { source: "InvokeAI", read: invokeai::read },
    Reader { source: "stable-diffusion.cpp", read: stable_diffusion_cpp::read },
    Reader { source: "mold", read: mold::read },
    Reader { source: "SwarmUI", read: swarmui::read },
    Reader { source: "Draw Things", read: draw_things::read },
    Reader { source: "mflux", read: mflux::read },
    Reader { source: "A1111", read: |texts| Ok(a1111::read(texts)) },
    Reader { source: "ComfyUI", read: comfyui::read },
];

/// The tools whose metadata is understood.
pub fn sources() -> impl Iterator<Item = &'static str> {
    READERS.iter().map(|reader| reader.source)
}

/// The texts that a picture of `recipe` carries: A1111's `parameters` and our own recipe.
pub fn texts(recipe: &Recipe) -> Vec<TextEntry<'static>> {
    vec![
        (a1111::KEYWORD, Cow::Owned(a1111::write(recipe))),
        (tintype::KEYWORD, Cow::Owned(tintype::write(recipe))),
    ]
}

/// Reads the settings of a picture (PNG, JPEG, WebP), of a `.json` file that mflux wrote beside one, or of a text file
/// as A1111 writes. A picture without any is looked up in mflux's `NAME.metadata.json`.
///
/// # Errors
/// When the file cannot be read, is damaged, or has no settings in it.
pub fn read(path: &Path, resolve: ResolveScheduler<'_>) -> Result<Imported, ReadError> {
    let failed = |problem| ReadError { path: path.to_owned(), problem };
    let texts = texts_of(path).map_err(failed)?;
    match import(&texts, resolve) {
        Err(ReadProblem::Nothing) => match texts_of(&path.with_extension("metadata.json")) {
            Ok(sidecar) => import(&sidecar, resolve).map_err(failed),
            Err(_) => Err(failed(ReadProblem::Nothing)),
        },
        imported => imported.map_err(failed),
    }
}

/// As [`read`], of a file's bytes.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(bytes: &[u8], resolve: ResolveScheduler<'_>) -> Result<Imported, ReadProblem> {
    import(&container::read(Cursor::new(bytes))?, resolve)
}

/// The full recipe of a picture that tintype made, to replay it.
///
/// # Errors
/// As [`read`]; [`ReadProblem::Nothing`] when another tool made it.
pub fn read_recipe(path: &Path) -> Result<Recipe, ReadError> {
    let recipe = || tintype::recipe(&texts_of(path)?).unwrap_or(Err(ReadProblem::Nothing));
    recipe().map_err(|problem| ReadError { path: path.to_owned(), problem })
}

fn texts_of(path: &Path) -> Result<Texts, ReadProblem> {
    let file = std::fs::File::open(path)?;
    // A pipe or a device would be read for ever.
    if !file.metadata()?.is_file() {
        return Err(ReadProblem::NotAPicture);
    }
    container::read(std::io::BufReader::new(file))
}

fn import(texts: &Texts, resolve: ResolveScheduler<'_>) -> Result<Imported, ReadProblem> {
    let mut broken = None;
    for reader in READERS {
        match (reader.read)(texts) {
            Ok(Some(draft)) => return Ok(finish(draft, reader.source, texts, resolve)),
            Ok(None) => {}
            Err(problem) => broken = broken.or(Some(problem)),
        }
    }
    Err(broken.unwrap_or(ReadProblem::Nothing))
}

fn finish(mut draft: Draft, source: &'static str, texts: &Texts, resolve: ResolveScheduler<'_>) -> Imported {
    if let Some(name) = draft.request.scheduler.take() {
        draft.request.scheduler = resolve(&name);
        if draft.request.scheduler.is_none() {
            draft.leave("sampler", &name);
        }
    }
    for keyword in texts.too_long() {
        draft.leave(keyword, "too long to be read");
    }
    Imported { request: draft.request, source, unmapped: draft.left }
}
