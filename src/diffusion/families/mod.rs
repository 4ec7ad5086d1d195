//! Families of models: one file a family holds every fact that is special about it, one line here lists it.
//!
//! A family is told by a checkpoint's JSON files ([`ModelFacts`]), never by its name, and decides only what those
//! files do not say: the recipe for text, the default settings, whose latents they are. Shapes come from the
//! configs.

mod lcm;
mod model_index;
mod sd1;
mod sd2;
mod sdxl;
mod turbo;

use std::collections::BTreeSet;

pub use model_index::{ModelFacts, ModelIndex, SchedulerFacts, Wishes};
pub use sdxl::time_ids;

use super::error::{DiffusionError, Result};
use super::models::clip::ClipTextConfig;
use super::models::component_config::{PerBlock, SampleSize};
use super::preview::LatentSpace;
use crate::checkpoint::Checkpoint;
use crate::request::ImageSize;

/// Everything special about a family.
#[derive(Clone, Debug)]
pub struct Family {
    /// Short name, in JSON and on the command line.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Class of diffusers' pipeline, as in `model_index.json`.
    pub pipeline: &'static str,
    /// Whether a checkpoint with that pipeline belongs here; the first family of [`FAMILIES`] that says so has it.
    pub matches: fn(&ModelFacts) -> bool,
    /// What the files must say beyond that.
    pub check: fn(&ModelFacts) -> Result<()>,
    /// How a prompt becomes embeddings.
    pub text: TextRecipe,
    /// Default denoising steps.
    pub steps: u32,
    /// Default guidance scale.
    pub guidance_scale: f64,
    /// Whose latents they are, for previews.
    pub latent_space: LatentSpace,
}

/// Every family, the special ones before the general ones.
pub static FAMILIES: &[&Family] =
    &[&lcm::LCM, &lcm::SD, &lcm::SDXL, &turbo::SD, &turbo::SDXL, &sdxl::FAMILY, &sd2::FAMILY, &sd1::FAMILY];

/// How a prompt becomes embeddings: which text encoders, and what is taken of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRecipe {
    /// One encoder; its last hidden state after the final layer norm.
    LastHiddenState,
    /// Two encoders; the hidden states before their last layers side by side, no final layer norm. The pooled and
    /// projected state of the second is an embedding of its own.
    Penultimate,
}

impl TextRecipe {
    /// The text encoders in order.
    pub fn components(self) -> &'static [TextComponent] {
        match self {
            Self::LastHiddenState => &[FIRST],
            Self::Penultimate => &[FIRST, SECOND],
        }
    }
}

/// A text encoder with its tokenizer, by the components' names.
#[derive(Clone, Copy, Debug)]
pub struct TextComponent {
    /// Folder of the network.
    pub encoder: &'static str,
    /// Folder of the tokenizer.
    pub tokenizer: &'static str,
    /// Class of the network.
    pub class: &'static str,
}

const FIRST: TextComponent =
    TextComponent { encoder: "text_encoder", tokenizer: "tokenizer", class: "CLIPTextModel" };
const SECOND: TextComponent = TextComponent {
    encoder: "text_encoder_2",
    tokenizer: "tokenizer_2",
    class: "CLIPTextModelWithProjection",
};

/// What a guidance scale does in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guidance {
    /// Nothing: the UNet runs once a step and the negative prompt is not read.
    Off,
    /// The UNet runs twice a step, with the prompt and with the negative prompt.
    ClassifierFree,
    /// The scale goes into the UNet, as
    /// [`guidance_scale_embedding`](super::models::unet::guidance_scale_embedding) of this size. The UNet runs once
    /// a step and the negative prompt is not read.
    Embedded(usize),
}

/// A checkpoint's family and what it makes of the checkpoint's files. Made from JSON alone, before weights are read.
#[derive(Clone, Debug)]
pub struct ModelProfile {
    /// The family.
    pub family: &'static Family,
    /// What the JSON files say.
    pub facts: ModelFacts,
}

