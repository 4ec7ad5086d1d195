//! From a model's name to its files: local folders, the Python cache, the Hub, the embedded model.
//!
//! Owns which files are taken and where they come from; what is in them it does not know. [`resolve`] tries a short
//! list of named rules in order, and logs what each said (target `tintype::store`), so that "why that file?" has an
//! answer in the log.

mod cache;
#[cfg(feature = "hub")]
mod download;
mod embedded;
mod error;
mod folder;
pub mod hashes;
mod select;
mod suggest;
#[cfg(feature = "hub")]
mod transfer;

use std::ops::ControlFlow;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::paths::{self, HubAccess};

pub use cache::{CachedModel, list_cached_in};
pub use embedded::NAME as EMBEDDED;
pub use error::StoreError;

use cache::{CachedRepo, DEFAULT_REVISION};
#[cfg(feature = "hub")]
use download::Wanted;
use select::Choice;

/// How a model is to be looked up.
#[derive(Clone, Debug)]
pub struct ResolveOptions {
    /// Branch, tag or commit of a Hub repository; `main` without one. Folders and the embedded model have none.
    pub revision: Option<String>,
    /// Weight files to take, such as `fp16`; it is an error if no component has them.
    pub variant: Option<String>,
    /// Without a `variant`: where plain and `fp16` files both exist, take `fp16` (half the bytes for a run in half
    /// precision). Without this, plain files are preferred. Either way the other is taken where only it exists.
    pub prefer_half: bool,
    /// Never use the network.
    pub offline: bool,
    /// Cache, endpoint and token.
    pub hub: HubAccess,
}

impl Default for ResolveOptions {
    /// No wishes, and the Hub as the environment has it.
    fn default() -> Self {
        let hub = HubAccess::from_env();
        Self { revision: None, variant: None, prefer_half: false, offline: false, hub }
    }
}

/// What goes on while a model is fetched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<'a> {
    /// The Hub is being asked which files there are.
    Asking {
        /// Its base URL.
        endpoint: &'a str,
    },
    /// Bytes arrive. Sent several times a second, also while none arrive.
    Downloading {
        /// The file in hand, relative to the model's folder.
        file: &'a str,
        /// Bytes that are there, over all files that had to be fetched.
        done: u64,
        /// Bytes to be had in all.
        total: u64,
        /// Over the last few seconds.
        bytes_per_second: f64,
    },
}

/// Told about [`Progress`]; `Break` cancels, which ends in [`StoreError::Cancelled`].
pub type OnProgress<'a> = dyn FnMut(Progress<'_>) -> ControlFlow<()> + 'a;

/// Finds a model's files. `spec` is a folder in diffusers layout, a Hub repository as `owner/name`, or nothing (or
/// [`EMBEDDED`]) for the embedded model.
///
/// A model that is whole in the Python cache is taken from there without a look at the network.
///
/// # Errors
/// When there is no such model, it is no pipeline, lacks files or the asked variant, has only pickles, or cannot be
/// downloaded.
pub fn resolve(
    spec: Option<&str>,
    options: &ResolveOptions,
    progress: &mut OnProgress<'_>,
) -> Result<Checkpoint, StoreError> {
    let spec = spec.map(str::trim).filter(|spec| !spec.is_empty());
    let mut request = Request { spec, options, why: String::new() };
    for rule in RULES {
        match (rule.try_it)(&request, progress) {
            Ok(Outcome::Found(checkpoint)) => {
                tracing::info!(?spec, rule = rule.name, "found");
                return Ok(checkpoint);
            }
            Ok(Outcome::Pass(why)) => {
                tracing::info!(?spec, rule = rule.name, why, "passed over");
                request.why = why;
            }
            Err(error) => {
                tracing::warn!(?spec, rule = rule.name, %error, "failed");
                return Err(error);
            }
        }
    }
    Err(not_found(&request))
}

/// The pipelines in the person's Python cache, by name.
pub fn list_cached() -> Vec<CachedModel> {
    list_cached_in(&HubAccess::from_env().cache)
}

/// What a rule has to go by.
struct Request<'a> {
    spec: Option<&'a str>,
    options: &'a ResolveOptions,
    /// Why the rule before did not find the model.
    why: String,
}

impl Request<'_> {
    fn choice(&self) -> Choice<'_> {
        Choice { variant: self.options.variant.as_deref(), prefer_half: self.options.prefer_half }
    }

    fn is_offline(&self) -> bool {
        self.options.offline || self.options.hub.offline
    }

    fn cached_repo(&self) -> Result<CachedRepo, StoreError> {
        let name = self.spec.unwrap_or_default();
        CachedRepo::new(&self.options.hub.cache, name)
            .ok_or_else(|| StoreError::BadName { name: name.into() })
    }
}

