//! From a prompt to what the UNet attends to: tokenizers, text encoders, and each family's recipe over them.
//!
//! Source: diffusers 0.42.1, `encode_prompt` of `StableDiffusionPipeline` and `StableDiffusionXLPipeline`.

use std::sync::Arc;

use candle_core::{D, DType, Device, Tensor};

use super::error::{DiffusionError, Result};
use super::families::{ModelIndex, TextRecipe};
use super::models::clip::{ClipTextConfig, ClipTextModel, ClipTextOutput};
use super::nn::OpLimits;
use super::tokenizer::ClipTokenizer;
use super::weights::{OnBytes, Weights};
use crate::checkpoint::Checkpoint;

/// What a prompt and its negative became; the negative half is there when guidance asks for it.
#[derive(Clone, Debug)]
pub struct PromptEmbeds {
    /// `[1, n, d]`.
    pub prompt_embeds: Tensor,
    /// `[1, n, d]`.
    pub negative_prompt_embeds: Option<Tensor>,
    /// `[1, p]`, for families that condition on it.
    pub pooled_prompt_embeds: Option<Tensor>,
    /// `[1, p]`.
    pub negative_pooled_prompt_embeds: Option<Tensor>,
    /// What the person should know: words that were cut.
    pub notices: Vec<String>,
}

/// What to encode.
#[derive(Clone, Copy, Debug, Default)]
pub struct PromptRequest<'a> {
    /// The prompt.
    pub prompt: &'a str,
    /// The negative prompt; empty is none.
    pub negative_prompt: &'a str,
    /// Whether the negative half is wanted: classifier-free guidance is on.
    pub classifier_free_guidance: bool,
    /// Layers of the text encoders that are left out, counted from the last.
    pub clip_skip: u32,
}

/// A tokenizer and the text encoder that reads its ids.
struct TextEncoder {
    tokenizer: Arc<ClipTokenizer>,
    model: ClipTextModel,
}

/// All text encoders of a checkpoint, and how its family combines them.
pub struct PromptEncoder {
    recipe: TextRecipe,
    encoders: Vec<TextEncoder>,
    force_zeros_for_empty_prompt: bool,
}

impl PromptEncoder {
    /// Reads the tokenizers and text encoders that `recipe` asks for.
    ///
    /// # Errors
    /// When files are missing, broken or do not fit each other, or the device has no memory left.
    pub fn load(
        checkpoint: &Checkpoint,
        index: &ModelIndex,
        recipe: TextRecipe,
        device: &Device,
        dtype: DType,
        on_bytes: Option<&OnBytes>,
    ) -> Result<Self> {
        let mut encoders = Vec::new();
        for component in recipe.components() {
            let file = format!("{}/config.json", component.encoder);
            let json =
                checkpoint.read(&file).map_err(|source| DiffusionError::Io { path: file.clone(), source })?;
            let config = ClipTextConfig::from_json(&file, &json)?;
            let tokenizer = ClipTokenizer::from_checkpoint(
                checkpoint,
                component.tokenizer,
                config.max_position_embeddings,
            )?;
            if tokenizer.max_id() as usize >= config.vocab_size {
                let message = format!(
                    "vocab_size = {}, but {} has ids up to {}",
                    config.vocab_size,
                    component.tokenizer,
                    tokenizer.max_id()
                );
                return Err(DiffusionError::Config { file, message });
            }
            let blobs = checkpoint.weights.get(component.encoder).map_or(&[][..], Vec::as_slice);
            let weights = Weights::open(component.encoder, blobs, device, dtype, on_bytes.cloned())?;
            let model = ClipTextModel::load(&config, component.class, &weights)?;
            weights.finish()?;
            encoders.push(TextEncoder { tokenizer: Arc::new(tokenizer), model });
        }
        Ok(Self { recipe, encoders, force_zeros_for_empty_prompt: index.force_zeros_for_empty_prompt })
    }

    /// The tokenizer that decides how much of a prompt is read.
    pub fn tokenizer(&self) -> Option<&Arc<ClipTokenizer>> {
        self.encoders.first().map(|encoder| &encoder.tokenizer)
    }

