//! `vae/config.json`: every key of diffusers' `AutoencoderKL`, with its defaults.

use serde::Deserialize;

use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::models::component_config::{ModelConfig, Rest, SampleSize, truthy};
use crate::diffusion::nn::Activation;

/// A block of the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum DownBlockType {
    /// Resnets only.
    DownEncoderBlock2D,
}

/// A block of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum UpBlockType {
    /// Resnets only.
    UpDecoderBlock2D,
}

/// The config of an [`AutoencoderKL`](super::AutoencoderKL).
///
/// Source: diffusers 0.42.1, `models/autoencoders/autoencoder_kl.py`, `__init__`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Channels of the picture that goes in.
    pub in_channels: usize,
    /// Channels of the picture that comes out.
    pub out_channels: usize,
    /// The encoder's blocks.
    pub down_block_types: Vec<DownBlockType>,
    /// The decoder's blocks.
    pub up_block_types: Vec<UpBlockType>,
    /// Channels of each block.
    pub block_out_channels: Vec<usize>,
    /// Resnets in each block of the encoder; the decoder's have one more.
    pub layers_per_block: usize,
    /// Activation of the resnets.
    pub act_fn: Activation,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    /// Size of the pictures that the model was trained on, and of a tile.
    pub sample_size: SampleSize,
    /// The UNet's latents are the VAE's times this.
    pub scaling_factor: f64,
    /// Taken off the VAE's latents before they are scaled.
    pub shift_factor: Option<f64>,
    /// Mean of each channel of the VAE's latents.
    pub latents_mean: Option<Vec<f64>>,
    /// Standard deviation of each channel of the VAE's latents.
    pub latents_std: Option<Vec<f64>>,
    /// Whether the model overflows in f16.
    #[serde(deserialize_with = "truthy")]
    pub force_upcast: bool,
    /// Whether there is a 1×1 convolution behind the encoder.
    #[serde(deserialize_with = "truthy")]
    pub use_quant_conv: bool,
    /// Whether there is a 1×1 convolution before the decoder.
    #[serde(deserialize_with = "truthy")]
    pub use_post_quant_conv: bool,
    /// Whether the middle blocks attend.
    #[serde(deserialize_with = "truthy")]
    pub mid_block_add_attention: bool,
    /// Keys without a field.
    #[serde(flatten)]
    rest: Rest,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec![DownBlockType::DownEncoderBlock2D],
            up_block_types: vec![UpBlockType::UpDecoderBlock2D],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: Activation::Silu,
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: SampleSize::Square(32),
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            force_upcast: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
            rest: Rest::new(),
        }
    }
}

impl ModelConfig for VaeConfig {
    const CLASSES: &'static [&'static str] = &["AutoencoderKL"];
    const INERT: &'static [&'static str] = &[];
    const UNIMPLEMENTED: &'static [(&'static str, &'static str)] = &[];

    fn rest(&self) -> &Rest {
        &self.rest
    }

    fn check(&self, file: &str) -> Result<()> {
        let wrong = |message: String| Err(DiffusionError::Config { file: file.into(), message });
        let blocks = self.block_out_channels.len();
        // more could not halve any picture, and the scale factor would overflow
        if blocks > 16 {
            return wrong(format!("block_out_channels has {blocks} blocks, which is no picture's"));
        }
        if blocks == 0 || self.down_block_types.len() != blocks || self.up_block_types.len() != blocks {
            return wrong(format!(
                "down_block_types ({}), up_block_types ({}) and block_out_channels ({blocks}) differ in length",
                self.down_block_types.len(),
                self.up_block_types.len()
            ));
        }
        let groups = self.norm_num_groups;
        if let Some(channels) = self.block_out_channels.iter().find(|c| groups == 0 || *c % groups != 0) {
            return wrong(format!("norm_num_groups = {groups} does not divide {channels} channels"));
        }
        if !(self.scaling_factor.is_finite() && self.scaling_factor > 0.) {
            return wrong(format!("scaling_factor = {} is not a positive number", self.scaling_factor));
        }
        for (key, list) in [("latents_mean", &self.latents_mean), ("latents_std", &self.latents_std)] {
            if let Some(list) = list
                && list.len() != self.latent_channels
            {
                return wrong(format!(
                    "{key} has {} values for {} latent channels",
                    list.len(),
                    self.latent_channels
                ));
            }
        }
        Ok(())
    }
}

impl VaeConfig {
    /// Picture pixels per latent pixel, along one side: 8 for Stable Diffusion.
    pub fn scale_factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }
}
