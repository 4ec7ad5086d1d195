//! diffusers' `AutoencoderKL`: pictures to latents and back.
//!
//! Source: diffusers 0.42.1, `models/autoencoders/autoencoder_kl.py`, `models/autoencoders/vae.py`.

mod coder;
mod config;
mod tiling;

use candle_core::{DType, Tensor};

use coder::{Decoder, Encoder};
pub use config::{DownBlockType, UpBlockType, VaeConfig};
pub use tiling::Tiling;

use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::nn::{Conv2d, OpLimits, profile};
use crate::diffusion::weights::Weights;

/// What an encoder says about a picture's latents: a normal distribution for each value, both `[b, c, h, w]`.
#[derive(Clone, Debug)]
pub struct DiagonalGaussianDistribution {
    /// Means.
    pub mean: Tensor,
    /// Logarithms of the variances, clamped to -30…20.
    pub logvar: Tensor,
}

impl DiagonalGaussianDistribution {
    fn new(moments: &Tensor) -> Result<Self> {
        let parts = moments.chunk(2, 1)?;
        Ok(Self { mean: parts[0].contiguous()?, logvar: parts[1].clamp(-30f64, 20f64)? })
    }

    /// The most likely latents.
    pub fn mode(&self) -> &Tensor {
        &self.mean
    }

    /// Latents drawn with `noise`, standard normal and of the same shape.
    ///
    /// # Errors
    /// When the shape is another or the device has no memory left.
    pub fn sample(&self, noise: &Tensor) -> Result<Tensor> {
        let std = (&self.logvar * 0.5)?.exp()?;
        Ok((&self.mean + (std * noise.to_dtype(self.mean.dtype())?)?)?)
    }
}

/// The VAE of Stable Diffusion.
#[derive(Clone, Debug)]
pub struct AutoencoderKL {
    encoder: Encoder,
    decoder: Decoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    config: VaeConfig,
    dtype: DType,
}

impl AutoencoderKL {
    /// Builds it and settles the account of `weights`.
    ///
    /// # Errors
    /// When weights are missing, misshapen or unused, or memory runs out.
    pub fn load(weights: &Weights, config: &VaeConfig) -> Result<Self> {
        let pointwise =
            |name: &str, channels: usize| Conv2d::load(&weights.pp(name), channels, channels, 1, 1, 0);
        let latents = config.latent_channels;
        let quant_conv = config.use_quant_conv.then(|| pointwise("quant_conv", 2 * latents));
        let post_quant_conv = config.use_post_quant_conv.then(|| pointwise("post_quant_conv", latents));
        let model = Self {
            encoder: Encoder::load(&weights.pp("encoder"), config)?,
            decoder: Decoder::load(&weights.pp("decoder"), config)?,
            quant_conv: quant_conv.transpose()?,
            post_quant_conv: post_quant_conv.transpose()?,
            config: config.clone(),
            dtype: weights.dtype(),
        };
        weights.finish()?;
        Ok(model)
    }

    /// The config that it was built from.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The dtype that it computes and answers in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// `picture` `[b, in_channels, h, w]` of -1…1, any dtype, to the distribution of its latents
    /// `[b, latent_channels, h / 8, w / 8]`, not yet scaled for the UNet (see [`Self::scale_latents`]).
    ///
    /// # Errors
    /// When a shape does not fit or the device has no memory left.
    pub fn encode(&self, picture: &Tensor, limits: &OpLimits) -> Result<DiagonalGaussianDistribution> {
        let _span = profile::call("vae_encoder");
        let mut moments = self.encoder.forward(&picture.to_dtype(self.dtype)?, limits)?;
        if let Some(conv) = &self.quant_conv {
            moments = conv.forward(&moments, limits)?;
        }
        DiagonalGaussianDistribution::new(&moments)
    }

    /// `latents` `[b, latent_channels, h, w]`, any dtype, as the VAE means them (see [`Self::unscale_latents`]),
    /// to a picture `[b, out_channels, 8 h, 8 w]` of about -1…1. One after another: what a batch would hold in
    /// memory at once is large, and on Metal batches are unreliable.
    ///
    /// # Errors
    /// When a shape does not fit or the device has no memory left.
    pub fn decode(&self, latents: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        self.each(latents, |one| self.decode_one(one, limits))
    }

    /// Like [`Self::decode`], in overlapping tiles where the latents are larger than one. Holds one tile's
    /// memory; the picture differs a little, since no tile sees the whole.
    ///
    /// # Errors
    /// As [`Self::decode`], and when a tile is too small to overlap.
    pub fn decode_tiled(&self, latents: &Tensor, tiling: &Tiling, limits: &OpLimits) -> Result<Tensor> {
        if !tiling.applies(latents.dim(2)?, latents.dim(3)?) {
            return self.decode(latents, limits);
        }
        self.each(latents, |one| tiling::decode(one, tiling, |tile| self.decode_one(tile, limits)))
    }

    /// The VAE's latents as the UNet sees them, in the dtype they come in.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn scale_latents(&self, latents: &Tensor) -> Result<Tensor> {
        let config = &self.config;
        if let Some((mean, std)) = self.statistics(latents)? {
            return Ok((latents.broadcast_sub(&mean)?.broadcast_div(&std)? * config.scaling_factor)?);
        }
        Ok(((latents - config.shift_factor.unwrap_or(0.))? * config.scaling_factor)?)
    }

    /// The UNet's latents as the VAE means them, in the dtype they come in.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn unscale_latents(&self, latents: &Tensor) -> Result<Tensor> {
        let config = &self.config;
        if let Some((mean, std)) = self.statistics(latents)? {
            return Ok((latents.broadcast_mul(&std)? / config.scaling_factor)?.broadcast_add(&mean)?);
        }
        Ok(((latents / config.scaling_factor)? + config.shift_factor.unwrap_or(0.))?)
    }

    /// `latents_mean` and `latents_std` as `[1, c, 1, 1]`, where the config has both.
    fn statistics(&self, like: &Tensor) -> Result<Option<(Tensor, Tensor)>> {
        let (Some(mean), Some(std)) = (&self.config.latents_mean, &self.config.latents_std) else {
            return Ok(None);
        };
        let column = |values: &[f64]| -> Result<Tensor> {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            let column = Tensor::from_slice(&values, (1, values.len(), 1, 1), &candle_core::Device::Cpu)?;
            Ok(column.to_dtype(like.dtype())?.to_device(like.device())?)
        };
        Ok(Some((column(mean)?, column(std)?)))
    }

    fn decode_one(&self, latents: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let _span = profile::call("vae_decoder");
        let latents = match &self.post_quant_conv {
            Some(conv) => conv.forward(latents, limits)?,
            None => latents.clone(),
        };
        self.decoder.forward(&latents, limits)
    }

    fn each(&self, latents: &Tensor, mut decode: impl FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let (batch, channels, _, _) = latents.dims4()?;
        if channels != self.config.latent_channels {
            return Err(DiffusionError::Request(format!(
                "this VAE takes latents of {} channels, not {channels}: it belongs to another pipeline",
                self.config.latent_channels
            )));
        }
        let latents = latents.to_dtype(self.dtype)?;
        let pictures = (0..batch).map(|i| decode(&latents.narrow(0, i, 1)?)).collect::<Result<Vec<_>>>()?;
        if let [picture] = pictures.as_slice() {
            return Ok(picture.clone());
        }
        Ok(Tensor::cat(&pictures, 0)?)
    }
}
