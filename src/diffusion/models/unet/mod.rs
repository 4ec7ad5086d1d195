//! diffusers' `UNet2DConditionModel`: predicts the noise in latents, given a timestep and a text.
//!
//! Source: diffusers 0.42.1, `models/unets/unet_2d_condition.py`.

mod blocks;
mod config;
pub mod cost;
mod embeddings;
mod transformer;

use candle_core::{DType, Device, Tensor};

use blocks::{BlockSpec, Conditioning, DownBlock, MidBlock, UpBlock};
use config::Blocks;
pub use config::{
    AdditionEmbedType, AttentionShape, BlockDepth, Depths, DownBlockType, MidBlockType, TimeScaleShift,
    UNetConfig, UpBlockType,
};
pub use embeddings::guidance_scale_embedding;
use embeddings::{TimestepEmbedding, Timesteps};
use transformer::TransformerSpec;

use super::resnet::{ResnetSpec, norm_act};
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::nn::{Activation, Conv2d, GroupNorm, OpLimits, add, profile};
use crate::diffusion::weights::Weights;

/// What SDXL adds to the timestep.
#[derive(Clone, Debug)]
pub struct AddedCond {
    /// Pooled text, `[b, projection_dim]`.
    pub text_embeds: Tensor,
    /// Original size, crop and target size of each row: `b` lists of the same length.
    pub time_ids: Vec<Vec<f64>>,
}

/// What becomes of the state that comes up from the deep blocks.
#[derive(Clone, Debug)]
pub enum DeepCache {
    /// Nothing.
    Off,
    /// It is kept here.
    Keep(Option<Tensor>),
    /// It was kept before, and is taken instead of being computed.
    Use(Tensor),
}

#[derive(Clone, Debug)]
struct AddEmbedding {
    time_proj: Timesteps,
    embedding: TimestepEmbedding,
}

/// The UNet of Stable Diffusion 1.x, 2.x, SDXL, their Turbo and LCM versions.
#[derive(Clone, Debug)]
pub struct UNet2DConditionModel {
    conv_in: Conv2d,
    time_proj: Timesteps,
    time_embedding: TimestepEmbedding,
    time_embed_act: Option<Activation>,
    add_embedding: Option<AddEmbedding>,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    act: Activation,
    center_input_sample: bool,
    upcast_attention: bool,
    in_channels: usize,
    dtype: DType,
}

impl UNet2DConditionModel {
    /// Builds it and settles the account of `weights`.
    ///
    /// # Errors
    /// When the config contradicts itself, weights are missing, misshapen or unused, or memory runs out.
    pub fn load(weights: &Weights, config: &UNetConfig) -> Result<Self> {
        let blocks = config.blocks("unet/config.json")?;
        let resnet = resnet_spec(config);
        let first = config.block_out_channels.first().copied().unwrap_or_default();
        let time_embed_dim = config.time_embed_dim();
        let time_proj = Timesteps {
            channels: first,
            flip_sin_to_cos: config.flip_sin_to_cos,
            freq_shift: config.freq_shift,
        };
        let kernel = config.conv_in_kernel;
        let out_kernel = config.conv_out_kernel;
        let model = Self {
            conv_in: Conv2d::load(
                &weights.pp("conv_in"),
                config.in_channels,
                first,
                kernel,
                1,
                (kernel - 1) / 2,
            )?,
            time_proj,
            time_embedding: TimestepEmbedding::load(
                &weights.pp("time_embedding"),
                first,
                time_embed_dim,
                config.act_fn,
                config.timestep_post_act,
                config.time_cond_proj_dim,
            )?,
            time_embed_act: config.time_embedding_act_fn,
            add_embedding: load_add_embedding(weights, config)?,
            down_blocks: load_down_blocks(weights, config, &blocks, &resnet)?,
            mid_block: load_mid_block(weights, config, &blocks, &resnet)?,
            up_blocks: load_up_blocks(weights, config, &blocks, &resnet)?,
            conv_norm_out: GroupNorm::load(
                &weights.pp("conv_norm_out"),
                config.norm_num_groups,
                first,
                config.norm_eps,
            )?,
            conv_out: Conv2d::load(
                &weights.pp("conv_out"),
                first,
                config.out_channels,
                out_kernel,
                1,
                (out_kernel - 1) / 2,
            )?,
            act: config.act_fn,
            center_input_sample: config.center_input_sample,
            upcast_attention: config.upcast_attention,
            in_channels: config.in_channels,
            dtype: weights.dtype(),
        };
        weights.finish()?;
        Ok(model)
    }

