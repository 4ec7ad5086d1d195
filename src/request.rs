//! Plain data that every module may know: what a person asked for, what that resolved to, and what came of it.
//!
//! `GenerateRequest` (as typed, everything optional) → `GenerateParams` (resolved against the model's
//! defaults) → `Recipe` (done; stored, replayable). This module imports nothing of the crate.

mod wishes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::wishes::{AttentionSlicing, MemoryBudget, MemoryWishes, VaeTiling};

/// Identifies a job within a session: the `12` of `#12` and `$12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub u64);

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Width and height of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageSize {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl ImageSize {
    /// A size of `width` × `height` pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

impl std::fmt::Display for ImageSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}", self.width, self.height)
    }
}

/// A seed as typed: a number, a random one, or the seed of an earlier picture (`-S -1` is the last).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seed {
    /// This very seed.
    Fixed(u64),
    /// The seed of the n-th last picture of the session; 1 is the last one.
    Previous(u32),
    /// A new random seed.
    Random,
}

/// A run that goes on from the middle of another one: from its latents after `step`, with its noise from there on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Branch<T> {
    /// The other one.
    pub of: Box<T>,
    /// Steps of it (model calls) that are done before.
    pub step: u32,
}

/// What a job did not have to compute, because an earlier one had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reused {
    /// Denoising steps.
    pub steps: u32,
    /// Steps that its picture has in all.
    pub of: u32,
    /// The prompt's embeddings, and the negative prompt's.
    pub embeddings: bool,
    /// Seconds that all of it had taken.
    pub seconds: f64,
}

impl Reused {
    /// `12 of 20 steps and the prompt's embeddings reused: 3.1 s saved`; `None` where nothing worth a word was.
    pub fn describe(&self) -> Option<String> {
        let what = match (self.steps, self.embeddings) {
            (0, true) => "the prompt's embeddings".to_owned(),
            (0, false) => return None,
            (steps, true) => format!("{steps} of {} steps and the prompt's embeddings", self.of),
            (steps, false) => format!("{steps} of {} steps", self.of),
        };
        // Less than what is shown is not saved.
        (self.seconds >= 0.05).then(|| format!("{what} reused: {:.1} s saved", self.seconds))
    }
}

/// What a person asked for: exactly what was typed, nothing resolved.
///
/// Every front end (command line, prompt, pipe, replay) fills this through `command::switches`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerateRequest {
    /// The prompt.
    pub prompt: String,
    /// What the picture should not show; an empty one is a text too, which some models encode where they take zeros
    /// for none.
    pub negative_prompt: Option<String>,
    /// Repo id on the Hub, or a local folder in diffusers layout; `None` is the embedded model.
    pub model: Option<String>,
    /// Branch, tag or commit of the repo.
    pub revision: Option<String>,
    /// File variant, such as `fp16`.
    pub variant: Option<String>,
    /// Name of a scheduler (`diffusion::schedulers::SCHEDULERS`) or an alias of one.
    pub scheduler: Option<String>,
    /// Denoising steps.
    pub steps: Option<u32>,
    /// Classifier-free guidance scale; 1 and below switch guidance off.
    pub guidance_scale: Option<f64>,
    /// DDIM's η: 0 is deterministic, 1 is DDPM.
    pub eta: Option<f64>,
    /// Seed of the initial noise.
    pub seed: Option<Seed>,
    /// Pixels from left to right.
    pub width: Option<u32>,
    /// Pixels from top to bottom.
    pub height: Option<u32>,
    /// Pictures to make, one after another; picture `i` has seed + `i`.
    pub num_images: Option<u32>,
    /// Picture to start from (image to image): a path or a reference such as `$12`.
    pub image: Option<String>,
    /// How much of `image` is replaced, 0 to 1.
    pub strength: Option<f64>,
    /// Share of another seed's noise that is mixed in, 0 to 1.
    pub variation: Option<f64>,
    /// That other seed; `None` is `seed + 1`.
    pub variation_seed: Option<u64>,
    /// Layers of the text encoder that are left out, counted from the last.
    pub clip_skip: Option<u32>,
    /// Steps after which the picture is taken, as the model expects it to become; `None` is all of them.
    pub stop_after: Option<u32>,
    /// Compute the deep blocks of the UNet only every so many steps: an approximation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deep_cache: Option<u32>,
    /// Share of the steps that are guided, from the first: an approximation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cfg_until: Option<f64>,
    /// Where it goes on from, instead of noise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch<GenerateRequest>>,
    /// Also make one contact sheet of all pictures of this request.
    pub grid: Option<bool>,
    /// File to write; `-` is standard output; `None` lets the output folder decide.
    pub output: Option<PathBuf>,
}

impl GenerateRequest {
    /// Whether its picture is for standard output (`-o -`), which is the front end's to write.
    pub fn is_for_stdout(&self) -> bool {
        self.output.as_deref() == Some(Path::new("-"))
    }
}

/// Why a terminal takes no such request.
pub const NO_PNG_ON_A_TERMINAL: &str =
    "-o - writes a PNG, which a terminal cannot show; name a file: -o picture.png";

