//! What can go wrong between a checkpoint and a picture.

/// Result of everything in `diffusion`.
pub type Result<T, E = DiffusionError> = std::result::Result<T, E>;

/// Why a model could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum DiffusionError {
    /// A JSON file is missing, broken, or says something that is not implemented.
    #[error("{file}: {message}")]
    Config {
        /// Path inside the checkpoint, such as `unet/config.json`.
        file: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The weights do not fit the configs.
    #[error("the weights of {component} do not fit its config: {problems}")]
    Weights {
        /// The component's folder.
        component: String,
        /// Missing, misshapen and unused names.
        problems: String,
    },
    /// The request cannot be done by this model.
    #[error("{0}")]
    Request(String),
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// Path inside the checkpoint.
        path: String,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// Cancelled between two steps or components.
    #[error("cancelled after step {0}")]
    Cancelled(u32),
    /// A device failed, however little was asked of it.
    #[error(
        "{what} failed {attempts} times ({message}); tried: {tried}; ask for a smaller picture, or free memory and try again"
    )]
    Device {
        /// The component and step.
        what: String,
        /// How often.
        attempts: u32,
        /// What the device said last.
        message: String,
        /// What was tried between.
        tried: String,
    },
    /// Numbers that no precision makes right.
    #[error(
        "{component} gives {symptom} even in f32: its weights are damaged; take another model or revision"
    )]
    Numbers {
        /// The component.
        component: String,
        /// What is wrong with them.
        symptom: String,
    },
    /// The tensor library failed: out of memory, a lost device, or a bug of ours.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl DiffusionError {
    /// A config error: `file` says `key` = `value`, which is not implemented; `known` would be.
    pub fn unsupported(file: &str, key: &str, value: &str, known: &str) -> Self {
        Self::Config {
            file: file.into(),
            message: format!("{key} = {value} is not implemented (known: {known})"),
        }
    }
}
