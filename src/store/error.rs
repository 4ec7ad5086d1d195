//! Everything that can stand between a model's name and its files.

use std::path::{Path, PathBuf};

/// Why a model cannot be had, and what to type instead.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A path was named and nothing is there.
    #[error("there is no folder {}: name a folder in diffusers layout, or a Hub model as owner/name", .path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A file was named where a folder is needed.
    #[error(
        "{} is a single file: convert it with diffusers, \
         StableDiffusionPipeline.from_single_file(file).save_pretrained(folder), and name the folder", .path.display()
    )]
    SingleFile {
        /// The file.
        path: PathBuf,
    },
    /// Neither a folder nor a name that the Hub allows.
    #[error("{name:?} is neither a folder nor a Hub model: models are named owner/name, such as {EXAMPLE}")]
    BadName {
        /// What was typed.
        name: String,
    },
    /// The folder or repository is no pipeline.
    #[error(
        "{model} has no model_index.json, so it is not a diffusers pipeline: name the folder or repository of a whole pipeline, such as {EXAMPLE}"
    )]
    NoModelIndex {
        /// The model.
        model: String,
    },
    /// `model_index.json` names nothing.
    #[error("model_index.json of {model} names no component: download the model again")]
    NoComponents {
        /// The model.
        model: String,
    },
    /// `model_index.json` names a component that cannot be a folder.
    #[error(
        "model_index.json of {model} names a component {component:?}, which cannot be a folder: use another copy of the model"
    )]
    BadComponent {
        /// The model.
        model: String,
        /// Its name.
        component: String,
    },
    /// A JSON file cannot be read.
    #[error("{file} of {model} is not valid ({source}): download the model again")]
    BadJson {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file that the pipeline needs is not there.
    #[error("{model} lacks {file}: download the model again")]
    MissingFile {
        /// The model.
        model: String,
        /// The file.
        file: String,
    },
    /// A component has no weights at all.
    #[error("{model} has no safetensors weights in {component}/: download the model again")]
    NoWeights {
        /// The model.
        model: String,
        /// The component's folder.
        component: String,
    },
    /// No component has the variant that was asked for.
    #[error("{model} has no variant {asked}: {}", available(.variants))]
    NoSuchVariant {
        /// The model.
        model: String,
        /// The variant.
        asked: String,
        /// Those that exist beside the plain files.
        variants: Vec<String>,
    },
    /// A component has no plain files and none of a usual variant.
    #[error("{component}/ of {model} has no plain weights: type --variant {}", .variants.join(" or --variant "))]
    OnlyVariants {
        /// The model.
        model: String,
        /// The component's folder.
        component: String,
        /// The variants that exist.
        variants: Vec<String>,
    },
    /// The weights are Python pickles.
    #[error(
        "{file} of {model} is a pickle, which can run any code when it is opened: convert it with diffusers, \
         pipe.save_pretrained(dir, safe_serialization=True, variant=\"fp16\"), and name that folder"
    )]
    Pickle {
        /// The model.
        model: String,
        /// The file.
        file: String,
    },
    /// Not in the cache, and the network is not to be used.
    #[error(
        "{model} is not in {} ({why}) and tintype is offline: \
         go online (without --offline and HF_HUB_OFFLINE) or name a local folder", .cache.display()
    )]
    Offline {
        /// The model.
        model: String,
        /// Where it was looked for.
        cache: PathBuf,
        /// What is missing there.
        why: String,
    },
    /// Not in the cache, and this build cannot download.
    #[error(
        "{model} is not in {} ({why}) and this build cannot download: \
         type `hf download {model}`, or build tintype with its feature hub", .cache.display()
    )]
    NoHub {
        /// The model.
        model: String,
        /// Where it was looked for.
        cache: PathBuf,
        /// What is missing there.
        why: String,
    },
    /// No answer from the Hub.
    #[error(
        "{model} is not in {} ({why}) and {endpoint} cannot be reached ({cause}): \
         check the network, set HF_ENDPOINT to a mirror, or name a local folder", .cache.display()
    )]
    Unreachable {
        /// The model.
        model: String,
        /// Where it was looked for.
        cache: PathBuf,
        /// What is missing there.
        why: String,
        /// The Hub's base URL.
        endpoint: String,
        /// What went wrong.
        cause: String,
    },
    /// The model's owner wants to know who downloads it.
    #[error(
        "{model} is gated: accept its licence at {endpoint}/{model}, then set HF_TOKEN to a token \
         of {endpoint}/settings/tokens (or type `hf auth login`)"
    )]
    Gated {
        /// The model.
        model: String,
        /// The Hub's base URL.
        endpoint: String,
    },
    /// The Hub wants a token. It says so for models that do not exist, too.
    #[error("{endpoint} has no public model {model}{}: check the name, or set HF_TOKEN if it is private", did_you_mean(.suggestion.as_deref()))]
    Unauthorized {
        /// The model.
        model: String,
        /// The Hub's base URL.
        endpoint: String,
        /// A model with a similar name.
        suggestion: Option<String>,
    },
    /// The Hub refuses the token.
    #[error(
        "{endpoint} refuses your token for {model}: accept its licence at {endpoint}/{model} if it has one, \
         and set HF_TOKEN to a token of {endpoint}/settings/tokens that may read it (public models need none)"
    )]
    Forbidden {
        /// The model.
        model: String,
        /// The Hub's base URL.
        endpoint: String,
    },
    /// The Hub does not know the model.
    #[error("{endpoint} has no model {model}{}: look for it at {endpoint}/models", did_you_mean(.suggestion.as_deref()))]
    NoSuchModel {
        /// The model.
        model: String,
        /// The Hub's base URL.
        endpoint: String,
        /// A model with a similar name.
        suggestion: Option<String>,
    },
    /// The Hub does not know the revision.
    #[error(
        "{model} has no revision {revision}: leave --revision out, or choose one of {endpoint}/{model}/commits/main"
    )]
    NoSuchRevision {
        /// The model.
        model: String,
        /// Branch, tag or commit.
        revision: String,
        /// The Hub's base URL.
        endpoint: String,
    },
    /// Too many requests.
    #[error("{endpoint} is asked too often: wait{}, or set HF_TOKEN for a higher limit, and type it again", seconds(*.retry_after))]
    RateLimited {
        /// The Hub's base URL.
        endpoint: String,
        /// How long the Hub asks to wait.
        retry_after: Option<std::time::Duration>,
    },
    /// The Hub answered something that is of no use.
    #[error("{endpoint} cannot serve {model} ({cause}): type it again later, or set HF_ENDPOINT to a mirror")]
    Hub {
        /// The model.
        model: String,
        /// The Hub's base URL.
        endpoint: String,
        /// What went wrong.
        cause: String,
    },
    /// A download broke off and could not be taken up again.
    #[error("the download of {file} broke off at {} of {} ({cause}): type it again to take it up there", bytes(*.done), bytes(*.size))]
    Interrupted {
        /// The file.
        file: String,
        /// Bytes that are there.
        done: u64,
        /// Bytes of the whole file.
        size: u64,
        /// What went wrong.
        cause: String,
    },
    /// The progress function said stop.
    #[error("cancelled; the same command takes the download up where it stopped")]
    Cancelled,
    /// A file or folder cannot be read or written.
    #[error("{}: {source}; check that it exists and may be read and written", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A model that everybody may download.