    /// What the model predicts for `sample` at `timestep`, in the model's dtype.
    ///
    /// - `sample`: `[b, in_channels, h, w]`, any dtype and any size of at least one latent pixel per halving
    /// - `timestep`: of every row; may be fractional
    /// - `encoder_hidden_states`: `[b, n, cross_attention_dim]`, any dtype
    /// - `added`: SDXL's; taken only where `addition_embed_type` is `text_time`, and needed there
    /// - `timestep_cond`: [`guidance_scale_embedding`], `[b or 1, time_cond_proj_dim]`, for models that take it
    ///
    /// Result: `[b, out_channels, h, w]`.
    ///
    /// # Errors
    /// When a shape does not fit, SDXL's conditioning is not given, or the device has no memory left.
    pub fn forward(
        &self,
        sample: &Tensor,
        timestep: f64,
        encoder_hidden_states: &Tensor,
        added: Option<&AddedCond>,
        timestep_cond: Option<&Tensor>,
        limits: &OpLimits,
    ) -> Result<Tensor> {
        // 1. time, and what is added to it
        let row = self.time_proj(timestep);
        let row = Tensor::from_vec(row, (1, self.time_channels()), &Device::Cpu)?
            .to_dtype(self.dtype)?
            .to_device(sample.device())?;
        let temb = self.time_embed(&row, self.aug_embed(added)?.as_ref(), timestep_cond)?;
        self.forward_embedded(sample, &temb, encoder_hidden_states, limits)
    }

