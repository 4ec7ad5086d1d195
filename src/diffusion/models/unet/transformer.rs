//! The transformers between resnets: self-attention, attention to the text, feed-forward.
//!
//! Source: diffusers 0.42.1, `models/transformers/transformer_2d.py`, `models/attention.py`
//! (`BasicTransformerBlock`).

use candle_core::Tensor;

use crate::diffusion::error::Result;
use crate::diffusion::nn::{GroupNorm, Heads, LayerNorm, Linear, OpLimits, attention};
use crate::diffusion::weights::Weights;

const GROUP_NORM_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;
/// Inner width of the feed-forward, in widths of the block.
const FEED_FORWARD_MULTIPLE: usize = 4;

/// The shape of a [`Transformer2DModel`].
#[derive(Clone, Copy, Debug)]
pub(super) struct TransformerSpec {
    pub channels: usize,
    pub heads: usize,
    pub depth: usize,
    pub cross_attention_dim: usize,
    pub only_cross_attention: bool,
    pub groups: usize,
}

/// Attention of each pixel to all pixels and to the text, around a shortcut.
#[derive(Clone, Debug)]
pub(super) struct Transformer2DModel {
    norm: GroupNorm,
    proj_in: Linear,
    blocks: Vec<BasicTransformerBlock>,
    proj_out: Linear,
}

impl Transformer2DModel {
    /// Reads `norm proj_in transformer_blocks.{i} proj_out`; the projections are linear layers or 1×1
    /// convolutions (`use_linear_projection`), which compute the same.
    pub fn load(weights: &Weights, spec: &TransformerSpec) -> Result<Self> {
        let blocks = (0..spec.depth)
            .map(|i| BasicTransformerBlock::load(&weights.pp("transformer_blocks").pp(i), spec))
            .collect::<Result<_>>()?;
        Ok(Self {
            norm: GroupNorm::load(&weights.pp("norm"), spec.groups, spec.channels, GROUP_NORM_EPS)?,
            proj_in: Linear::load_pointwise(&weights.pp("proj_in"), spec.channels, spec.channels)?,
            blocks,
            proj_out: Linear::load_pointwise(&weights.pp("proj_out"), spec.channels, spec.channels)?,
        })
    }

    /// `x` is `[b, c, h, w]`, `text` `[b, n, cross_attention_dim]`.
    pub fn forward(&self, x: &Tensor, text: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let mut hidden = self.proj_in.forward_from_pixels(&self.norm.forward(x)?)?;
        for block in &self.blocks {
            hidden = block.forward(hidden, text, limits)?;
        }
        self.proj_out.forward_to_pixels_add(&hidden, x)
    }
}

#[derive(Clone, Debug)]
struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    feed_forward: FeedForward,
    only_cross_attention: bool,
}

impl BasicTransformerBlock {
    fn load(weights: &Weights, spec: &TransformerSpec) -> Result<Self> {
        let norm = |name: &str| LayerNorm::load(&weights.pp(name), spec.channels, LAYER_NORM_EPS);
        let attn1_dim = if spec.only_cross_attention { spec.cross_attention_dim } else { spec.channels };
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: Attention::load(&weights.pp("attn1"), spec, attn1_dim)?,
            norm2: norm("norm2")?,
            attn2: Attention::load(&weights.pp("attn2"), spec, spec.cross_attention_dim)?,
            norm3: norm("norm3")?,
            feed_forward: FeedForward::load(&weights.pp("ff"), spec.channels)?,
            only_cross_attention: spec.only_cross_attention,
        })
    }

    /// Takes `x` away, so that each sum takes the place of the one before.
    fn forward(&self, mut x: Tensor, text: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        x = {
            let normed = self.norm1.forward(&x)?;
            let context = if self.only_cross_attention { text } else { &normed };
            self.attn1.forward_add(&normed, context, &x, limits)?
        };
        x = self.attn2.forward_add(&self.norm2.forward(&x)?, text, &x, limits)?;
        self.feed_forward.forward_add(self.norm3.forward(&x)?, &x)
    }
}

#[derive(Clone, Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: Heads,
}

impl Attention {
    fn load(weights: &Weights, spec: &TransformerSpec, context_dim: usize) -> Result<Self> {
        let channels = spec.channels;
        let heads = Heads::new(spec.heads, channels, weights.device().location(), weights.dtype());
        Ok(Self {
            to_q: Linear::load_to_heads(&weights.pp("to_q"), channels, &heads, false)?,
            to_k: Linear::load_to_heads(&weights.pp("to_k"), context_dim, &heads, false)?,
            to_v: Linear::load_to_heads(&weights.pp("to_v"), context_dim, &heads, false)?,
            to_out: Linear::load_from_heads(&weights.pp("to_out").pp(0), &heads, channels)?,
            heads,
        })
    }

    /// Of `x` `[b, n, c]` to `context` `[b, m, context_dim]`, around the shortcut `residual` `[b, n, c]`.
    fn forward_add(
        &self,
        x: &Tensor,
        context: &Tensor,
        residual: &Tensor,
        limits: &OpLimits,
    ) -> Result<Tensor> {
        let attended = {
            let (q, k, v) = (self.to_q.forward(x)?, self.to_k.forward(context)?, self.to_v.forward(context)?);
            attention(&q, &k, &v, self.heads.count, self.heads.scale(), false, limits)?
        };
        self.to_out.forward_add(&attended, residual)
    }
}

#[derive(Clone, Debug)]
struct FeedForward {
    proj: Linear,
    out: Linear,
}

impl FeedForward {
    fn load(weights: &Weights, channels: usize) -> Result<Self> {
        let inner = channels * FEED_FORWARD_MULTIPLE;
        Ok(Self {
            proj: Linear::load(&weights.pp("net.0.proj"), channels, 2 * inner)?,
            out: Linear::load(&weights.pp("net.2"), inner, channels)?,
        })
    }

    fn forward_add(&self, x: Tensor, residual: &Tensor) -> Result<Tensor> {
        let wide = self.proj.forward_geglu(&x)?;
        drop(x);
        self.out.forward_add(&wide, residual)
    }
}
