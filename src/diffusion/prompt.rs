//! From a prompt to what the UNet attends to: tokenizers, text encoders, and each family's recipe over them.
//!
//! Source: diffusers 0.42.1, `encode_prompt` of `StableDiffusionPipeline` and `StableDiffusionXLPipeline`.

mod texts;
pub mod weighting;

use candle_core::{D, DType, Device, Tensor};

use super::error::{DiffusionError, Result};
use super::families::{ModelProfile, TextRecipe};
use super::models::clip::{ClipTextModel, ClipTextOutput};
use super::nn::OpLimits;
use super::tokenizer::{ClipTokenizer, TokenCount};
use super::weights::{OnBytes, Weights};
use crate::checkpoint::Checkpoint;

pub use texts::{Role, Text, TextCache, TextEmbeds};
pub use weighting::Weighting;

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
    /// What the person should know: words that were cut, syntax that was not understood.
    pub notices: Vec<String>,
    /// The seconds that they had taken before, if none of them was computed anew.
    pub reused: Option<f64>,
}

/// What to encode.
#[derive(Clone, Copy, Debug, Default)]
pub struct PromptRequest<'a> {
    /// Model, device and dtype: embeddings are the same where this is.
    pub site: &'a str,
    /// The prompt.
    pub prompt: &'a str,
    /// The negative prompt. As in diffusers, none is zeros to some models, and an empty one is encoded.
    pub negative_prompt: Option<&'a str>,
    /// Whether the negative half is wanted: classifier-free guidance is on.
    pub classifier_free_guidance: bool,
    /// Layers of the text encoders that are left out, counted from the last.
    pub clip_skip: u32,
    /// Whether brackets are emphasis.
    pub weighting: Weighting,
}

impl PromptRequest<'_> {
    /// Encodes what is not in `cache` yet, each text once: `encode` is called for those alone. `zeros_for_none` is
    /// [`zeros_for_none`].
    ///
    /// As in diffusers, `clip_skip` is the prompt's alone: the negative prompt is always read by all layers.
    ///
    /// # Errors
    /// Those of `encode`, or when the device has no memory left.
    pub(super) fn embeds(
        &self,
        zeros_for_none: bool,
        device: &Device,
        cache: &TextCache,
        encode: &mut dyn FnMut(&Text) -> Result<TextEmbeds>,
    ) -> Result<PromptEmbeds> {
        let mut fresh = false;
        let mut get = |role: Role, text: &str, clip_skip: u32| -> Result<TextEmbeds> {
            let text = Text { role, text: text.to_owned(), clip_skip, weighting: self.weighting };
            if let Some(known) = cache.get(self.site, &text) {
                return known.to_device(device);
            }
            fresh = true;
            let embeds = encode(&text)?;
            cache.put(self.site, text, embeds.to_device(&Device::Cpu)?);
            Ok(embeds)
        };
        let prompt = get(Role::Prompt, self.prompt, self.clip_skip)?;
        let negative = match self.negative_prompt {
            _ if !self.classifier_free_guidance => None,
            None if zeros_for_none => Some(prompt.zeros()?),
            text => Some(get(Role::Negative, text.unwrap_or_default(), 0)?),
        };
        let seconds = prompt.seconds + negative.as_ref().map_or(0., |negative| negative.seconds);
        let mut notices = prompt.notices;
        let (negative, negative_pooled) = negative.map_or((None, None), |negative| {
            notices.extend(negative.notices);
            (Some(negative.embeds), negative.pooled)
        });
        Ok(PromptEmbeds {
            prompt_embeds: prompt.embeds,
            negative_prompt_embeds: negative,
            pooled_prompt_embeds: prompt.pooled,
            negative_pooled_prompt_embeds: negative_pooled,
            notices,
            reused: (!fresh).then_some(seconds),
        })
    }
}

