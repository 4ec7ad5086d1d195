//! `unet/config.json`: every key of diffusers' `UNet2DConditionModel`, with its defaults.

use serde::Deserialize;

use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::models::component_config::{ModelConfig, PerBlock, Rest, SampleSize, truthy};
use crate::diffusion::nn::Activation;

/// A block of the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum DownBlockType {
    /// Resnets only.
    DownBlock2D,
    /// A transformer after each resnet.
    CrossAttnDownBlock2D,
}

/// The block at the bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum MidBlockType {
    /// Resnet, transformer, resnet.
    UNetMidBlock2DCrossAttn,
    /// One resnet.
    UNetMidBlock2D,
}

/// A block of the way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum UpBlockType {
    /// Resnets only.
    UpBlock2D,
    /// A transformer after each resnet.
    CrossAttnUpBlock2D,
}

/// How a resnet takes in the timestep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeScaleShift {
    /// Added before the second norm.
    Default,
    /// Scales and shifts after the second norm.
    ScaleShift,
}

/// What is added to the timestep's embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdditionEmbedType {
    /// Pooled text and sizes, as SDXL.
    TextTime,
}

/// How many transformer layers the attentions of one block have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum BlockDepth {
    /// The same in each attention.
    Same(usize),
    /// One number for each attention.
    Each(Vec<usize>),
}

/// How many transformer layers the attentions of all blocks have.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Depths {
    /// The same everywhere.
    Same(usize),
    /// For each block, in the order of `down_block_types`.
    Each(Vec<BlockDepth>),
}

/// The config of a [`UNet2DConditionModel`](super::UNet2DConditionModel).
///
/// Source: diffusers 0.42.1, `models/unets/unet_2d_condition.py`, `__init__`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct UNetConfig {
    /// Size that the model was trained at, in latent pixels.
    pub sample_size: Option<SampleSize>,
    /// Channels of the latents that go in.
    pub in_channels: usize,
    /// Channels that come out.
    pub out_channels: usize,
    /// Whether the input is mapped from 0…1 to -1…1 first.
    #[serde(deserialize_with = "truthy")]
    pub center_input_sample: bool,
    /// Cosines before sines in the timestep's embedding.
    #[serde(deserialize_with = "truthy")]
    pub flip_sin_to_cos: bool,
    /// Taken off the number of frequencies that the exponents are divided by.
    pub freq_shift: f64,
    /// The way down.
    pub down_block_types: Vec<DownBlockType>,
    /// The bottom; `null` leaves it out.
    pub mid_block_type: Option<MidBlockType>,
    /// The way up.
    pub up_block_types: Vec<UpBlockType>,
    /// Whether the first attention of a transformer also looks at the text instead of the picture.
    pub only_cross_attention: PerBlock<bool>,
    /// Channels of each block.
    pub block_out_channels: Vec<usize>,
    /// Resnets in each down block; up blocks have one more.
    pub layers_per_block: PerBlock<usize>,
    /// Padding of the convolutions that halve; 0 pads right and bottom only.
    pub downsample_padding: usize,
    /// What the resnets of the middle block divide their output by.
    pub mid_block_scale_factor: f64,
    /// Activation of the resnets.
    pub act_fn: Activation,
    /// Groups of every group normalisation.
    pub norm_num_groups: usize,
    /// ε of the resnets' norms.
    pub norm_eps: f64,
    /// Width of the text embeddings.
    pub cross_attention_dim: PerBlock<usize>,
    /// Transformer layers per attention.
    pub transformer_layers_per_block: Depths,
    /// The same for the way up, from the bottom; default: the way down backwards.
    pub reverse_transformer_layers_per_block: Option<Depths>,
    /// The *number of heads*: diffusers once mixed up the names and kept it.
    pub attention_head_dim: PerBlock<usize>,
    /// Whether a transformer's projections are linear layers in the file, not 1×1 convolutions.
    #[serde(deserialize_with = "truthy")]
    pub use_linear_projection: bool,
    /// Attention scores in f32.
    #[serde(deserialize_with = "truthy")]
    pub upcast_attention: bool,
    /// How resnets take in the timestep.
    pub resnet_time_scale_shift: TimeScaleShift,
    /// What is added to the timestep's embedding.
    pub addition_embed_type: Option<AdditionEmbedType>,
    /// Width of the embedding of each of SDXL's sizes.
    pub addition_time_embed_dim: Option<usize>,
    /// Width of SDXL's pooled text and embedded sizes together.
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Width of the timestep's embedding; default: four times the first block's channels.
    pub time_embedding_dim: Option<usize>,
    /// Applied once to the finished time embedding.
    pub time_embedding_act_fn: Option<Activation>,
    /// Applied after the time embedding's second layer.
    pub timestep_post_act: Option<Activation>,
    /// Width of the guidance embedding that LCM takes.
    pub time_cond_proj_dim: Option<usize>,
    /// Kernel of the first convolution.
    pub conv_in_kernel: usize,
    /// Kernel of the last convolution.
    pub conv_out_kernel: usize,
    /// Keys without a field.
    #[serde(flatten)]
    rest: Rest,
}

