//! The blocks of the way down, the bottom and the way up.
//!
//! A block without cross-attention is one with cross-attention whose list of attentions is empty.
//! Source: diffusers 0.42.1, `models/unets/unet_2d_blocks.py`.

use candle_core::Tensor;

use super::transformer::{Transformer2DModel, TransformerSpec};
use crate::diffusion::error::Result;
use crate::diffusion::models::resnet::{Downsample2D, ResnetBlock2D, ResnetSpec, Upsample2D};
use crate::diffusion::nn::OpLimits;
use crate::diffusion::weights::Weights;

/// What every block of one forward pass sees.
pub(super) struct Conditioning<'a> {
    /// The activated time embedding, `[b or 1, time_embed_dim]`.
    pub temb: &'a Tensor,
    /// `[b, n, cross_attention_dim]`.
    pub text: &'a Tensor,
    pub limits: &'a OpLimits,
}

/// Channels of a block and what hangs on them.
pub(super) struct BlockSpec<'a> {
    pub inputs: usize,
    pub outputs: usize,
    pub resnet: &'a ResnetSpec,
    pub transformer: TransformerSpec,
    /// Transformer layers of each attention; empty where the block has none.
    pub depths: &'a [usize],
}

impl BlockSpec<'_> {
    fn attentions(&self, weights: &Weights) -> Result<Vec<Transformer2DModel>> {
        let weights = weights.pp("attentions");
        self.depths
            .iter()
            .enumerate()
            .map(|(i, depth)| {
                Transformer2DModel::load(
                    &weights.pp(i),
                    &TransformerSpec { depth: *depth, ..self.transformer },
                )
            })
            .collect()
    }
}

/// `DownBlock2D` and `CrossAttnDownBlock2D`.
#[derive(Clone, Debug)]
pub(super) struct DownBlock {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    downsampler: Option<Downsample2D>,
}

impl DownBlock {
    /// `downsample` is the padding of the convolution that halves, `None` in the last block.
    pub fn load(
        weights: &Weights,
        spec: &BlockSpec<'_>,
        layers: usize,
        downsample: Option<usize>,
    ) -> Result<Self> {
        let resnets = (0..layers)
            .map(|i| {
                let inputs = if i == 0 { spec.inputs } else { spec.outputs };
                ResnetBlock2D::load(&weights.pp("resnets").pp(i), inputs, spec.outputs, spec.resnet)
            })
            .collect::<Result<_>>()?;
        let downsampler = downsample
            .map(|padding| Downsample2D::load(&weights.pp("downsamplers.0"), spec.outputs, padding))
            .transpose()?;
        Ok(Self { resnets, attentions: spec.attentions(weights)?, downsampler })
    }

    /// Pushes every state that the way up will see onto `skips`.
    pub fn forward(&self, x: Tensor, cond: &Conditioning<'_>, skips: &mut Vec<Tensor>) -> Result<Tensor> {
        let mut hidden = self.forward_level(x, cond, skips)?;
        if let Some(downsampler) = &self.downsampler {
            hidden = downsampler.forward(&hidden, cond.limits)?;
            skips.push(hidden.clone());
        }
        Ok(hidden)
    }

    /// [`Self::forward`] without what halves the resolution.
    pub fn forward_level(
        &self,
        x: Tensor,
        cond: &Conditioning<'_>,
        skips: &mut Vec<Tensor>,
    ) -> Result<Tensor> {
        let mut hidden = x;
        for (i, resnet) in self.resnets.iter().enumerate() {
            hidden = resnet.forward(&hidden, Some(cond.temb), cond.limits)?;
            if let Some(attention) = self.attentions.get(i) {
                hidden = attention.forward(&hidden, cond.text, cond.limits)?;
            }
            skips.push(hidden.clone());
        }
        Ok(hidden)
    }
}

/// `UNetMidBlock2D` (one resnet) and `UNetMidBlock2DCrossAttn` (resnet, transformer, resnet).
#[derive(Clone, Debug)]
pub(super) struct MidBlock {
    first: ResnetBlock2D,
    rest: Vec<(Transformer2DModel, ResnetBlock2D)>,
}

impl MidBlock {
    pub fn load(weights: &Weights, spec: &BlockSpec<'_>) -> Result<Self> {
        let resnet = |i: usize| {
            ResnetBlock2D::load(&weights.pp("resnets").pp(i), spec.inputs, spec.outputs, spec.resnet)
        };
        let first = resnet(0)?;
        let attentions = spec.attentions(weights)?;
        let rest = attentions
            .into_iter()
            .enumerate()
            .map(|(i, attention)| Ok((attention, resnet(i + 1)?)))
            .collect::<Result<_>>()?;
        Ok(Self { first, rest })
    }

    pub fn forward(&self, x: &Tensor, cond: &Conditioning<'_>) -> Result<Tensor> {
        let mut hidden = self.first.forward(x, Some(cond.temb), cond.limits)?;
        for (attention, resnet) in &self.rest {
            hidden = attention.forward(&hidden, cond.text, cond.limits)?;
            hidden = resnet.forward(&hidden, Some(cond.temb), cond.limits)?;
        }
        Ok(hidden)
    }
}

/// `UpBlock2D` and `CrossAttnUpBlock2D`.
#[derive(Clone, Debug)]
pub(super) struct UpBlock {
    resnets: Vec<ResnetBlock2D>,
    attentions: Vec<Transformer2DModel>,
    upsampler: Option<Upsample2D>,
}

impl UpBlock {
    /// `spec.inputs` are the channels from below, `skip_channels` those of the last skip, which the way down had
    /// before this block's resolution.
    pub fn load(
        weights: &Weights,
        spec: &BlockSpec<'_>,
        layers: usize,
        skip_channels: usize,
        upsample: bool,
    ) -> Result<Self> {
        let resnets = (0..layers)
            .map(|i| {
                let below = if i == 0 { spec.inputs } else { spec.outputs };
                let skip = if i + 1 == layers { skip_channels } else { spec.outputs };
                ResnetBlock2D::load(&weights.pp("resnets").pp(i), below + skip, spec.outputs, spec.resnet)
            })
            .collect::<Result<_>>()?;
        let upsampler =
            upsample.then(|| Upsample2D::load(&weights.pp("upsamplers.0"), spec.outputs)).transpose()?;
        Ok(Self { resnets, attentions: spec.attentions(weights)?, upsampler })
    }

    /// Pops this block's skips. Where it raises the resolution, it does so to the size of the next skip, so that
    /// odd sizes come back as they were.
    pub fn forward(&self, x: Tensor, cond: &Conditioning<'_>, skips: &mut Vec<Tensor>) -> Result<Tensor> {
        let mut hidden = x;
        for (i, resnet) in self.resnets.iter().enumerate() {
            if let Some(skip) = skips.pop() {
                hidden = Tensor::cat(&[&hidden, &skip], 1)?;
            }
            hidden = resnet.forward(&hidden, Some(cond.temb), cond.limits)?;
            if let Some(attention) = self.attentions.get(i) {
                hidden = attention.forward(&hidden, cond.text, cond.limits)?;
            }
        }
        if let (Some(upsampler), Some(skip)) = (&self.upsampler, skips.last()) {
            hidden = upsampler.forward(&hidden, (skip.dim(2)?, skip.dim(3)?), cond.limits)?;
        }
        Ok(hidden)
    }
}
