//! Normalisations.

use candle_core::{DType, Module, Tensor};

use crate::diffusion::error::Result;
use crate::diffusion::weights::Weights;

/// Group normalisation over `[b, c, ..]`.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Reads `weight` and `bias`, both `[channels]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, groups: usize, channels: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            weight: weights.get(channels, "weight")?,
            bias: weights.get(channels, "bias")?,
            groups,
            eps,
        })
    }

    /// Normalises each group of channels to mean 0 and variance 1, then scales and shifts each channel.
    ///
    /// # Errors
    /// When the channels are not those it was made for or the device has no memory left.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, channels) = (x.dim(0)?, x.dim(1)?);
        let dtype = x.dtype();
        let flat = x.to_dtype(DType::F32)?.reshape((batch, self.groups, ()))?;
        let mean = flat.mean_keepdim(2)?;
        let centred = flat.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(2)?;
        let normed =
            centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?.reshape((batch, channels, ()))?;
        let weight = self.weight.to_dtype(DType::F32)?.reshape((1, channels, 1))?;
        let bias = self.bias.to_dtype(DType::F32)?.reshape((1, channels, 1))?;
        Ok(normed.broadcast_mul(&weight)?.broadcast_add(&bias)?.to_dtype(dtype)?.reshape(x.shape())?)
    }

    /// `silu(group_norm(x))` in one pass.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        Ok(candle_nn::ops::silu(&self.forward(x)?)?)
    }
}

/// Layer normalisation over the last dimension.
#[derive(Clone, Debug)]
pub struct LayerNorm(candle_nn::LayerNorm);

impl LayerNorm {
    /// Reads `weight` and `bias`, both `[size]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, size: usize, eps: f64) -> Result<Self> {
        Ok(Self(candle_nn::LayerNorm::new(weights.get(size, "weight")?, weights.get(size, "bias")?, eps)))
    }

    /// `[.., size]` to `[.., size]`.
    ///
    /// # Errors
    /// When the last dimension is not `size` or the device has no memory left.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.0.forward(x)?)
    }
}
