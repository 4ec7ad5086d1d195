//! CLIP's text encoder: OpenAI's (Stable Diffusion 1, SDXL's first) and OpenCLIP's (Stable Diffusion 2, SDXL's
//! second), told apart by their configs alone.
//!
//! Owns the network and its config; knows nothing of tokenizers or of which hidden state a pipeline wants.
//! Source: transformers 5.23, `modeling_clip.py` and `configuration_clip.py`.

use candle_core::Tensor;
use serde::Deserialize;

use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::nn::{Activation, Embedding, LayerNorm, Linear, OpLimits, add, attention, profile};
use crate::diffusion::weights::Weights;

/// `text_encoder/config.json`, with transformers' defaults.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width inside each MLP.
    pub intermediate_size: usize,
    /// Width of the projected pooled state; only read when there is a projection.
    pub projection_dim: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads of each layer.
    pub num_attention_heads: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Activation of the MLPs: `quick_gelu` or `gelu`, mostly.
    pub hidden_act: String,
    /// ε of every layer norm.
    pub layer_norm_eps: f64,
    /// The token whose state is the pooled one; 2 is a mistake of old configs and means the largest id.
    pub eos_token_id: u32,
    /// Padding masked out as well; no Stable Diffusion does that.
    pub use_attention_mask: bool,
    /// `clip_text_model`.
    pub model_type: String,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2_048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            eos_token_id: 49_407,
            use_attention_mask: false,
            model_type: "clip_text_model".into(),
        }
    }
}

impl ClipTextConfig {
    /// Reads a config; `file` is its name in messages, such as `text_encoder/config.json`.
    ///
    /// The config of a whole CLIP, text and vision, gives its text part, as in transformers.
    ///
    /// # Errors
    /// When it is broken or says something that is not implemented.
    pub fn from_json(file: &str, json: &[u8]) -> Result<Self> {
        let broken = |error: serde_json::Error| DiffusionError::Config {
            file: file.into(),
            message: error.to_string(),
        };
        let mut value: serde_json::Value = serde_json::from_slice(json).map_err(broken)?;
        if value["model_type"] == "clip" {
            value = value["text_config"].take();
        }
        // A null is transformers' way to leave a key out.
        if let Some(keys) = value.as_object_mut() {
            keys.retain(|_, value| !value.is_null());
        }
        let config: Self = serde_json::from_value(value).map_err(broken)?;
        config.check(file)?;
        Ok(config)
    }

    fn check(&self, file: &str) -> Result<()> {
        if self.model_type != "clip_text_model" {
            return Err(DiffusionError::unsupported(file, "model_type", &self.model_type, "clip_text_model"));
        }
        if self.use_attention_mask {
            return Err(DiffusionError::unsupported(file, "use_attention_mask", "true", "false"));
        }
        Activation::from_config(file, "hidden_act", &self.hidden_act)?;
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(DiffusionError::Config {
                file: file.into(),
                message: format!(
                    "hidden_size = {} is no multiple of num_attention_heads = {}",
                    self.hidden_size, self.num_attention_heads
                ),
            });
        }
        Ok(())
    }
}

/// What the text encoder makes of a sequence.
#[derive(Clone, Debug)]
pub struct ClipTextOutput {
    /// The embeddings and the output of each layer, `num_hidden_layers + 1` tensors `[b, n, hidden_size]`;
    /// the final layer norm is not applied to any of them.
    pub hidden_states: Vec<Tensor>,
    /// The last hidden state after the final layer norm, `[b, n, hidden_size]`.
    pub last_hidden_state: Tensor,
    /// The state of the end token, `[b, hidden_size]`, or its projection `[b, projection_dim]`.
    pub pooled: Tensor,
}

/// CLIP's text encoder: `CLIPTextModel`, or `CLIPTextModelWithProjection`.
#[derive(Clone, Debug)]
pub struct ClipTextModel {
    token_embedding: Embedding,
    position_embedding: Tensor,
    layers: Vec<ClipEncoderLayer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
    eos_token_id: u32,
}

impl ClipTextModel {
    /// Reads a `CLIPTextModel`, or a `CLIPTextModelWithProjection` if `class` says so. Names are taken with and
    /// without `text_model.`, which transformers 5 no longer writes. [`Weights::finish`] is the caller's.
    ///
    /// # Errors
    /// When the config names an unknown activation or the device has no memory left.
    pub fn load(config: &ClipTextConfig, class: &str, weights: &Weights) -> Result<Self> {
        let width = config.hidden_size;
        let text_projection = if class == "CLIPTextModelWithProjection" {
            let projection = weights.pp("text_projection");
            Some(Linear::load_no_bias(&projection, width, config.projection_dim)?)
        } else {
            None
        };
        let weights = weights.pp_optional("text_model");
        let embeddings = weights.pp("embeddings");
        // A buffer of files written before transformers 4.31.
        embeddings.ignore("position_ids");
        let layers = weights.pp("encoder").pp("layers");
        Ok(Self {
            token_embedding: Embedding::load(&embeddings.pp("token_embedding"), config.vocab_size, width)?,
            position_embedding: embeddings
                .pp("position_embedding")
                .get((config.max_position_embeddings, width), "weight")?,
            layers: (0..config.num_hidden_layers)
                .map(|index| ClipEncoderLayer::load(config, &layers.pp(index)))
                .collect::<Result<_>>()?,
            final_layer_norm: LayerNorm::load(&weights.pp("final_layer_norm"), width, config.layer_norm_eps)?,
            text_projection,
            eos_token_id: config.eos_token_id,
        })
    }