impl Default for UNetConfig {
    fn default() -> Self {
        use DownBlockType::{CrossAttnDownBlock2D, DownBlock2D};
        use UpBlockType::{CrossAttnUpBlock2D, UpBlock2D};
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.,
            down_block_types: vec![
                CrossAttnDownBlock2D,
                CrossAttnDownBlock2D,
                CrossAttnDownBlock2D,
                DownBlock2D,
            ],
            mid_block_type: Some(MidBlockType::UNetMidBlock2DCrossAttn),
            up_block_types: vec![UpBlock2D, CrossAttnUpBlock2D, CrossAttnUpBlock2D, CrossAttnUpBlock2D],
            only_cross_attention: PerBlock::One(false),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: PerBlock::One(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.,
            act_fn: Activation::Silu,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            cross_attention_dim: PerBlock::One(1280),
            transformer_layers_per_block: Depths::Same(1),
            reverse_transformer_layers_per_block: None,
            attention_head_dim: PerBlock::One(8),
            use_linear_projection: false,
            upcast_attention: false,
            resnet_time_scale_shift: TimeScaleShift::Default,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            time_embedding_dim: None,
            time_embedding_act_fn: None,
            timestep_post_act: None,
            time_cond_proj_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            rest: Rest::new(),
        }
    }
}

impl ModelConfig for UNetConfig {
    const CLASSES: &'static [&'static str] = &["UNet2DConditionModel"];

    const INERT: &'static [&'static str] = &[
        // only acts while training
        "dropout",
        // only read by block and embedding types that are refused above
        "resnet_skip_time_act",
        "resnet_out_scale_factor",
        "mid_block_only_cross_attention",
        "cross_attention_norm",
        "addition_embed_type_num_heads",
    ];

    const UNIMPLEMENTED: &'static [(&'static str, &'static str)] = &[
        ("attention_type", "\"default\""),
        ("class_embed_type", "null"),
        ("class_embeddings_concat", "false"),
        ("dual_cross_attention", "false"),
        ("encoder_hid_dim", "null"),
        ("encoder_hid_dim_type", "null"),
        ("num_attention_heads", "null"),
        ("num_class_embeds", "null"),
        ("time_embedding_type", "\"positional\""),
    ];

    fn rest(&self) -> &Rest {
        &self.rest
    }

    fn check(&self, file: &str) -> Result<()> {
        let blocks = self.block_out_channels.len();
        let wrong = |message: String| Err(DiffusionError::Config { file: file.into(), message });
        if blocks == 0 || self.down_block_types.len() != blocks || self.up_block_types.len() != blocks {
            return wrong(format!(
                "down_block_types ({}), up_block_types ({}) and block_out_channels ({blocks}) differ in length",
                self.down_block_types.len(),
                self.up_block_types.len()
            ));
        }
        let heads = self.attention_head_dim.expand(blocks, file, "attention_head_dim")?;
        for (i, (channels, heads)) in self.block_out_channels.iter().zip(&heads).enumerate() {
            if self.attends(i) && (*heads == 0 || channels % heads != 0) {
                return wrong(format!("attention_head_dim = {heads} does not divide {channels} channels"));
            }
            if self.norm_num_groups == 0 || channels % self.norm_num_groups != 0 {
                return wrong(format!(
                    "norm_num_groups = {} does not divide {channels} channels",
                    self.norm_num_groups
                ));
            }
        }
        if self.conv_in_kernel.is_multiple_of(2) || self.conv_out_kernel.is_multiple_of(2) {
            return wrong("conv_in_kernel and conv_out_kernel must be odd".into());
        }
        if self.addition_embed_type.is_some()
            && (self.addition_time_embed_dim.is_none()
                || self.projection_class_embeddings_input_dim.is_none())
        {
            return wrong(
                "addition_embed_type = text_time needs addition_time_embed_dim and \
                 projection_class_embeddings_input_dim"
                    .into(),
            );
        }
        self.blocks(file).map(|_| ())
    }
}

/// The per-block values of a config, spelled out in the order of `down_block_types`.
pub(super) struct Blocks {
    pub layers: Vec<usize>,
    pub heads: Vec<usize>,
    pub cross_attention_dim: Vec<usize>,
    pub only_cross_attention: Vec<bool>,
    pub depths: BlockDepths,
}

/// Transformer layers of each attention.
pub(super) struct BlockDepths {
    /// Of each down block.
    pub down: Vec<Vec<usize>>,
    pub mid: usize,
    /// Of each up block, from the bottom.
    pub up: Vec<Vec<usize>>,
}

/// An attention of a transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Of the picture.
    pub channels: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of what it looks at.
    pub context: usize,
}

