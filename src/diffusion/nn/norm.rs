//! Normalisations.

use candle_core::{DType, Module, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use super::param::{CpuValues, Params, cpu_tensor, unfit};
use super::{cpu, metal, profile};
use crate::diffusion::error::Result;
use crate::diffusion::weights::Weights;

/// Group normalisation over `[b, c, ..]`.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    params: Params<Vec<f32>>,
    channels: usize,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    /// Reads `weight` and `bias`, both `[channels]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, groups: usize, channels: usize, eps: f64) -> Result<Self> {
        let params = Params::<Vec<f32>>::load(weights, channels)?;
        Ok(Self { params, channels, groups, eps })
    }

    /// Normalises each group of channels to mean 0 and variance 1, then scales and shifts each channel.
    ///
    /// # Errors
    /// When the channels are not those it was made for or the device has no memory left.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _span = profile::op("group_norm", x, || profile::sizes(x))?;
        match &self.params {
            Params::Cpu { weight, bias } => self.on_cpu(weight, bias.as_deref(), x, false),
            #[cfg(feature = "cuda")]
            Params::Device { weight, bias: Some(bias) } if cuda::takes(x) => {
                cuda::group_norm(x, weight, bias, self.groups, self.eps, false)
            }
            Params::Device { weight, bias: Some(bias) } if metal::takes(x) => {
                self.on_metal(false).forward(x, weight, bias)
            }
            Params::Device { weight, bias } => self.on_device(weight, bias.as_ref(), x),
        }
    }

    /// `silu(group_norm(x))` in one pass where there is one.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        let _span = profile::op("group_norm + silu", x, || profile::sizes(x))?;
        match &self.params {
            Params::Cpu { weight, bias } => self.on_cpu(weight, bias.as_deref(), x, true),
            #[cfg(feature = "cuda")]
            Params::Device { weight, bias: Some(bias) } if cuda::takes(x) => {
                cuda::group_norm(x, weight, bias, self.groups, self.eps, true)
            }
            Params::Device { weight, bias: Some(bias) } if metal::takes(x) => {
                self.on_metal(true).forward(x, weight, bias)
            }
            Params::Device { .. } => Ok(candle_nn::ops::silu(&self.forward(x)?)?),
        }
    }

    fn on_metal(&self, silu: bool) -> metal::GroupNorm {
        metal::GroupNorm { groups: self.groups, eps: self.eps, silu }
    }

    fn on_cpu(&self, weight: &[f32], bias: Option<&[f32]>, x: &Tensor, silu: bool) -> Result<Tensor> {
        const OP: &str = "a group normalisation";
        let x = x.contiguous()?;
        if x.rank() < 2 || x.dim(1)? != self.channels || !self.channels.is_multiple_of(self.groups) {
            return Err(unfit(OP, &x));
        }
        let values = CpuValues::of(&x, OP)?;
        let norm = cpu::GroupNorm {
            groups: self.groups,
            channels: self.channels,
            pixels: x.dims()[2..].iter().product(),
            eps: self.eps,
            weight,
            bias: bias.unwrap_or_default(),
            silu,
        };
        cpu_tensor(x.shape(), |out| norm.forward(cpu::Level::best(), &values, out))
    }

    fn on_device(&self, weight: &Tensor, bias: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
        let (batch, channels) = (x.dim(0)?, x.dim(1)?);
        let dtype = x.dtype();
        let flat = x.to_dtype(DType::F32)?.reshape((batch, self.groups, ()))?;
        let mean = flat.mean_keepdim(2)?;
        let centred = flat.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(2)?;
        let normed =
            centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?.reshape((batch, channels, ()))?;
        let mut y = normed.broadcast_mul(&weight.to_dtype(DType::F32)?.reshape((1, channels, 1))?)?;
        if let Some(bias) = bias {
            y = y.broadcast_add(&bias.to_dtype(DType::F32)?.reshape((1, channels, 1))?)?;
        }
        Ok(y.to_dtype(dtype)?.reshape(x.shape())?)
    }
}

/// Layer normalisation over the last dimension.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    params: Params<Vec<f32>>,
    size: usize,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, both `[size]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, size: usize, eps: f64) -> Result<Self> {
        Ok(Self { params: Params::<Vec<f32>>::load(weights, size)?, size, eps })
    }

    /// `[.., size]` to `[.., size]`.
    ///
    /// # Errors
    /// When the last dimension is not `size` or the device has no memory left.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        const OP: &str = "a layer normalisation";
        let _span = profile::op("layer_norm", x, || profile::sizes(x))?;
        match &self.params {
            Params::Cpu { weight, bias } => {
                let x = x.contiguous()?;
                if x.dims().last() != Some(&self.size) {
                    return Err(unfit(OP, &x));
                }
                let values = CpuValues::of(&x, OP)?;
                let norm =
                    cpu::LayerNorm { eps: self.eps, weight, bias: bias.as_deref().unwrap_or_default() };
                cpu_tensor(x.shape(), |out| norm.forward(cpu::Level::best(), &values, out))
            }
            Params::Device { weight, bias } => {
                #[cfg(feature = "cuda")]
                if let (Some(bias), true) = (bias, cuda::takes(x))
                    && let Some(y) = cuda::layer_norm(x, weight, bias, self.eps)?
                {
                    return Ok(y);
                }
                let norm = match bias {
                    Some(bias) => candle_nn::LayerNorm::new(weight.clone(), bias.clone(), self.eps),
                    None => candle_nn::LayerNorm::new_no_bias(weight.clone(), self.eps),
                };
                Ok(norm.forward(x)?)
            }
        }
    }
}