const EXAMPLE: &str = "stable-diffusion-v1-5/stable-diffusion-v1-5";

impl StoreError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// In a few words, what a model in the cache lacks that the Hub may have; `None` for other errors.
    pub(super) fn shortcoming(&self) -> Option<String> {
        match self {
            Self::NoModelIndex { .. } => Some("it lacks model_index.json there".into()),
            Self::MissingFile { file, .. } => Some(format!("it lacks {file} there")),
            Self::NoWeights { component, .. } => Some(format!("it has no safetensors in {component}/ there")),
            Self::NoSuchVariant { asked, .. } => Some(format!("its variant {asked} is not there")),
            Self::OnlyVariants { variants, .. } => {
                Some(format!("only its variants {} are there", variants.join(", ")))
            }
            Self::Pickle { file, .. } => Some(format!("its {file} is a pickle there")),
            _ => None,
        }
    }
}

fn available(variants: &[String]) -> String {
    match variants {
        [] => "leave --variant out, there are only plain files".into(),
        some => format!("type --variant {}, or leave it out", some.join(" or --variant ")),
    }
}

/// What follows the name of a model that does not exist.
pub(super) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

fn seconds(wait: Option<std::time::Duration>) -> String {
    wait.map_or_else(String::new, |wait| format!(" {} s", wait.as_secs()))
}

/// `3.4 GB`; decimal, as the Hub shows sizes.
fn bytes(count: u64) -> String {
    const UNITS: [(&str, f64); 3] = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match UNITS.iter().find(|(_, size)| count as f64 >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count as f64 / size),
        None => format!("{count} B"),
    }
}
