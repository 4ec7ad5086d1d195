//! What a checkpoint's JSON says of its kind, before any weight is read.
//!
//! Owns `model_index.json` and where each component's config lies; what is in a config, its component knows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::models::autoencoder_kl::VaeConfig;
use crate::diffusion::models::clip::ClipTextConfig;
use crate::diffusion::models::component_config::{self, ModelConfig};
use crate::diffusion::models::unet::UNetConfig;

const FILE: &str = "model_index.json";
const WISHES: &str = "tintype.json";

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

/// What a checkpoint's JSON files say.
#[derive(Clone, Debug)]
pub struct ModelFacts {
    /// `model_index.json`.
    pub index: ModelIndex,
    /// `unet/config.json`.
    pub unet: UNetConfig,
    /// `vae/config.json`.
    pub vae: VaeConfig,
    /// `text_encoder/config.json`.
    pub text_encoder: ClipTextConfig,
    /// `text_encoder_2/config.json`, where there is one.
    pub text_encoder_2: Option<ClipTextConfig>,
    /// Of `scheduler/scheduler_config.json`.
    pub scheduler: SchedulerFacts,
    /// `tintype.json`, a file that only tintype reads.
    pub wishes: Wishes,
}

/// What `scheduler/scheduler_config.json` says of the family; `schedulers` reads it in full.
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
    /// Reads the components' JSON files.
    ///
    /// # Errors
    /// When one is missing or broken, or says something that is not implemented.
    pub fn read(checkpoint: &Checkpoint, index: ModelIndex) -> Result<Self> {
        let has_second = index.components.contains_key("text_encoder_2");
        Ok(Self {
            index,
            unet: component_config(checkpoint, "unet/config.json")?,
            vae: component_config(checkpoint, "vae/config.json")?,
            text_encoder: text_config(checkpoint, "text_encoder/config.json")?,
            text_encoder_2: has_second
                .then(|| text_config(checkpoint, "text_encoder_2/config.json"))
                .transpose()?,
            scheduler: read_json(checkpoint, "scheduler/scheduler_config.json")?,
            wishes: if checkpoint.files.contains_key(WISHES) {
                read_json(checkpoint, WISHES)?
            } else {
                Wishes::default()
            },
        })
    }

    /// Whether diffusers before 0.9 wrote the UNet's config. A file that does not say is not old.
    pub fn is_before_diffusers_0_9(&self) -> bool {
        let version = self.unet.rest().get("_diffusers_version").and_then(Value::as_str).unwrap_or_default();
        let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
        matches!((numbers.next(), numbers.next()), (Some(0), Some(minor)) if minor < 9)
    }
}

fn read(checkpoint: &Checkpoint, file: &str) -> Result<Cow<'static, [u8]>> {
    checkpoint.read(file).map_err(|source| DiffusionError::Io { path: file.into(), source })
}

fn component_config<C: ModelConfig>(checkpoint: &Checkpoint, file: &str) -> Result<C> {
    component_config::parse(file, &read(checkpoint, file)?)
}

fn text_config(checkpoint: &Checkpoint, file: &str) -> Result<ClipTextConfig> {
    ClipTextConfig::from_json(file, &read(checkpoint, file)?)
}

fn read_json<T: DeserializeOwned>(checkpoint: &Checkpoint, file: &str) -> Result<T> {
    serde_json::from_slice(&read(checkpoint, file)?)
        .map_err(|error| DiffusionError::Config { file: file.into(), message: error.to_string() })
}