    /// Encodes a prompt and, for classifier-free guidance, its negative.
    ///
    /// As in diffusers, `clip_skip` is the prompt's alone: the negative prompt is always read by all layers.
    ///
    /// # Errors
    /// When `clip_skip` leaves no layer or the device has no memory left.
    pub fn encode(&self, request: &PromptRequest<'_>, limits: &OpLimits) -> Result<PromptEmbeds> {
        self.check_clip_skip(request.clip_skip)?;
        let mut notices = Vec::new();
        let (prompt_embeds, pooled_prompt_embeds) =
            self.encode_one(request.prompt, request.clip_skip, limits, "prompt", &mut notices)?;
        let mut embeds = PromptEmbeds {
            prompt_embeds,
            negative_prompt_embeds: None,
            pooled_prompt_embeds,
            negative_pooled_prompt_embeds: None,
            notices,
        };
        if request.classifier_free_guidance {
            self.encode_negative(request, limits, &mut embeds)?;
        }
        Ok(embeds)
    }

    fn encode_negative(
        &self,
        request: &PromptRequest<'_>,
        limits: &OpLimits,
        embeds: &mut PromptEmbeds,
    ) -> Result<()> {
        let zeros = self.recipe == TextRecipe::Penultimate
            && self.force_zeros_for_empty_prompt
            && request.negative_prompt.is_empty();
        if zeros {
            embeds.negative_prompt_embeds = Some(embeds.prompt_embeds.zeros_like()?);
            let pooled = embeds.pooled_prompt_embeds.as_ref();
            embeds.negative_pooled_prompt_embeds = pooled.map(Tensor::zeros_like).transpose()?;
            return Ok(());
        }
        let (negative, pooled) =
            self.encode_one(request.negative_prompt, 0, limits, "negative prompt", &mut embeds.notices)?;
        embeds.negative_prompt_embeds = Some(negative);
        embeds.negative_pooled_prompt_embeds = pooled;
        Ok(())
    }

    /// `[1, n, d]`, and `[1, p]` where the family has it.
    fn encode_one(
        &self,
        text: &str,
        clip_skip: u32,
        limits: &OpLimits,
        what: &str,
        notices: &mut Vec<String>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let mut states = Vec::with_capacity(self.encoders.len());
        let mut pooled = None;
        for encoder in &self.encoders {
            let output = encoder.model.forward(&encoder.tokenizer.encode(text)?, limits)?;
            states.push(self.hidden_state(&encoder.model, &output, clip_skip)?);
            pooled = Some(output.pooled);
        }
        if let Some(notice) = self.cut_notice(text, what)? {
            notices.push(notice);
        }
        let pooled = pooled.filter(|_| self.recipe == TextRecipe::Penultimate);
        Ok((Tensor::cat(&states, D::Minus1)?, pooled))
    }

    fn hidden_state(&self, model: &ClipTextModel, output: &ClipTextOutput, clip_skip: u32) -> Result<Tensor> {
        let from_last = |n: usize| output.hidden_states[output.hidden_states.len() - n].clone();
        match (self.recipe, clip_skip as usize) {
            (TextRecipe::LastHiddenState, 0) => Ok(output.last_hidden_state.clone()),
            (TextRecipe::LastHiddenState, skip) => model.final_layer_norm(&from_last(skip + 1)),
            (TextRecipe::Penultimate, skip) => Ok(from_last(skip + 2)),
        }
    }

    /// A layer must be left, so that [`Self::hidden_state`] stays within the hidden states.
    fn check_clip_skip(&self, clip_skip: u32) -> Result<()> {
        let taken = usize::from(self.recipe == TextRecipe::Penultimate) + 1;
        let layers = self.encoders.iter().map(|encoder| encoder.model.num_hidden_layers()).min().unwrap_or(0);
        let most = layers.saturating_sub(taken);
        if clip_skip as usize <= most && layers >= taken {
            return Ok(());
        }
        Err(DiffusionError::Request(format!(
            "clip skip {clip_skip} leaves no layer of this model's text encoder; use {most} or less"
        )))
    }

    fn cut_notice(&self, text: &str, what: &str) -> Result<Option<String>> {
        let Some(tokenizer) = self.tokenizer() else { return Ok(None) };
        let count = tokenizer.count(text)?;
        Ok(count.cut_at_byte.map(|at| {
            let (used, limit, rest) = (count.used, count.limit, text[at..].trim());
            format!("the {what} is {used} tokens long and the model reads {limit}; not read: “{rest}”")
        }))
    }
}