/// The tokenizer of a checkpoint's first text encoder, without its weights: enough to [`count`].
///
/// # Errors
/// When a file is missing or broken, or says something that is not implemented.
pub fn tokenizer(checkpoint: &Checkpoint, profile: &ModelProfile) -> Result<ClipTokenizer> {
    let positions = profile.facts.text_encoder.max_position_embeddings;
    ClipTokenizer::from_checkpoint(checkpoint, "tokenizer", positions)
}

/// How much of the context a prompt takes, and where it is cut; brackets and weights take none where they are
/// emphasis. Quick enough for every key press.
///
/// # Errors
/// When the vocabulary is inconsistent.
pub fn count(tokenizer: &ClipTokenizer, prompt: &str, weighting: Weighting) -> Result<TokenCount> {
    let limit = tokenizer.max_length() - 2;
    let (mut used, mut cut_at_byte) = (0, None);
    for segment in weighting::parse(prompt, weighting) {
        let offsets = tokenizer.token_offsets(&segment.text(prompt))?;
        if used <= limit && cut_at_byte.is_none() {
            cut_at_byte = offsets.get(limit - used).map(|&at| segment.source_of(at));
        }
        used += offsets.len();
    }
    Ok(TokenCount { used, limit, cut_at_byte })
}

/// A tokenizer and the text encoder that reads its ids.
struct TextEncoder {
    tokenizer: ClipTokenizer,
    model: ClipTextModel,
}

impl TextEncoder {
    /// The ids of a prompt, and a weight for each where not all are 1. Stretches of different weight are tokenized
    /// apart, as in the web UI.
    fn tokenize(&self, prompt: &str, weighting: Weighting) -> Result<(Vec<u32>, Option<Vec<f32>>)> {
        let segments = weighting::parse(prompt, weighting);
        let (mut tokens, mut weights) = (Vec::new(), vec![1.]);
        for segment in &segments {
            tokens.extend(self.tokenizer.tokens(&segment.text(prompt))?);
            weights.resize(tokens.len() + 1, segment.weight as f32);
        }
        let ids = self.tokenizer.frame(&tokens);
        weights.truncate(ids.len() - 1);
        weights.resize(ids.len(), 1.);
        #[expect(clippy::float_cmp, reason = "1 is what unweighted text has, not the result of anything")]
        let neutral = weights.iter().all(|&weight| weight == 1.);
        Ok((ids, (!neutral).then_some(weights)))
    }
}

/// All text encoders of a checkpoint, and how its family combines them.
pub struct PromptEncoder {
    recipe: TextRecipe,
    encoders: Vec<TextEncoder>,
    zeros_for_none: bool,
}

impl PromptEncoder {
    /// Reads a checkpoint's tokenizers and text encoders.
    ///
    /// # Errors
    /// When files are missing, broken or do not fit each other, or the device has no memory left.
    pub fn load(
        checkpoint: &Checkpoint,
        profile: &ModelProfile,
        device: &Device,
        dtype: DType,
        on_bytes: Option<&OnBytes>,
    ) -> Result<Self> {
        let mut encoders = Vec::new();
        for (component, config) in profile.text_encoders() {
            let folder = component.tokenizer;
            let tokenizer =
                ClipTokenizer::from_checkpoint(checkpoint, folder, config.max_position_embeddings)?;
            let (ids, rows) = (tokenizer.max_id() as usize + 1, config.vocab_size);
            if ids > rows {
                return Err(DiffusionError::Config {
                    file: format!("{}/config.json", component.encoder),
                    message: format!("vocab_size = {rows}, but {folder} has {ids} tokens"),
                });
            }
            let blobs = checkpoint.weights.get(component.encoder).map_or(&[][..], Vec::as_slice);
            let weights = Weights::open(component.encoder, blobs, device, dtype, on_bytes.cloned())?;
            let model = ClipTextModel::load(config, component.class, &weights)?;
            weights.finish()?;
            encoders.push(TextEncoder { tokenizer, model });
        }
        if let Some(pair) = encoders.windows(2).find(|pair| lengths(pair)[0] != lengths(pair)[1]) {
            return Err(DiffusionError::Config {
                file: "tokenizer_2/tokenizer_config.json".into(),
                message: format!("model_max_length differs from the first tokenizer's: {:?}", lengths(pair)),
            });
        }
        Ok(Self { recipe: profile.family.text, encoders, zeros_for_none: zeros_for_none(profile) })
    }

