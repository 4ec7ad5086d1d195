//! Guidance: two predictions of the UNet become one, or one that was told the scale.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::denoise::NoiseModel;
use super::error::Result;
use super::families::{Guidance, ModelProfile, time_ids};
use super::models::unet::{AddedCond, DeepCache, UNet2DConditionModel, guidance_scale_embedding};
use super::nn::{OpLimits, Replay, Upload, pooled, read_back};
use super::prompt::PromptEmbeds;
use crate::request::ImageSize;

/// One run of the UNet a step, for one row or, side by side, for the negative prompt and the prompt.
struct Call {
    /// `[b, n, d]`.
    text: Tensor,
    /// SDXL's conditioning, embedded.
    aug_embed: Option<Tensor>,
    rows: usize,
    /// The calls that compute every block.
    whole: Replay,
    /// Those that compute the outermost blocks only.
    outermost: Replay,
    /// What came up from the deep blocks the last time that they were computed, where it is kept.
    deep: Option<Tensor>,
    /// Calls since then.
    age: u32,
}

/// The UNet with everything that stays the same from step to step, and the places of what does not: a step writes its
/// latents and timestep into them, queues all calls, and waits once.
pub struct GuidedUNet {
    unet: Arc<UNet2DConditionModel>,
    /// As many rows as the largest call has.
    latents: Upload,
    time_proj: Upload,
    calls: Vec<Call>,
    /// The prompt alone, where guidance ends before the last step.
    unguided: Option<Call>,
    guided_above: Option<f64>,
    deep_cache: Option<u32>,
    timestep_cond: Option<Tensor>,
    guidance_scale: f64,
    limits: OpLimits,
}

/// What a guided run is made of, beside the UNet.
#[derive(Clone, Copy, Debug)]
pub struct GuidanceRequest<'a> {
    /// The checkpoint's family.
    pub profile: &'a ModelProfile,
    /// The prompt and, with classifier-free guidance, its negative.
    pub embeds: &'a PromptEmbeds,
    /// Classifier-free guidance scale.
    pub guidance_scale: f64,
    /// Size of the picture.
    pub size: ImageSize,
    /// `[c, h, w]` of the latents.
    pub shape: (usize, usize, usize),
    /// Whether both halves of classifier-free guidance go through the UNet as one batch of two. The result is the
    /// same; one after the other takes half the memory.
    pub batched: bool,
    /// The timestep from which on guidance is left out.
    pub guided_above: Option<f64>,
    /// The deep blocks are computed only every so many calls.
    pub deep_cache: Option<u32>,
}

impl GuidedUNet {
    /// Puts the inputs together, on the device.
    ///
    /// # Errors
    /// When the UNet needs more than it is given, or the device has no memory left.
    pub fn new(
        unet: Arc<UNet2DConditionModel>,
        device: &Device,
        request: &GuidanceRequest<'_>,
        limits: OpLimits,
    ) -> Result<Self> {
        pooled(|| Self::on_device(unet, device, request, limits))
    }

    fn on_device(
        unet: Arc<UNet2DConditionModel>,
        device: &Device,
        request: &GuidanceRequest<'_>,
        limits: OpLimits,
    ) -> Result<Self> {
        let embeds = request.embeds;
        let call = |text: &Tensor, pooled: Option<&Tensor>| -> Result<Call> {
            let rows = text.dims()[0];
            let added = pooled.map(|pooled| AddedCond {
                text_embeds: pooled.clone(),
                time_ids: vec![time_ids(request.size); rows],
            });
            let aug_embed = unet.aug_embed(added.as_ref())?;
            let (whole, outermost) = (Replay::default(), Replay::default());
            Ok(Call { text: text.clone(), aug_embed, rows, whole, outermost, deep: None, age: 0 })
        };
        let guidance = request.profile.guidance(request.guidance_scale);
        let prompt = || call(&embeds.prompt_embeds, embeds.pooled_prompt_embeds.as_ref());
        let calls = match (&guidance, &embeds.negative_prompt_embeds) {
            (Guidance::ClassifierFree, Some(negative)) => {
                let pooled = embeds.negative_pooled_prompt_embeds.as_ref();
                if request.batched {
                    let text = Tensor::cat(&[negative, &embeds.prompt_embeds], 0)?;
                    let pooled = match (pooled, &embeds.pooled_prompt_embeds) {
                        (Some(negative), Some(prompt)) => Some(Tensor::cat(&[negative, prompt], 0)?),
                        _ => None,
                    };
                    vec![call(&text, pooled.as_ref())?]
                } else {
                    vec![call(negative, pooled)?, prompt()?]
                }
            }
            _ => vec![prompt()?],
        };
        let ends = request.guided_above.filter(|_| guidance == Guidance::ClassifierFree);
        let unguided = ends.map(|_| prompt()).transpose()?;
        let timestep_cond = match guidance {
            Guidance::Embedded(dim) => {
                Some(guidance_scale_embedding(request.guidance_scale - 1., dim, device)?)
            }
            Guidance::Off | Guidance::ClassifierFree => None,
        };
        let rows = calls.iter().map(|call| call.rows).max().unwrap_or(1);
        let (c, h, w) = request.shape;
        Ok(Self {
            latents: Upload::new((rows, c, h, w), unet.dtype(), device)?,
            time_proj: Upload::new((1, unet.time_channels()), unet.dtype(), device)?,
            unet,
            calls,
            unguided,
            guided_above: request.guided_above,
            deep_cache: request.deep_cache,
            timestep_cond,
            guidance_scale: request.guidance_scale,
            limits,
        })
    }
}