    /// As [`Self::forward`], of the time embedding that [`Self::time_embed`] makes: what is the same in every step but
    /// for its inputs.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_embedded(
        &self,
        sample: &Tensor,
        temb: &Tensor,
        encoder_hidden_states: &Tensor,
        limits: &OpLimits,
    ) -> Result<Tensor> {
        self.forward_caching(sample, temb, encoder_hidden_states, &mut DeepCache::Off, limits)
    }

    /// As [`Self::forward_embedded`], with the state that comes up from the deep blocks kept or taken from an earlier
    /// call. With it only the blocks of the outermost resolution are computed.
    ///
    /// Source: Ma, Fang, Wang, "DeepCache: Accelerating Diffusion Models for Free", 2023.
    ///
    /// # Errors
    /// As [`Self::forward`], and when the state was kept for other rows or another size.
    pub fn forward_caching(
        &self,
        sample: &Tensor,
        temb: &Tensor,
        encoder_hidden_states: &Tensor,
        cache: &mut DeepCache,
        limits: &OpLimits,
    ) -> Result<Tensor> {
        let _span = profile::call(if let DeepCache::Use(_) = cache { "unet, outermost" } else { "unet" });
        let (_, channels, _, _) = sample.dims4()?;
        if channels != self.in_channels {
            return Err(DiffusionError::Request(format!(
                "this UNet takes latents of {} channels, not {channels}: it belongs to another pipeline",
                self.in_channels
            )));
        }
        let limits =
            OpLimits { upcast_attention: limits.upcast_attention || self.upcast_attention, ..*limits };

        // 0. cast and centre
        let sample = sample.to_dtype(self.dtype)?;
        let sample = if self.center_input_sample { ((sample * 2.)? - 1.)? } else { sample };
        let text = encoder_hidden_states.to_dtype(self.dtype)?;
        let cond = Conditioning { temb, text: &text, limits: &limits };

        // 2. pre-process
        let mut hidden = self.conv_in.forward(&sample, &limits)?;

        // 3. down
        let mut skips = vec![hidden.clone()];
        let (outermost, deep_up_blocks) = match self.up_blocks.split_last() {
            Some((last, rest)) => (Some(last), rest),
            None => (None, &[][..]),
        };
        if let (DeepCache::Use(deep), Some(block)) = (&*cache, self.down_blocks.first()) {
            block.forward_level(hidden, &cond, &mut skips)?;
            hidden = deep.clone();
        } else {
            for block in &self.down_blocks {
                hidden = block.forward(hidden, &cond, &mut skips)?;
            }

            // 4. mid
            if let Some(block) = &self.mid_block {
                hidden = block.forward(&hidden, &cond)?;
            }

            // 5. up
            for block in deep_up_blocks {
                hidden = block.forward(hidden, &cond, &mut skips)?;
            }
            if let DeepCache::Keep(deep) = cache {
                *deep = Some(hidden.clone());
            }
        }
        if let Some(block) = outermost {
            hidden = block.forward(hidden, &cond, &mut skips)?;
        }

        // 6. post-process
        self.conv_out.forward(&norm_act(&self.conv_norm_out, self.act, &hidden)?, &limits)
    }

    /// The timestep as sinusoids, one row of [`Self::time_channels`] values: what [`Self::time_embed`] reads.
    pub fn time_proj(&self, timestep: f64) -> Vec<f32> {
        self.time_proj.rows(&[timestep])
    }

    /// Length of [`Self::time_proj`].
    pub fn time_channels(&self) -> usize {
        self.time_proj.channels
    }

    /// What the model computes in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The embedding of SDXL's `added`, `[b, time_embed_dim]`, the same in every step; nothing where the model takes
    /// none.
    ///
    /// # Errors
    /// When the model needs it and it is not given, or the device has no memory left.
    pub fn aug_embed(&self, added: Option<&AddedCond>) -> Result<Option<Tensor>> {
        let Some(add) = &self.add_embedding else { return Ok(None) };
        let added = added.ok_or_else(|| {
            DiffusionError::Request(
                "this UNet needs pooled text embeddings and sizes (addition_embed_type = text_time)".into(),
            )
        })?;
        Ok(Some(add.forward(added, self.dtype)?))
    }

    /// The time embedding after the activation that every resnet begins with, `[b or 1, time_embed_dim]`: of
    /// [`Self::time_proj`] as `[1, time_channels]` in the model's dtype, and of [`Self::aug_embed`].
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn time_embed(
        &self,
        time_proj: &Tensor,
        aug_embed: Option<&Tensor>,
        timestep_cond: Option<&Tensor>,
    ) -> Result<Tensor> {
        let condition = timestep_cond.map(|cond| cond.to_dtype(self.dtype)).transpose()?;
        let mut emb = self.time_embedding.forward(time_proj, condition.as_ref())?;
        if let Some(aug_embed) = aug_embed {
            emb = add(aug_embed, &emb)?;
        }
        if let Some(act) = self.time_embed_act {
            emb = act.forward(&emb)?;
        }
        self.act.forward(&emb)
    }
}

impl AddEmbedding {
    fn forward(&self, added: &AddedCond, dtype: DType) -> Result<Tensor> {
        let rows = added.text_embeds.dim(0)?;
        let ids: Vec<f64> = added.time_ids.iter().flatten().copied().collect();
        let width = ids.len().checked_div(rows).unwrap_or(0) * self.time_proj.channels;
        let embeds = Tensor::from_vec(self.time_proj.rows(&ids), (rows, width), &Device::Cpu)?
            .to_device(added.text_embeds.device())?;
        let text = added.text_embeds.to_dtype(DType::F32)?;
        self.embedding.forward(&Tensor::cat(&[&text, &embeds], 1)?.to_dtype(dtype)?, None)
    }
}

fn resnet_spec(config: &UNetConfig) -> ResnetSpec {
    ResnetSpec {
        temb_channels: Some(config.time_embed_dim()),
        groups: config.norm_num_groups,
        eps: config.norm_eps,
        act: config.act_fn,
        scale_shift: config.resnet_time_scale_shift == TimeScaleShift::ScaleShift,
        output_scale_factor: 1.,
    }
}

