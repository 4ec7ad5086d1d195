//! The encoder and the decoder.
//!
//! Source: diffusers 0.42.1, `models/autoencoders/vae.py`, `models/unets/unet_2d_blocks.py` (`DownEncoderBlock2D`,
//! `UpDecoderBlock2D`, `UNetMidBlock2D`), `models/attention_processor.py` (`Attention` of a deprecated block).

use candle_core::Tensor;

use super::config::VaeConfig;
use crate::diffusion::error::Result;
use crate::diffusion::models::resnet::{Downsample2D, ResnetBlock2D, ResnetSpec, Upsample2D};
use crate::diffusion::nn::{Conv2d, GroupNorm, Linear, OpLimits, attention};
use crate::diffusion::weights::Weights;

const EPS: f64 = 1e-6;

fn resnet_spec(config: &VaeConfig) -> ResnetSpec {
    ResnetSpec {
        temb_channels: None,
        groups: config.norm_num_groups,
        eps: EPS,
        act: config.act_fn,
        scale_shift: false,
        output_scale_factor: 1.,
    }
}

/// `count` resnets below `resnets`, the first of which changes the channels.
fn resnets(
    weights: &Weights,
    inputs: usize,
    outputs: usize,
    count: usize,
    spec: &ResnetSpec,
) -> Result<Vec<ResnetBlock2D>> {
    (0..count)
        .map(|i| {
            let inputs = if i == 0 { inputs } else { outputs };
            ResnetBlock2D::load(&weights.pp("resnets").pp(i), inputs, outputs, spec)
        })
        .collect()
}

/// A picture to the moments of its latents.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    blocks: Vec<(Vec<ResnetBlock2D>, Option<Downsample2D>)>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    pub fn load(weights: &Weights, config: &VaeConfig) -> Result<Self> {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let spec = resnet_spec(config);
        let blocks = (0..channels.len())
            .map(|i| {
                let weights = weights.pp("down_blocks").pp(i);
                let inputs = channels[i.saturating_sub(1)];
                let downsampler = (i + 1 < channels.len())
                    .then(|| Downsample2D::load(&weights.pp("downsamplers.0"), channels[i], 0));
                Ok((
                    resnets(&weights, inputs, channels[i], config.layers_per_block, &spec)?,
                    downsampler.transpose()?,
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            conv_in: Conv2d::load(&weights.pp("conv_in"), config.in_channels, first, 3, 1, 1)?,
            blocks,
            mid_block: MidBlock::load(&weights.pp("mid_block"), last, config)?,
            conv_norm_out: GroupNorm::load(&weights.pp("conv_norm_out"), config.norm_num_groups, last, EPS)?,
            conv_out: Conv2d::load(&weights.pp("conv_out"), last, 2 * config.latent_channels, 3, 1, 1)?,
        })
    }

    pub fn forward(&self, picture: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let mut hidden = self.conv_in.forward(picture, limits)?;
        for (resnets, downsampler) in &self.blocks {
            for resnet in resnets {
                hidden = resnet.forward(&hidden, None, limits)?;
            }
            if let Some(downsampler) = downsampler {
                hidden = downsampler.forward(&hidden, limits)?;
            }
        }
        hidden = self.mid_block.forward(&hidden, limits)?;
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&hidden)?, limits)
    }
}

/// Latents to a picture.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    blocks: Vec<(Vec<ResnetBlock2D>, Option<Upsample2D>)>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    pub fn load(weights: &Weights, config: &VaeConfig) -> Result<Self> {
        let channels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let (last, first) = (channels[0], channels[channels.len() - 1]);
        let spec = resnet_spec(config);
        let blocks = (0..channels.len())
            .map(|i| {
                let weights = weights.pp("up_blocks").pp(i);
                let inputs = channels[i.saturating_sub(1)];
                let upsampler = (i + 1 < channels.len())
                    .then(|| Upsample2D::load(&weights.pp("upsamplers.0"), channels[i]));
                Ok((
                    resnets(&weights, inputs, channels[i], config.layers_per_block + 1, &spec)?,
                    upsampler.transpose()?,
                ))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            conv_in: Conv2d::load(&weights.pp("conv_in"), config.latent_channels, last, 3, 1, 1)?,
            mid_block: MidBlock::load(&weights.pp("mid_block"), last, config)?,
            blocks,
            conv_norm_out: GroupNorm::load(&weights.pp("conv_norm_out"), config.norm_num_groups, first, EPS)?,
            conv_out: Conv2d::load(&weights.pp("conv_out"), first, config.out_channels, 3, 1, 1)?,
        })
    }

    pub fn forward(&self, latents: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let mut hidden = self.conv_in.forward(latents, limits)?;
        hidden = self.mid_block.forward(&hidden, limits)?;
        for (resnets, upsampler) in &self.blocks {
            for resnet in resnets {
                hidden = resnet.forward(&hidden, None, limits)?;
            }
            if let Some(upsampler) = upsampler {
                let size = (2 * hidden.dim(2)?, 2 * hidden.dim(3)?);
                hidden = upsampler.forward(&hidden, size, limits)?;
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&hidden)?, limits)
    }
}

/// Resnet, attention where the config has it, resnet.
#[derive(Clone, Debug)]
struct MidBlock {
    first: ResnetBlock2D,
    attention: Option<Attention>,
    second: ResnetBlock2D,
}

impl MidBlock {
    fn load(weights: &Weights, channels: usize, config: &VaeConfig) -> Result<Self> {
        let spec = resnet_spec(config);
        let resnet = |i: usize| ResnetBlock2D::load(&weights.pp("resnets").pp(i), channels, channels, &spec);
        let attention = config
            .mid_block_add_attention
            .then(|| Attention::load(&weights.pp("attentions.0"), channels, config.norm_num_groups));
        Ok(Self { first: resnet(0)?, attention: attention.transpose()?, second: resnet(1)? })
    }

    fn forward(&self, x: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let mut hidden = self.first.forward(x, None, limits)?;
        if let Some(attention) = &self.attention {
            hidden = attention.forward(&hidden, limits)?;
        }
        self.second.forward(&hidden, None, limits)
    }
}

/// Attention of each pixel to all, with one head as wide as the channels, around a shortcut.
#[derive(Clone, Debug)]
struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    scale: f64,
}

impl Attention {
    /// Reads `group_norm to_q to_k to_v to_out.0`, or `query key value proj_attn` as older files have it, also as
    /// 1×1 convolutions.
    fn load(weights: &Weights, channels: usize, groups: usize) -> Result<Self> {
        let projection = |name: &str, old: &str| {
            let name = if weights.contains(&format!("{old}.weight")) { old } else { name };
            Linear::load_pointwise(&weights.pp(name), channels, channels)
        };
        Ok(Self {
            group_norm: GroupNorm::load(&weights.pp("group_norm"), groups, channels, EPS)?,
            to_q: projection("to_q", "query")?,
            to_k: projection("to_k", "key")?,
            to_v: projection("to_v", "value")?,
            to_out: projection("to_out.0", "proj_attn")?,
            scale: 1. / (channels as f64).sqrt(),
        })
    }

    fn forward(&self, x: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let normed = self.group_norm.forward(x)?;
        let project = |linear: &Linear| linear.forward_from_pixels(&normed);
        let (q, k, v) = (project(&self.to_q)?, project(&self.to_k)?, project(&self.to_v)?);
        self.to_out.forward_to_pixels_add(&attention(&q, &k, &v, 1, self.scale, false, limits)?, x)
    }
}