impl UNetConfig {
    /// The attentions of all transformer layers, in no order that matters.
    ///
    /// # Errors
    /// When the config contradicts itself.
    pub fn attentions(&self) -> Result<Vec<AttentionShape>> {
        let blocks = self.blocks("unet/config.json")?;
        let last = self.block_out_channels.len() - 1;
        let mut attentions = Vec::new();
        let mut transformer = |level: usize, layers: usize, only_cross: bool| {
            let (channels, heads) = (self.block_out_channels[level], blocks.heads[level]);
            let text = blocks.cross_attention_dim[level];
            for context in [if only_cross { text } else { channels }, text] {
                attentions.extend(vec![AttentionShape { channels, heads, context }; layers]);
            }
        };
        for level in 0..=last {
            let depths = blocks.depths.down[level].iter().chain(&blocks.depths.up[last - level]);
            depths.for_each(|layers| transformer(level, *layers, blocks.only_cross_attention[level]));
        }
        if self.mid_block_type == Some(MidBlockType::UNetMidBlock2DCrossAttn) {
            // diffusers does not hand `only_cross_attention` to this block
            transformer(last, blocks.depths.mid, false);
        }
        Ok(attentions)
    }

    /// Width of the finished time embedding.
    pub fn time_embed_dim(&self) -> usize {
        self.time_embedding_dim.unwrap_or(self.block_out_channels.first().copied().unwrap_or(0) * 4)
    }

    /// Whether there are transformers at the resolution of down block `i`.
    fn attends(&self, i: usize) -> bool {
        let last = self.block_out_channels.len() - 1;
        self.down_block_types.get(i) == Some(&DownBlockType::CrossAttnDownBlock2D)
            || self.up_block_types.get(last - i) == Some(&UpBlockType::CrossAttnUpBlock2D)
            || (i == last && self.mid_block_type == Some(MidBlockType::UNetMidBlock2DCrossAttn))
    }

    pub(super) fn blocks(&self, file: &str) -> Result<Blocks> {
        let count = self.block_out_channels.len();
        let layers = self.layers_per_block.expand(count, file, "layers_per_block")?;
        Ok(Blocks {
            depths: self.depths(&layers, file)?,
            heads: self.attention_head_dim.expand(count, file, "attention_head_dim")?,
            cross_attention_dim: self.cross_attention_dim.expand(count, file, "cross_attention_dim")?,
            only_cross_attention: self.only_cross_attention.expand(count, file, "only_cross_attention")?,
            layers,
        })
    }

    /// Down, mid and up depths as diffusers' constructor takes them.
    fn depths(&self, layers: &[usize], file: &str) -> Result<BlockDepths> {
        const KEY: &str = "transformer_layers_per_block";
        const REVERSE: &str = "reverse_transformer_layers_per_block";
        let wrong = |message: String| DiffusionError::Config { file: file.into(), message };
        let spell = |key: &str, depths: &Depths| match depths {
            Depths::Same(depth) => Ok(vec![BlockDepth::Same(*depth); layers.len()]),
            Depths::Each(each) if each.len() == layers.len() => Ok(each.clone()),
            Depths::Each(each) => {
                Err(wrong(format!("{key} has {} values for {} blocks", each.len(), layers.len())))
            }
        };
        let attentions = |key: &str, depth: &BlockDepth, count: usize| match depth {
            BlockDepth::Same(depth) => Ok(vec![*depth; count]),
            BlockDepth::Each(each) if each.len() >= count => Ok(each[..count].to_vec()),
            BlockDepth::Each(each) => {
                Err(wrong(format!("{key} has {} values for {count} attentions", each.len())))
            }
        };
        let down = spell(KEY, &self.transformer_layers_per_block)?;
        let (up_key, up) = match &self.reverse_transformer_layers_per_block {
            Some(depths) => (REVERSE, spell(REVERSE, depths)?),
            None if down.iter().any(|depth| matches!(depth, BlockDepth::Each(_))) => {
                return Err(wrong(format!(
                    "{KEY} has lists for each attention: {REVERSE} must be there too"
                )));
            }
            None => (KEY, down.iter().rev().cloned().collect()),
        };
        let mid = down.last().map_or(Ok(vec![1]), |depth| attentions(KEY, depth, 1))?;
        let down_depths = down
            .iter()
            .zip(layers)
            .zip(&self.down_block_types)
            .map(|((depth, n), kind)| match kind {
                DownBlockType::DownBlock2D => Ok(vec![]),
                DownBlockType::CrossAttnDownBlock2D => attentions(KEY, depth, *n),
            })
            .collect::<Result<_>>()?;
        let up_depths = up
            .iter()
            .zip(layers.iter().rev())
            .zip(&self.up_block_types)
            .map(|((depth, n), kind)| match kind {
                UpBlockType::UpBlock2D => Ok(vec![]),
                UpBlockType::CrossAttnUpBlock2D => attentions(up_key, depth, n + 1),
            })
            .collect::<Result<_>>()?;
        Ok(BlockDepths { down: down_depths, mid: mid.first().copied().unwrap_or(1), up: up_depths })
    }
}