impl Call {
    /// Its result, `[rows, c, h, w]`; a GPU may not have computed it yet.
    fn queue(
        &mut self,
        unet: &UNet2DConditionModel,
        latents: &Upload,
        time_proj: &Upload,
        timestep_cond: Option<&Tensor>,
        deep_cache: Option<u32>,
        limits: &OpLimits,
    ) -> Result<Tensor> {
        let sample = latents.rows(self.rows)?;
        let temb = unet.time_embed(&time_proj.rows(1)?, self.aug_embed.as_ref(), timestep_cond)?;
        let mut inputs = vec![sample, temb, self.text.clone()];
        self.age += 1;
        let deep = self.deep.take().filter(|_| deep_cache.is_some_and(|every| self.age < every));
        let mut results = if let Some(deep) = deep {
            inputs.push(deep.clone());
            self.deep = Some(deep);
            self.outermost.run(&inputs, |inputs| {
                let mut cache = DeepCache::Use(inputs[3].clone());
                Ok(vec![unet.forward_caching(&inputs[0], &inputs[1], &inputs[2], &mut cache, limits)?])
            })?
        } else {
            let mut results = self.whole.run(&inputs, |inputs| {
                let mut cache = if deep_cache.is_some() { DeepCache::Keep(None) } else { DeepCache::Off };
                let result = unet.forward_caching(&inputs[0], &inputs[1], &inputs[2], &mut cache, limits)?;
                Ok(match cache {
                    DeepCache::Keep(Some(deep)) => vec![result, deep],
                    _ => vec![result],
                })
            })?;
            (self.deep, self.age) = (results.drain(1..).next(), 0);
            results
        };
        Ok(results.swap_remove(0))
    }
}

impl NoiseModel for GuidedUNet {
    fn predict(&mut self, sample: &[f32], timestep: f64) -> Result<Vec<f32>> {
        let calls = match &mut self.unguided {
            Some(call) if self.guided_above.is_some_and(|end| timestep <= end) => std::slice::from_mut(call),
            _ => &mut self.calls[..],
        };
        let results = pooled(|| {
            self.latents.write(sample)?;
            self.time_proj.write(&self.unet.time_proj(timestep))?;
            let mut results = Vec::with_capacity(calls.len());
            for call in calls {
                let (condition, every) = (self.timestep_cond.as_ref(), self.deep_cache);
                results.push(call.queue(
                    &self.unet,
                    &self.latents,
                    &self.time_proj,
                    condition,
                    every,
                    &self.limits,
                )?);
            }
            // Reading back also waits for the device: what failed on it is known here, in this step.
            read_back(&results)
        })?;
        let mut rows = results.iter().flat_map(|result| result.chunks_exact(sample.len()));
        let (Some(first), second) = (rows.next(), rows.next()) else { return Ok(Vec::new()) };
        let Some(prompt) = second else { return Ok(first.to_vec()) };
        let scale = self.guidance_scale as f32;
        Ok(first
            .iter()
            .zip(prompt)
            .map(|(negative, prompt)| negative + scale * (prompt - negative))
            .collect())
    }
}
