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
    #[error("{model} is not usable from {} ({why}) and tintype is offline: go online (without --offline and HF_HUB_OFFLINE) or name a local folder", .cache.display())]
    Offline {
        /// The model.
        model: String,
        /// Where it was looked for.
        cache: PathBuf,
        /// What is missing there.
        why: String,
    },
    /// Not in the cache, and this build cannot download.
    #[error("{model} is not usable from {} ({why}) and this build cannot download: type `hf download {model}`, or build tintype with its feature hub", .cache.display())]
    NoHub {
        /// The model.
        model: String,
        /// Where it was looked for.
        cache: PathBuf,
        /// What is missing there.
        why: String,
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
}

fn available(variants: &[String]) -> String {
    match variants {
        [] => "leave --variant out, there are only plain files".into(),
        some => format!("type --variant {}, or leave it out", some.join(" or --variant ")),
    }
}