fn load_add_embedding(weights: &Weights, config: &UNetConfig) -> Result<Option<AddEmbedding>> {
    let (Some(AdditionEmbedType::TextTime), Some(channels), Some(inputs)) = (
        config.addition_embed_type,
        config.addition_time_embed_dim,
        config.projection_class_embeddings_input_dim,
    ) else {
        return Ok(None);
    };
    let time_proj =
        Timesteps { channels, flip_sin_to_cos: config.flip_sin_to_cos, freq_shift: config.freq_shift };
    let weights = weights.pp("add_embedding");
    let outputs = config.time_embed_dim();
    let embedding = TimestepEmbedding::load(&weights, inputs, outputs, Activation::Silu, None, None)?;
    Ok(Some(AddEmbedding { time_proj, embedding }))
}

fn transformer_spec(config: &UNetConfig, blocks: &Blocks, i: usize) -> TransformerSpec {
    TransformerSpec {
        channels: config.block_out_channels[i],
        heads: blocks.heads[i],
        depth: 1,
        cross_attention_dim: blocks.cross_attention_dim[i],
        only_cross_attention: blocks.only_cross_attention[i],
        groups: config.norm_num_groups,
    }
}

fn load_down_blocks(
    weights: &Weights,
    config: &UNetConfig,
    blocks: &Blocks,
    resnet: &ResnetSpec,
) -> Result<Vec<DownBlock>> {
    let channels = &config.block_out_channels;
    (0..channels.len())
        .map(|i| {
            let spec = BlockSpec {
                inputs: channels[i.saturating_sub(1)],
                outputs: channels[i],
                resnet,
                transformer: transformer_spec(config, blocks, i),
                depths: &blocks.depths.down[i],
            };
            let downsample = (i + 1 < channels.len()).then_some(config.downsample_padding);
            DownBlock::load(&weights.pp("down_blocks").pp(i), &spec, blocks.layers[i], downsample)
        })
        .collect()
}

fn load_mid_block(
    weights: &Weights,
    config: &UNetConfig,
    blocks: &Blocks,
    resnet: &ResnetSpec,
) -> Result<Option<MidBlock>> {
    let Some(kind) = config.mid_block_type else { return Ok(None) };
    let last = config.block_out_channels.len() - 1;
    let channels = config.block_out_channels[last];
    let depths = match kind {
        MidBlockType::UNetMidBlock2D => vec![],
        MidBlockType::UNetMidBlock2DCrossAttn => vec![blocks.depths.mid],
    };
    let spec = BlockSpec {
        inputs: channels,
        outputs: channels,
        resnet: &ResnetSpec { output_scale_factor: config.mid_block_scale_factor, ..*resnet },
        // diffusers does not hand `only_cross_attention` to this block
        transformer: TransformerSpec {
            only_cross_attention: false,
            ..transformer_spec(config, blocks, last)
        },
        depths: &depths,
    };
    Ok(Some(MidBlock::load(&weights.pp("mid_block"), &spec)?))
}

fn load_up_blocks(
    weights: &Weights,
    config: &UNetConfig,
    blocks: &Blocks,
    resnet: &ResnetSpec,
) -> Result<Vec<UpBlock>> {
    let channels = &config.block_out_channels;
    let last = channels.len() - 1;
    (0..=last)
        .map(|i| {
            // block `i` from the bottom mirrors block `level` of the way down
            let level = last - i;
            let spec = BlockSpec {
                inputs: channels[(level + 1).min(last)],
                outputs: channels[level],
                resnet,
                transformer: transformer_spec(config, blocks, level),
                depths: &blocks.depths.up[i],
            };
            let skip = channels[level.saturating_sub(1)];
            UpBlock::load(&weights.pp("up_blocks").pp(i), &spec, blocks.layers[level] + 1, skip, i < last)
        })
        .collect()
}