    /// Encodes one sequence of token ids, `b` = 1.
    ///
    /// # Errors
    /// When there are more ids than positions, an id is not in the vocabulary, or the device has no memory left.
    pub fn forward(&self, ids: &[u32], limits: &OpLimits) -> Result<ClipTextOutput> {
        let _span = profile::call("text_encoder");
        let tokens = Tensor::new(ids, self.position_embedding.device())?.unsqueeze(0)?;
        let positions = self.position_embedding.narrow(0, 0, ids.len())?;
        let mut hidden_states = Vec::with_capacity(self.layers.len() + 1);
        let mut x = add(&self.token_embedding.forward(&tokens)?, &positions)?;
        for layer in &self.layers {
            let y = layer.forward(&x, limits)?;
            hidden_states.push(std::mem::replace(&mut x, y));
        }
        let last_hidden_state = self.final_layer_norm.forward(&x)?;
        hidden_states.push(x);
        let pooled = last_hidden_state.narrow(1, self.end_of(ids), 1)?.squeeze(1)?;
        let pooled = match &self.text_projection {
            Some(projection) => projection.forward(&pooled)?,
            None => pooled,
        };
        Ok(ClipTextOutput { hidden_states, last_hidden_state, pooled })
    }

    /// The layer norm that `last_hidden_state` went through, for a hidden state that did not.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn final_layer_norm(&self, hidden_state: &Tensor) -> Result<Tensor> {
        self.final_layer_norm.forward(hidden_state)
    }

    /// Transformer layers.
    pub fn num_hidden_layers(&self) -> usize {
        self.layers.len()
    }

    /// Where the pooled state is taken: the first end token. Configs from before transformers 4.31 say that this is
    /// token 2, which no text holds; for them it is the largest id, the first of several.
    fn end_of(&self, ids: &[u32]) -> usize {
        let end = match self.eos_token_id {
            2 => ids.iter().max().copied(),
            end => Some(end),
        };
        ids.iter().position(|&id| Some(id) == end).unwrap_or(0)
    }
}

#[derive(Clone, Debug)]
struct ClipEncoderLayer {
    self_attn: ClipAttention,
    layer_norm1: LayerNorm,
    mlp: ClipMlp,
    layer_norm2: LayerNorm,
}

impl ClipEncoderLayer {
    fn load(config: &ClipTextConfig, weights: &Weights) -> Result<Self> {
        let norm = |name| LayerNorm::load(&weights.pp(name), config.hidden_size, config.layer_norm_eps);
        Ok(Self {
            self_attn: ClipAttention::load(config, &weights.pp("self_attn"))?,
            layer_norm1: norm("layer_norm1")?,
            mlp: ClipMlp::load(config, &weights.pp("mlp"))?,
            layer_norm2: norm("layer_norm2")?,
        })
    }

    fn forward(&self, x: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let x = add(x, &self.self_attn.forward(&self.layer_norm1.forward(x)?, limits)?)?;
        add(&x, &self.mlp.forward(&self.layer_norm2.forward(&x)?)?)
    }
}

#[derive(Clone, Debug)]
struct ClipAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
    scale: f64,
}

impl ClipAttention {
    fn load(config: &ClipTextConfig, weights: &Weights) -> Result<Self> {
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        let project = |name| Linear::load(&weights.pp(name), width, width);
        Ok(Self {
            q_proj: project("q_proj")?,
            k_proj: project("k_proj")?,
            v_proj: project("v_proj")?,
            out_proj: project("out_proj")?,
            heads,
            scale: ((width / heads) as f64).powf(-0.5),
        })
    }

    fn forward(&self, x: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let (q, k, v) = (self.q_proj.forward(x)?, self.k_proj.forward(x)?, self.v_proj.forward(x)?);
        self.out_proj.forward(&attention(&q, &k, &v, self.heads, self.scale, true, limits)?)
    }
}

#[derive(Clone, Debug)]
struct ClipMlp {
    fc1: Linear,
    activation: Activation,
    fc2: Linear,
}

impl ClipMlp {
    fn load(config: &ClipTextConfig, weights: &Weights) -> Result<Self> {
        Ok(Self {
            fc1: Linear::load(&weights.pp("fc1"), config.hidden_size, config.intermediate_size)?,
            activation: Activation::from_config("config.json", "hidden_act", &config.hidden_act)?,
            fc2: Linear::load(&weights.pp("fc2"), config.intermediate_size, config.hidden_size)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc2.forward(&self.activation.forward(&self.fc1.forward(x)?)?)
    }
}
