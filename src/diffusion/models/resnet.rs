//! Residual blocks and the changes of resolution between them, which UNet and VAE share.
//!
//! Source: diffusers 0.42.1, `models/resnet.py`, `models/downsampling.py`, `models/upsampling.py`.

use candle_core::Tensor;

use crate::diffusion::error::Result;
use crate::diffusion::nn::{Activation, Conv2d, GroupNorm, Linear, OpLimits};
use crate::diffusion::weights::Weights;

/// What all residual blocks of a network have in common.
#[derive(Clone, Copy, Debug)]
pub struct ResnetSpec {
    /// Width of the time embedding; `None` for a VAE.
    pub temb_channels: Option<usize>,
    /// Groups of both norms.
    pub groups: usize,
    /// ε of both norms.
    pub eps: f64,
    /// Activation after both norms.
    pub act: Activation,
    /// The time embedding scales and shifts after the second norm instead of being added before it.
    pub scale_shift: bool,
    /// The sum of input and output is divided by this.
    pub output_scale_factor: f64,
}

/// Norm, activation and 3×3 convolution, twice, around a shortcut.
#[derive(Clone, Debug)]
pub struct ResnetBlock2D {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    spec: ResnetSpec,
}

impl ResnetBlock2D {
    /// Reads `norm1 conv1 time_emb_proj norm2 conv2` and, where the channels change, `conv_shortcut`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, inputs: usize, outputs: usize, spec: &ResnetSpec) -> Result<Self> {
        let time_emb_proj = spec.temb_channels.map(|channels| {
            let width = if spec.scale_shift { 2 * outputs } else { outputs };
            Linear::load(&weights.pp("time_emb_proj"), channels, width)
        });
        let conv_shortcut =
            (inputs != outputs).then(|| Conv2d::load(&weights.pp("conv_shortcut"), inputs, outputs, 1, 1, 0));
        Ok(Self {
            norm1: GroupNorm::load(&weights.pp("norm1"), spec.groups, inputs, spec.eps)?,
            conv1: Conv2d::load(&weights.pp("conv1"), inputs, outputs, 3, 1, 1)?,
            time_emb_proj: time_emb_proj.transpose()?,
            norm2: GroupNorm::load(&weights.pp("norm2"), spec.groups, outputs, spec.eps)?,
            conv2: Conv2d::load(&weights.pp("conv2"), outputs, outputs, 3, 1, 1)?,
            conv_shortcut: conv_shortcut.transpose()?,
            spec: *spec,
        })
    }

    /// `[b, inputs, h, w]` to `[b, outputs, h, w]`.
    ///
    /// `activated_temb` is the time embedding *after* the activation, `[b or 1, temb_channels]`: every block of
    /// a network applies the same one.
    ///
    /// # Errors
    /// When a shape does not fit or the device has no memory left.
    pub fn forward(&self, x: &Tensor, activated_temb: Option<&Tensor>, limits: &OpLimits) -> Result<Tensor> {
        let temb = match (&self.time_emb_proj, activated_temb) {
            (Some(proj), Some(temb)) => Some(proj.forward(temb)?),
            _ => None,
        };
        let hidden = self.first_half(x, temb.as_ref(), limits)?;
        let hidden = self.second_norm(hidden, temb.as_ref())?;
        let sum = match &self.conv_shortcut {
            Some(conv) => self.conv2.forward_add(&hidden, &conv.forward(x, limits)?, limits)?,
            None => self.conv2.forward_add(&hidden, x, limits)?,
        };
        if (self.spec.output_scale_factor - 1.).abs() < f64::EPSILON {
            return Ok(sum);
        }
        Ok((sum / self.spec.output_scale_factor)?)
    }

    /// Up to the first convolution, whose normed input is gone when this returns.
    fn first_half(&self, x: &Tensor, temb: Option<&Tensor>, limits: &OpLimits) -> Result<Tensor> {
        let normed = norm_act(&self.norm1, self.spec.act, x)?;
        match temb {
            Some(temb) if !self.spec.scale_shift => self.conv1.forward_shifted(&normed, temb, limits),
            _ => self.conv1.forward(&normed, limits),
        }
    }

    /// The second norm, which takes `hidden` away.
    fn second_norm(&self, hidden: Tensor, temb: Option<&Tensor>) -> Result<Tensor> {
        match temb {
            Some(temb) if self.spec.scale_shift => {
                let parts = temb.unsqueeze(2)?.unsqueeze(3)?.chunk(2, 1)?;
                let normed = self.norm2.forward(&hidden)?;
                drop(hidden);
                let scaled = normed.broadcast_mul(&(&parts[0] + 1.)?)?.broadcast_add(&parts[1])?;
                self.spec.act.forward(&scaled)
            }
            _ => norm_act(&self.norm2, self.spec.act, &hidden),
        }
    }
}

/// The activation of the norm of `x`, in one pass where there is one.
pub(super) fn norm_act(norm: &GroupNorm, act: Activation, x: &Tensor) -> Result<Tensor> {
    if act == Activation::Silu { norm.forward_silu(x) } else { act.forward(&norm.forward(x)?) }
}

/// Halves the resolution with a 3×3 convolution of stride 2.
#[derive(Clone, Debug)]
pub struct Downsample2D {
    conv: Conv2d,
    pad_right_and_bottom: bool,
}

impl Downsample2D {
    /// Reads `conv`. `padding` 0 pads one column on the right and one row at the bottom instead, as VAEs do.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, channels: usize, padding: usize) -> Result<Self> {
        let conv = Conv2d::load(&weights.pp("conv"), channels, channels, 3, 2, padding)?;
        Ok(Self { conv, pad_right_and_bottom: padding == 0 })
    }

    /// `[b, c, h, w]` to `[b, c, ⌈h/2⌉, ⌈w/2⌉]` (⌊⌋ when padding is 0).
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn forward(&self, x: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        if !self.pad_right_and_bottom {
            return self.conv.forward(x, limits);
        }
        let padded = x.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
        self.conv.forward(&padded, limits)
    }
}

/// Raises the resolution by repeating pixels, then a 3×3 convolution.
#[derive(Clone, Debug)]
pub struct Upsample2D {
    conv: Conv2d,
}

impl Upsample2D {
    /// Reads `conv`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, channels: usize) -> Result<Self> {
        Ok(Self { conv: Conv2d::load(&weights.pp("conv"), channels, channels, 3, 1, 1)? })
    }

    /// `[b, c, h, w]` to `[b, c, size.0, size.1]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn forward(&self, x: &Tensor, size: (usize, usize), limits: &OpLimits) -> Result<Tensor> {
        self.conv.forward_upsampled(x, size, limits)
    }
}
