//! What a checkpoint's JSON says of its kind, before any weight is read.
//!
//! Owns `model_index.json` and the few keys of the components' configs that tell one family from another; the
//! components' own modules read their configs in full.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::diffusion::error::{DiffusionError, Result};

const FILE: &str = "model_index.json";

/// `model_index.json`: the pipeline's class and the class of every component.
#[derive(Clone, Debug)]
pub struct ModelIndex {
    /// Name of diffusers' pipeline class.
    pub class_name: String,
    /// Class of each component by its folder; those that are `[null, null]` are absent.
    pub components: BTreeMap<String, String>,
    /// SDXL: no negative prompt is all zeros, not the encoding of nothing.
    pub force_zeros_for_empty_prompt: bool,
}

impl ModelIndex {
    /// Reads `model_index.json`.
    ///
    /// # Errors
    /// When it is missing, broken, or has no `_class_name`.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let value: BTreeMap<String, Value> = read_json(checkpoint, FILE)?;
        let Some(Value::String(class_name)) = value.get("_class_name") else {
            return Err(DiffusionError::Config {
                file: FILE.into(),
                message: "has no _class_name; name a folder or repository in diffusers layout".into(),
            });
        };
        let components = value.iter().filter_map(|(name, value)| match value.as_array()?.as_slice() {
            [Value::String(_library), Value::String(class)] => Some((name.clone(), class.clone())),
            _ => None,
        });
        Ok(Self {
            class_name: class_name.clone(),
            components: components.collect(),
            force_zeros_for_empty_prompt: value
                .get("force_zeros_for_empty_prompt")
                .and_then(Value::as_bool)
                .unwrap_or(true),
        })
    }

    /// Checks that `component` is there and of one of the `known` classes.
    ///
    /// # Errors
    /// When it is absent or of another class.
    pub fn expect(&self, component: &str, known: &[&str]) -> Result<()> {
        let class = self.components.get(component).map_or("null", String::as_str);
        if known.contains(&class) {
            return Ok(());
        }
        Err(DiffusionError::unsupported(FILE, component, class, &known.join(", ")))
    }
}

/// The keys that tell families apart.
#[derive(Clone, Debug)]
pub struct ModelFacts {
    /// `model_index.json`.
    pub index: ModelIndex,
    /// Of `unet/config.json`.
    pub unet: UNetFacts,
    /// Of `vae/config.json`.
    pub vae: VaeFacts,
    /// Of `scheduler/scheduler_config.json`.
    pub scheduler: SchedulerFacts,
    /// Of `text_encoder/config.json`.
    pub text_encoder: TextFacts,
    /// Of `text_encoder_2/config.json`.
    pub text_encoder_2: TextFacts,
    /// Of `tintype.json`, a file that only tintype reads.
    pub wishes: Wishes,
}

/// What `unet/config.json` says of the family.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UNetFacts {
    /// Side of the latents that the UNet was trained on, or height and width.
    pub sample_size: Option<SampleSize>,
    /// Size of the guidance embedding of a model that was distilled with one.
    pub time_cond_proj_dim: Option<usize>,
    /// `text_time` for SDXL.
    pub addition_embed_type: Option<String>,
    /// Size of the embedding of each of SDXL's six time ids.
    pub addition_time_embed_dim: Option<usize>,
    /// Size of the pooled text embedding and all time ids together.
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Version of diffusers that wrote the file.
    #[serde(rename = "_diffusers_version")]
    pub diffusers_version: String,
}

impl UNetFacts {
    /// Whether diffusers before 0.9 wrote the file. A file that does not say is not old.
    pub fn is_before_diffusers_0_9(&self) -> bool {
        let mut numbers = self.diffusers_version.split('.').map_while(|part| part.parse::<u32>().ok());
        matches!((numbers.next(), numbers.next()), (Some(0), Some(minor)) if minor < 9)
    }
}

/// A square's side, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum SampleSize {
    /// Height and width are the same.
    Square(u32),
    /// Height, width.
    Sides(u32, u32),
}

/// What `vae/config.json` says of the family.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct VaeFacts {
    /// One entry a level; each but the first halves the picture.
    pub block_out_channels: Vec<usize>,
}

impl Default for VaeFacts {
    fn default() -> Self {
        Self { block_out_channels: vec![64] }
    }
}

/// What `scheduler/scheduler_config.json` says of the family.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SchedulerFacts {
    /// Name of diffusers' scheduler class.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// `leading`, `linspace`, `trailing`; empty where the class decides.
    pub timestep_spacing: String,
    /// `epsilon`, `v_prediction`, `sample`; empty where the class decides.
    pub prediction_type: String,
}

/// What a text encoder's config says of the family.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct TextFacts {
    /// `quick_gelu` is OpenAI's CLIP, `gelu` OpenCLIP.
    pub hidden_act: String,
    /// Size of the pooled text embedding, where there is one.
    pub projection_dim: Option<usize>,
}

impl Default for TextFacts {
    fn default() -> Self {
        Self { hidden_act: "quick_gelu".into(), projection_dim: Some(512) }
    }
}

/// Defaults that a checkpoint's author wishes for, over those of the family.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wishes {
    /// Denoising steps.
    pub steps: Option<u32>,
    /// Guidance scale.
    pub guidance_scale: Option<f64>,
}

impl ModelFacts {
    /// Reads the JSON files of a checkpoint.
    ///
    /// # Errors
    /// When one is missing or broken.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        Ok(Self {
            index: ModelIndex::read(checkpoint)?,
            unet: read_json(checkpoint, "unet/config.json")?,
            vae: read_json(checkpoint, "vae/config.json")?,
            scheduler: read_json(checkpoint, "scheduler/scheduler_config.json")?,
            text_encoder: read_optional(checkpoint, "text_encoder/config.json")?.unwrap_or_default(),
            text_encoder_2: read_optional(checkpoint, "text_encoder_2/config.json")?.unwrap_or_default(),
            wishes: read_optional(checkpoint, "tintype.json")?.unwrap_or_default(),
        })
    }

    /// Pixels along one side of a latent pixel.
    pub fn vae_scale_factor(&self) -> u32 {
        1 << self.vae.block_out_channels.len().saturating_sub(1).min(16)
    }
}

fn read_json<T: DeserializeOwned>(checkpoint: &Checkpoint, file: &str) -> Result<T> {
    let bytes = checkpoint.read(file).map_err(|source| DiffusionError::Io { path: file.into(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| DiffusionError::Config { file: file.into(), message: error.to_string() })
}

fn read_optional<T: DeserializeOwned>(checkpoint: &Checkpoint, file: &str) -> Result<Option<T>> {
    if checkpoint.files.contains_key(file) { read_json(checkpoint, file).map(Some) } else { Ok(None) }
}