/// What a rule said.
enum Outcome {
    /// Here it is.
    Found(Checkpoint),
    /// Not by this rule, because …
    Pass(String),
}

struct Rule {
    name: &'static str,
    try_it: fn(&Request<'_>, &mut OnProgress<'_>) -> Result<Outcome, StoreError>,
}

/// The first rule that finds the model, or fails for good, ends the search.
const RULES: [Rule; 4] = [
    Rule { name: "embedded model", try_it: try_embedded },
    Rule { name: "local folder", try_it: try_folder },
    Rule { name: "Python cache", try_it: try_cache },
    Rule { name: "download", try_it: try_download },
];

fn try_embedded(request: &Request<'_>, _: &mut OnProgress<'_>) -> Result<Outcome, StoreError> {
    if request.spec.is_some_and(|spec| spec != EMBEDDED) {
        return Ok(Outcome::Pass("another model is named".into()));
    }
    // It has one set of weights, which a variant wished for elsewhere must not take away.
    select::assemble(&mut embedded::Embedded::new(), EMBEDDED, Choice::default()).map(Outcome::Found)
}

fn try_folder(request: &Request<'_>, _: &mut OnProgress<'_>) -> Result<Outcome, StoreError> {
    let Some(spec) = request.spec else {
        return Ok(Outcome::Pass("no model is named".into()));
    };
    let path = paths::expand_tilde(spec);
    if path.is_dir() {
        let path = std::path::absolute(&path).map_err(|source| StoreError::io(&path, source))?;
        let name = path.display().to_string();
        let mut folder = folder::Folder::open(&path, &name)?;
        return select::assemble(&mut folder, &name, request.choice()).map(Outcome::Found);
    }
    if path.is_file() {
        return Err(StoreError::SingleFile { path });
    }
    if is_meant_as_path(spec, &path) {
        return Err(StoreError::NoFolder { path });
    }
    Ok(Outcome::Pass("there is no such folder".into()))
}

fn try_cache(request: &Request<'_>, _: &mut OnProgress<'_>) -> Result<Outcome, StoreError> {
    let repo = request.cached_repo()?;
    let revision = request.options.revision.as_deref();
    let Some(commit) = repo.commit(revision.unwrap_or(DEFAULT_REVISION)) else {
        return Ok(Outcome::Pass(match revision {
            Some(revision) => format!("its revision {revision} is not there"),
            None => "it is not there".into(),
        }));
    };
    match repo.checkpoint(&commit, request.choice()) {
        Ok(checkpoint) => Ok(Outcome::Found(checkpoint)),
        // The sentence about pickles helps more than one about the network.
        Err(error @ StoreError::Pickle { .. }) if request.is_offline() => Err(error),
        // The Hub may have what the cache lacks.
        Err(error) => match error.shortcoming() {
            Some(shortcoming) => Ok(Outcome::Pass(shortcoming)),
            None => Err(error),
        },
    }
}

#[cfg(feature = "hub")]
fn try_download(request: &Request<'_>, progress: &mut OnProgress<'_>) -> Result<Outcome, StoreError> {
    if request.is_offline() {
        return Ok(Outcome::Pass(request.why.clone()));
    }
    let repo = request.cached_repo()?;
    let wanted =
        Wanted { repo: &repo, options: request.options, choice: request.choice(), why: &request.why };
    download::download(&wanted, progress).map(Outcome::Found)
}

#[cfg(not(feature = "hub"))]
fn try_download(request: &Request<'_>, _: &mut OnProgress<'_>) -> Result<Outcome, StoreError> {
    Ok(Outcome::Pass(request.why.clone()))
}

/// What to say when every rule has passed.
fn not_found(request: &Request<'_>) -> StoreError {
    let model = request.spec.unwrap_or_default().to_owned();
    let cache = request.options.hub.cache.clone();
    let why = request.why.clone() + &error::did_you_mean(suggest::model(&model, &cache).as_deref());
    if cfg!(feature = "hub") || request.is_offline() {
        StoreError::Offline { model, cache, why }
    } else {
        StoreError::NoHub { model, cache, why }
    }
}

/// Whether something that does not exist was meant as a path rather than as `owner/name`.
fn is_meant_as_path(spec: &str, path: &Path) -> bool {
    spec.starts_with(['.', '~', '/']) || path.components().count() > 2 || spec.ends_with('/')
}

#[cfg(test)]
mod tests;
