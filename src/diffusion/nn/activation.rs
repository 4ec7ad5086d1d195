//! Activations by the names that configs use.

use candle_core::{D, Tensor};
use serde::Deserialize;

#[cfg(feature = "cuda")]
use super::cuda;
use super::param::{CpuValues, cpu_tensor, is_cpu_f32};
use super::{cpu, metal, profile};
use crate::diffusion::error::{DiffusionError, Result};

/// An elementwise activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · σ(x)`, also called swish.
    #[serde(alias = "swish")]
    Silu,
    /// The exact GELU with the error function, as `torch.nn.functional.gelu`.
    Gelu,
    /// `x · σ(1.702 x)`, `OpenAI` CLIP's.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `x · tanh(softplus(x))`.
    Mish,
}

impl Activation {
    /// The activation that `file` names in `key`.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn from_config(file: &str, key: &str, name: &str) -> Result<Self> {
        match name {
            "silu" | "swish" => Ok(Self::Silu),
            "gelu" => Ok(Self::Gelu),
            "quick_gelu" => Ok(Self::QuickGelu),
            "relu" => Ok(Self::Relu),
            "mish" => Ok(Self::Mish),
            _ => {
                Err(DiffusionError::unsupported(file, key, name, "silu, swish, gelu, quick_gelu, relu, mish"))
            }
        }
    }

    /// Applies it to every element.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        let _span = profile::op("activation", x, || format!("{} {self:?}", profile::sizes(x)))?;
        if is_cpu_f32(x) {
            match self {
                Self::Silu => return on_cpu(x, cpu::Swish(1.)),
                Self::QuickGelu => return on_cpu(x, cpu::Swish(1.702)),
                Self::Gelu => return on_cpu(x, cpu::Gelu),
                Self::Relu | Self::Mish => {}
            }
        }
        #[cfg(feature = "cuda")]
        if cuda::takes(x) {
            return cuda::activate(self, x);
        }
        Ok(match self {
            Self::Silu => candle_nn::ops::silu(x)?,
            Self::Gelu => x.gelu_erf()?,
            Self::QuickGelu => (x * candle_nn::ops::sigmoid(&(x * 1.702)?)?)?,
            Self::Relu => x.relu()?,
            Self::Mish => {
                // softplus(x) = max(x, 0) + ln(1 + e^-|x|) does not overflow.
                let softplus = (x.relu()? + ((x.abs()?.neg()?.exp()? + 1.)?).log()?)?;
                (x * softplus.tanh()?)?
            }
        })
    }
}

fn on_cpu(x: &Tensor, f: impl cpu::Elementwise) -> Result<Tensor> {
    let x = x.contiguous()?;
    let values = CpuValues::of(&x, "an activation")?;
    cpu_tensor(x.shape(), |out| cpu::map(cpu::Level::best(), f, &values, out))
}

/// `x + y`. Where `y` has fewer values than `x`, it is added to every part of `x` of its size: its dimensions are the
/// last ones of `x`, with or without ones before them.
///
/// # Errors
/// When the shapes do not fit or the device has no memory left.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let _span = profile::op("add", x, || profile::sizes(x))?;
    #[cfg(feature = "cuda")]
    if cuda::takes(x) && x.dtype() == y.dtype() {
        return cuda::add(x, y);
    }
    Ok(x.broadcast_add(y)?)
}

/// diffusers' GEGLU: of `[.., 2 d]` the first half times the GELU of the second, `[.., d]`.
///
/// # Errors
/// When the last dimension is odd or the device has no memory left.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let _span = profile::op("geglu", x, || profile::sizes(x))?;
    if metal::takes(x) {
        return metal::geglu(x, None);
    }
    let halves = x.chunk(2, D::Minus1)?;
    Ok((&halves[0] * halves[1].gelu_erf()?)?)
}