impl ModelProfile {
    /// Reads a checkpoint's JSON files and finds its family.
    ///
    /// # Errors
    /// When a file is missing or broken, says something that is not implemented, or does not fit another.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let index = ModelIndex::read(checkpoint)?;
        check_pipeline(&index)?;
        index.expect("unet", &["UNet2DConditionModel"])?;
        index.expect("vae", &["AutoencoderKL"])?;
        let facts = ModelFacts::read(checkpoint, index)?;
        let class = &facts.index.class_name;
        let family = FAMILIES.iter().find(|family| family.pipeline == class && (family.matches)(&facts));
        let Some(family) = family else { return Err(unknown_pipeline(class)) };
        let profile = Self { family, facts };
        profile.check_latents()?;
        profile.check_text()?;
        (family.check)(&profile.facts)?;
        Ok(profile)
    }

    /// The text encoders in order, with their configs.
    pub fn text_encoders(&self) -> impl Iterator<Item = (&'static TextComponent, &ClipTextConfig)> {
        let configs = std::iter::once(&self.facts.text_encoder).chain(&self.facts.text_encoder_2);
        self.family.text.components().iter().zip(configs)
    }

    /// The UNet must take and give what the VAE makes; an inpainting UNet, for one, takes more.
    fn check_latents(&self) -> Result<()> {
        let ModelFacts { unet, vae, .. } = &self.facts;
        let latent_channels = vae.latent_channels;
        for (key, channels) in [("in_channels", unet.in_channels), ("out_channels", unet.out_channels)] {
            if channels != latent_channels {
                return Err(DiffusionError::Config {
                    file: "unet/config.json".into(),
                    message: format!("{key} = {channels}, but the VAE's latent_channels = {latent_channels}"),
                });
            }
        }
        Ok(())
    }

    /// The text encoders must be of the right classes and together as wide as the UNet expects.
    fn check_text(&self) -> Result<()> {
        let index = &self.facts.index;
        for component in self.family.text.components() {
            index.expect(component.encoder, &[component.class])?;
            index.expect(component.tokenizer, &["CLIPTokenizer", "CLIPTokenizerFast"])?;
        }
        let width: usize = self.text_encoders().map(|(_, config)| config.hidden_size).sum();
        let expected = match &self.facts.unet.cross_attention_dim {
            PerBlock::One(dim) => std::slice::from_ref(dim),
            PerBlock::Each(dims) => dims,
        };
        if expected.iter().all(|dim| *dim == width) {
            return Ok(());
        }
        Err(DiffusionError::Config {
            file: "unet/config.json".into(),
            message: format!(
                "cross_attention_dim = {expected:?}, but the text encoders' hidden_size is {width}"
            ),
        })
    }

    /// Denoising steps when nothing was asked for.
    pub fn steps(&self) -> u32 {
        self.facts.wishes.steps.unwrap_or(self.family.steps)
    }

    /// Guidance scale when nothing was asked for.
    pub fn guidance_scale(&self) -> f64 {
        self.facts.wishes.guidance_scale.unwrap_or(self.family.guidance_scale)
    }

    /// Size when nothing was asked for: what the UNet was trained on.
    pub fn default_size(&self) -> ImageSize {
        let facts = &self.facts;
        let sample = match facts.unet.sample_size {
            // The first configs say 32 and mean 64, which diffusers amends as well.
            Some(SampleSize::Square(side)) if side < 64 && facts.is_before_diffusers_0_9() => {
                SampleSize::Square(64)
            }
            Some(sample) => sample,
            None => SampleSize::Square(64),
        };
        let scale = facts.vae.scale_factor();
        let pixels = |side: usize| u32::try_from(side.saturating_mul(scale)).unwrap_or(u32::MAX);
        ImageSize::new(pixels(sample.width()), pixels(sample.height()))
    }

    /// Width and height must be multiples of this: the pixels of one latent pixel.
    pub fn size_multiple(&self) -> u32 {
        u32::try_from(self.facts.vae.scale_factor()).unwrap_or(u32::MAX)
    }

    /// What this guidance scale does.
    pub fn guidance(&self, guidance_scale: f64) -> Guidance {
        match self.facts.unet.time_cond_proj_dim {
            Some(dim) => Guidance::Embedded(dim),
            None if guidance_scale > 1. => Guidance::ClassifierFree,
            None => Guidance::Off,
        }
    }
}

fn check_pipeline(index: &ModelIndex) -> Result<()> {
    let class = &index.class_name;
    if FAMILIES.iter().any(|family| family.pipeline == class) { Ok(()) } else { Err(unknown_pipeline(class)) }
}

fn unknown_pipeline(class: &str) -> DiffusionError {
    let known: BTreeSet<&str> = FAMILIES.iter().map(|family| family.pipeline).collect();
    let known: Vec<&str> = known.into_iter().collect();
    DiffusionError::unsupported("model_index.json", "_class_name", class, &known.join(", "))
}

#[cfg(test)]
mod tests;