/// A request resolved against the model: every number that decides the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateParams {
    /// The prompt.
    pub prompt: String,
    /// What the picture should not show; an empty text is not the same as none to SDXL.
    #[serde(default, with = "negative_prompt")]
    pub negative_prompt: Option<String>,
    /// Repo id, folder, or `embedded`.
    pub model: String,
    /// Commit of the repo, when there is one.
    #[serde(default)]
    pub revision: Option<String>,
    /// File variant that was loaded, such as `fp16`.
    #[serde(default)]
    pub variant: Option<String>,
    /// Canonical name of the scheduler.
    pub scheduler: String,
    /// Denoising steps.
    pub steps: u32,
    /// Classifier-free guidance scale.
    pub guidance_scale: f64,
    /// DDIM's η.
    #[serde(default)]
    pub eta: f64,
    /// Seed of the initial noise.
    pub seed: u64,
    /// Size of the picture.
    pub size: ImageSize,
    /// Picture to start from.
    #[serde(default)]
    pub image: Option<PathBuf>,
    /// How much of `image` is replaced, 0 to 1.
    #[serde(default)]
    pub strength: Option<f64>,
    /// Share of the noise of `variation_seed` that is mixed in by slerp.
    #[serde(default)]
    pub variation: Option<f64>,
    /// The other noise's seed; `None` is `seed + 1`.
    #[serde(default)]
    pub variation_seed: Option<u64>,
    /// Layers of the text encoder that are left out.
    #[serde(default)]
    pub clip_skip: u32,
    /// Steps after which the picture is taken, as the model expects it to become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<u32>,
    /// The deep blocks of the UNet are computed only every so many steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deep_cache: Option<u32>,
    /// Share of the steps that are guided, from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cfg_until: Option<f64>,
    /// Where it goes on from, instead of noise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<Branch<GenerateParams>>,
}

/// How a negative prompt is written: none as an empty text, as it has always been, and an empty one as a space, which
/// text encoders read alike.
mod negative_prompt {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it")]
    pub fn serialize<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match text.as_deref() {
            None => "",
            Some("") => " ",
            Some(text) => text,
        })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.filter(|text| !text.is_empty()).map(|text| if text == " " { String::new() } else { text }))
    }
}

/// Seconds that each phase of a job took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timings {
    /// Reading configs and weights; 0 when the model was resident.
    pub load: f64,
    /// The discarded first step that compiles kernels; 0 when there was none.
    pub warm_up: f64,
    /// Text encoders.
    pub encode: f64,
    /// The picture to start from, through the VAE's encoder; 0 when there was none.
    pub encode_image: f64,
    /// One entry per denoising step.
    pub steps: Vec<f64>,
    /// VAE.
    pub decode: f64,
    /// Writing the file.
    pub save: f64,
    /// From the job's start to its end.
    pub total: f64,
}

/// Memory of one phase of a job, in bytes: of the GPU where the model runs on one, else of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseMemory {
    /// What the memory plan expected at most; 0 if there was no plan.
    pub predicted: u64,
    /// The most that was seen.
    pub peak: u64,
}

/// A finished picture's full story: enough to make it again and to prove that it is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The job that made it.
    pub job: JobId,
    /// Everything that decides the picture.
    pub params: GenerateParams,
    /// `cpu`, `cuda` or `metal`.
    pub device: String,
    /// `f32`, `f16` or `bf16`: the UNet's dtype.
    pub dtype: String,
    /// Version of tintype.
    pub version: String,
    /// Seconds per phase.
    pub timings: Timings,
    /// What was not computed again.
    #[serde(default)]
    pub reused: Reused,
    /// Largest memory of the process during the job, in bytes.
    pub peak_memory: u64,
    /// Swap that grew during the job, in bytes.
    #[serde(default)]
    pub swap_grown: u64,
    /// Memory by phase: `load`, `encode`, `encode_image`, `step`, `decode`.
    #[serde(default)]
    pub memory: BTreeMap<String, PhaseMemory>,
    /// Where the picture lies, if it was written.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// SHA-256 of the RGB bytes, in hex: equal hashes are equal pictures.
    pub pixels_sha256: String,
    /// SHA-256 of the file as it was written. Only in the history: a file cannot hold its own hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sha256: Option<String>,
    /// Fingerprints of the latents: what the steps began with, then what each left. The first 16 digits of the
    /// SHA-256 of their `[c · h · w]` f32 bytes, little-endian. They tell at which step two runs part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latents: Vec<String>,
    /// SHA-256 of each file of weights, by component and name: `unet/diffusion_pytorch_model.safetensors`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, String>,
    /// What the engine had to say about this job (watchdog, memory plan).
    #[serde(default)]
    pub notices: Vec<String>,
}

/// A picture in memory: 8-bit RGB, rows from top to bottom.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width and height in pixels.
    pub size: ImageSize,
    /// `width * height * 3` bytes.
    pub rgb: Arc<[u8]>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({})", self.size)
    }
}