    /// Encodes a prompt and, for classifier-free guidance, its negative.
    ///
    /// # Errors
    /// As [`Self::encode_text`].
    pub fn encode(&self, request: &PromptRequest<'_>, limits: &OpLimits) -> Result<PromptEmbeds> {
        let mut encode = |text: &Text| self.encode_text(text, limits);
        request.embeds(self.zeros_for_none, &Device::Cpu, &TextCache::default(), &mut encode)
    }

    /// Encodes one text.
    ///
    /// # Errors
    /// When `clip_skip` leaves no layer or the device has no memory left.
    pub fn encode_text(&self, text: &Text, limits: &OpLimits) -> Result<TextEmbeds> {
        let start = std::time::Instant::now();
        self.check_clip_skip(text.clip_skip)?;
        let (embeds, pooled) = self.encode_one(&text.text, text.clip_skip, text.weighting, limits)?;
        let mut notices = Vec::new();
        notices.extend(self.cut_notice(text.role.name(), &text.text, text.weighting)?);
        notices.extend(unread_notice(text.role.name(), &text.text, text.weighting));
        Ok(TextEmbeds { embeds, pooled, notices, seconds: start.elapsed().as_secs_f64() })
    }

    /// `[1, n, d]`, and `[1, p]` where the family has it.
    fn encode_one(
        &self,
        text: &str,
        clip_skip: u32,
        weighting: Weighting,
        limits: &OpLimits,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let mut states = Vec::with_capacity(self.encoders.len());
        let mut pooled = None;
        for encoder in &self.encoders {
            let (ids, weights) = encoder.tokenize(text, weighting)?;
            let output = encoder.model.forward(&ids, limits)?;
            let state = self.hidden_state(&encoder.model, &output, clip_skip)?;
            states.push(match weights {
                Some(weights) => weighting::apply(&state, &weights)?,
                None => state,
            });
            pooled = Some(output.pooled);
        }
        // The pooled state is the last encoder's, and not weighted.
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

    /// Says which words of a prompt are not read, by the encoder that reads the least.
    fn cut_notice(&self, what: &str, prompt: &str, weighting: Weighting) -> Result<Option<String>> {
        let mut cut: Option<(usize, TokenCount)> = None;
        for encoder in &self.encoders {
            let count = count(&encoder.tokenizer, prompt, weighting)?;
            if let Some(at) = count.cut_at_byte
                && cut.is_none_or(|(earliest, _)| at < earliest)
            {
                cut = Some((at, count));
            }
        }
        Ok(cut.map(|(at, TokenCount { used, limit, .. })| {
            let rest = prompt[at..].trim();
            format!("the {what} has {used} tokens and the model reads {limit}; not read: “{rest}”")
        }))
    }
}

/// Whether no negative prompt is zeros, and not what the text encoders make of an empty one.
pub(super) fn zeros_for_none(profile: &ModelProfile) -> bool {
    profile.family.text == TextRecipe::Penultimate && profile.facts.index.force_zeros_for_empty_prompt
}

/// Says which syntax of the web UI was taken for text.
fn unread_notice(what: &str, prompt: &str, weighting: Weighting) -> Option<String> {
    let unread = weighting::unread(prompt, weighting);
    (!unread.is_empty()).then(|| format!("the {what} has {}, read as plain text", unread.join(" and ")))
}

fn lengths(encoders: &[TextEncoder]) -> Vec<usize> {
    encoders.iter().map(|encoder| encoder.tokenizer.max_length()).collect()
}
