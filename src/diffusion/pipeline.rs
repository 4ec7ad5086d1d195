//! A whole pipeline: from a checkpoint and parameters to a picture.
//!
//! The steps of diffusers' `StableDiffusionPipeline.__call__` and its siblings, each a method, so that a caller can
//! time, show and repeat them apart. One picture at a time, never a batch.

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use sha2::{Digest, Sha256};

use super::branch;
use super::component::Component;
use super::denoise::{NoiseModel, StepReport, denoise};
use super::error::{DiffusionError, Result};
use super::families::{Guidance, ModelProfile};
use super::guidance::{GuidanceRequest, GuidedUNet};
use super::models::autoencoder_kl::{AutoencoderKL, Tiling};
use super::models::unet::UNet2DConditionModel;
use super::nn::{OpLimits, pooled, read_back, to_host};
use super::preview::LatentRgb;
use super::prompt::{self, PromptEmbeds, PromptEncoder, PromptRequest, Text, TextCache, Weighting};
use super::rng::TorchGenerator;
use super::schedulers::{self, Scheduler, SchedulerOptions};
use super::weights::{OnBytes, Weights};
use crate::checkpoint::Checkpoint;
use crate::request::{Branch, GenerateParams, GenerateRequest, ImageSize, Picture};

const SCHEDULER_FILE: &str = "scheduler/scheduler_config.json";

/// A checkpoint's JSON, read and understood; no weight was touched yet.
pub struct PipelineConfig {
    checkpoint: Checkpoint,
    /// The family and what it makes of the files.
    pub profile: ModelProfile,
    scheduler_json: Vec<u8>,
    latent_rgb: LatentRgb,
    /// Tells checkpoints apart: name, revision, configs, and the sizes of all files.
    pub identity: String,
}

impl PipelineConfig {
    /// Reads every JSON file of a checkpoint.
    ///
    /// # Errors
    /// When one is missing, broken, or says something that is not implemented.
    pub fn read(checkpoint: Checkpoint) -> Result<Self> {
        let profile = ModelProfile::read(&checkpoint)?;
        let read = |file: &str| {
            checkpoint.read(file).map_err(|source| DiffusionError::Io { path: file.into(), source })
        };
        let scheduler_json = read(SCHEDULER_FILE)?.into_owned();
        let channels = profile.facts.vae.latent_channels;
        let latent_rgb = if checkpoint.files.contains_key(LatentRgb::FILE) {
            LatentRgb::from_json(&read(LatentRgb::FILE)?, channels)?
        } else {
            LatentRgb::known(profile.family.latent_space, channels)
        };
        let identity = identity(&checkpoint)?;
        Ok(Self { checkpoint, profile, scheduler_json, latent_rgb, identity })
    }

    /// The checkpoint that was read.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Fills in what a request leaves open and checks all of it against the model. `seed` stands in where the
    /// request has no number of its own.
    ///
    /// # Errors
    /// When the model cannot do what is asked; the message says what it can.
    pub fn resolve(&self, request: &GenerateRequest, seed: u64) -> Result<GenerateParams> {
        let profile = &self.profile;
        let default = profile.default_size();
        let size =
            ImageSize::new(request.width.unwrap_or(default.width), request.height.unwrap_or(default.height));
        self.check_size(size)?;
        let mut params = GenerateParams {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            model: self.checkpoint.name.clone(),
            revision: self.checkpoint.revision.clone(),
            variant: self.checkpoint.variant.clone(),
            scheduler: request.scheduler.clone().unwrap_or_default(),
            steps: request.steps.unwrap_or_else(|| profile.steps()),
            guidance_scale: request.guidance_scale.unwrap_or_else(|| profile.guidance_scale()),
            eta: request.eta.unwrap_or(0.),
            seed: match request.seed {
                Some(crate::request::Seed::Fixed(seed)) => seed,
                _ => seed,
            },
            size,
            image: request.image.as_ref().map(Into::into),
            strength: request.image.as_ref().map(|_| request.strength.unwrap_or(DEFAULT_STRENGTH)),
            variation: request.variation,
            variation_seed: request.variation_seed,
            clip_skip: request.clip_skip.unwrap_or(0),
            stop_after: request.stop_after,
            deep_cache: request.deep_cache.filter(|every| *every > 1),
            cfg_until: request.cfg_until.filter(|share| *share < 1.),
            branch: None,
        };
        params.scheduler = self.scheduler(&params)?.name().to_string();
        if profile.guidance(params.guidance_scale) != Guidance::ClassifierFree {
            params.cfg_until = None;
        }
        if let Some(Branch { of, step }) = &request.branch {
            // The latents stay what they are, so their size does.
            let of = GenerateRequest { width: Some(size.width), height: Some(size.height), ..(**of).clone() };
            params.branch = Some(Branch { of: Box::new(self.resolve(&of, params.seed)?), step: *step });
        }
        branch::check(self, &params)?;
        Ok(params)
    }

    /// The scheduler that `params` asks for, its timesteps set.
    ///
    /// # Errors
    /// When its name, the steps, η or the strength make no sense.
    pub fn scheduler(&self, params: &GenerateParams) -> Result<Box<dyn Scheduler>> {
        let pipeline = self.profile.family.pipeline;
        let options = SchedulerOptions {
            eta: params.eta,
            strength: params.strength,
            strength_shortens_schedule: pipeline == "LatentConsistencyModelPipeline",
            stable_diffusion_pipeline: pipeline == "StableDiffusionPipeline",
            ..SchedulerOptions::default()
        };
        let name = Some(params.scheduler.as_str()).filter(|name| !name.is_empty());
        schedulers::create(name, &self.scheduler_json, params.steps as usize, &options)
            .map_err(|error| DiffusionError::Request(error.to_string()))
    }

    /// `[c, h, w]` of the latents of a picture.
    pub fn latent_shape(&self, size: ImageSize) -> (usize, usize, usize) {
        let scale = self.profile.facts.vae.scale_factor();
        (self.profile.facts.vae.latent_channels, size.height as usize / scale, size.width as usize / scale)
    }

    /// A small picture of latents as the UNet sees them, one pixel a latent pixel.
    ///
    /// # Errors
    /// When the number of values does not fit.
    pub fn preview(&self, latents: &[f32], size: ImageSize) -> Result<Picture> {
        let (c, h, w) = self.latent_shape(size);
        self.latent_rgb.picture(&Tensor::from_slice(latents, (1, c, h, w), &Device::Cpu)?)
    }

    fn check_size(&self, size: ImageSize) -> Result<()> {
        let multiple = self.profile.size_multiple();
        let halvings = self.profile.facts.unet.block_out_channels.len().saturating_sub(1) as u32;
        let least = multiple << halvings.min(8);
        let fits = |side: u32| side.is_multiple_of(multiple) && (least..=MAX_SIDE).contains(&side);
        if fits(size.width) && fits(size.height) {
            return Ok(());
        }
        let near = |side: u32| ((side + multiple / 2) / multiple * multiple).clamp(least, MAX_SIDE);
        Err(DiffusionError::Request(format!(
            "this model cannot draw {size}: sides are multiples of {multiple} from {least} to {MAX_SIDE}; type {}x{}",
            near(size.width),
            near(size.height)
        )))
    }
}

fn identity(checkpoint: &Checkpoint) -> Result<String> {
    let mut sha = Sha256::new();
    let failed = |path: &str| {
        let path = path.to_owned();
        move |source| DiffusionError::Io { path, source }
    };
    sha.update(format!("{:?} {:?} {:?}\n", checkpoint.name, checkpoint.revision, checkpoint.variant));
    for (path, blob) in &checkpoint.files {
        sha.update(format!("{path:?} {}\n", blob.size().map_err(failed(path))?));
        // The large ones are vocabularies.
        if path.ends_with("config.json") {
            sha.update(blob.read().map_err(failed(path))?);
        }
    }
    for (component, blobs) in &checkpoint.weights {
        for blob in blobs {
            sha.update(format!("{component:?} {}\n", blob.size().map_err(failed(component))?));
        }
    }
    Ok(sha.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Largest side in pixels that is tried.
const MAX_SIDE: u32 = 8192;
/// diffusers' default of image to image.
const DEFAULT_STRENGTH: f64 = 0.8;

/// How a run may use memory; results are the same, or for tiles nearly so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// For every op.
    pub limits: OpLimits,
    /// Decode in tiles of this kind where the latents are larger than one.
    pub tiling: Option<Tiling>,
    /// The two halves of classifier-free guidance one after the other.
    pub guidance_in_turn: bool,
    /// The text encoder gives its memory back once the prompt is encoded.
    pub release_text_encoder: bool,
    /// UNet and VAE are never in memory together; the text encoder is with neither.
    pub one_at_a_time: bool,
}

impl Measures {
    /// Least bytes for a block: smaller ones save nothing worth having.
    pub const LEAST_BLOCK: usize = 4 << 20;

    /// Takes less memory than before, for decoding also by tiles. Returns how, or `None` when nothing is left to cut.
    pub fn tighten(&mut self, config: &PipelineConfig, decoding: bool) -> Option<String> {
        let mut how = Vec::new();
        let limits = &mut self.limits;
        if limits.attention_bytes.max(limits.conv_bytes) > Self::LEAST_BLOCK {
            limits.attention_bytes = (limits.attention_bytes / 4).max(Self::LEAST_BLOCK);
            limits.conv_bytes = (limits.conv_bytes / 4).max(Self::LEAST_BLOCK);
            how.push(format!("blocks of {} MiB", limits.attention_bytes.max(limits.conv_bytes) >> 20));
        }
        if !std::mem::replace(&mut self.guidance_in_turn, true) {
            how.push("guidance in turn".into());
        }
        if decoding && self.tiling.is_none() {
            self.tiling = Some(Tiling::from_config(&config.profile.facts.vae));
            how.push("the VAE in tiles".into());
        }
        if how.is_empty() { None } else { Some(how.join(", ")) }
    }
}

/// Where a run starts.
pub struct Start {
    /// The scheduler, before the next step.
    pub scheduler: Box<dyn Scheduler>,
    /// The generator, before that step's noise: at first, after the initial noise was drawn.
    pub generator: TorchGenerator,
    /// `[c · h · w]`.
    pub latents: Vec<f32>,
}

/// A network of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All text encoders.
    TextEncoder,
    /// The UNet.
    UNet,
    /// The VAE.
    Vae,
}

/// A pipeline with its weights on a device.
pub struct Pipeline {
    /// What was read before the weights.
    pub config: Arc<PipelineConfig>,
    prompt_encoder: Component<PromptEncoder>,
    unet: Component<UNet2DConditionModel>,
    vae: Component<AutoencoderKL>,
    device: Device,
    on_bytes: Option<OnBytes>,
    /// Texts that were encoded; may be shared with other pipelines.
    pub texts: Arc<TextCache>,
}

impl Pipeline {
    /// Reads the weights onto `device` in `dtype`; the VAE in f32 where its config says `force_upcast`.
    ///
    /// # Errors
    /// When weights are missing, misshapen or unused, or the device has no memory left.
    pub fn load(
        config: Arc<PipelineConfig>,
        device: &Device,
        dtype: DType,
        on_bytes: Option<&OnBytes>,
    ) -> Result<Self> {
        let pipeline = Self::open(config, device, dtype, on_bytes);
        for part in [Part::TextEncoder, Part::UNet, Part::Vae] {
            pipeline.pick_up(part)?;
        }
        Ok(pipeline)
    }

    /// Like [`Self::load`], but every network is read when it is first needed.
    pub fn open(
        config: Arc<PipelineConfig>,
        device: &Device,
        dtype: DType,
        on_bytes: Option<&OnBytes>,
    ) -> Self {
        let vae_dtype = if config.profile.facts.vae.force_upcast { DType::F32 } else { dtype };
        Self {
            config,
            prompt_encoder: Component::new(dtype),
            unet: Component::new(dtype),
            vae: Component::new(vae_dtype),
            device: device.clone(),
            on_bytes: on_bytes.cloned(),
            texts: Arc::default(),
        }
    }

    /// Reads a network if it is not in memory.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn pick_up(&self, part: Part) -> Result<()> {
        match part {
            Part::TextEncoder => self.prompt_encoder().map(drop),
            Part::UNet => self.unet().map(drop),
            Part::Vae => self.vae().map(drop),
        }
    }

    /// Gives a network's memory back; it is read again when it is needed.
    pub fn put_down(&self, part: Part) {
        match part {
            Part::TextEncoder => self.prompt_encoder.release(),
            Part::UNet => self.unet.release(),
            Part::Vae => self.vae.release(),
        }
    }

    /// From now on a network computes in f32. Returns whether it did not before.
    pub fn upcast(&self, part: Part) -> bool {
        match part {
            Part::TextEncoder => self.prompt_encoder.upcast(),
            Part::UNet => self.unet.upcast(),
            Part::Vae => self.vae.upcast(),
        }
    }

    /// What a network computes in.
    pub fn dtype_of(&self, part: Part) -> DType {
        match part {
            Part::TextEncoder => self.prompt_encoder.dtype(),
            Part::UNet => self.unet.dtype(),
            Part::Vae => self.vae.dtype(),
        }
    }

    fn prompt_encoder(&self) -> Result<Arc<PromptEncoder>> {
        let (checkpoint, profile) = (&self.config.checkpoint, &self.config.profile);
        self.prompt_encoder.get(|dtype| {
            self.settled(PromptEncoder::load(
                checkpoint,
                profile,
                &self.device,
                dtype,
                self.on_bytes.as_ref(),
            )?)
        })
    }

    fn unet(&self) -> Result<Arc<UNet2DConditionModel>> {
        let config = &self.config.profile.facts.unet;
        self.unet
            .get(|dtype| self.settled(UNet2DConditionModel::load(&self.weights("unet", dtype)?, config)?))
    }

    fn vae(&self) -> Result<Arc<AutoencoderKL>> {
        let config = &self.config.profile.facts.vae;
        self.vae.get(|dtype| self.settled(AutoencoderKL::load(&self.weights("vae", dtype)?, config)?))
    }

    fn weights(&self, component: &str, dtype: DType) -> Result<Weights> {
        let blobs = self.config.checkpoint.weights.get(component).map_or(&[][..], Vec::as_slice);
        Weights::open(component, blobs, &self.device, dtype, self.on_bytes.clone())
    }

    /// Waits for the device, so that an upload that failed is known here.
    fn settled<T>(&self, network: T) -> Result<T> {
        self.device.synchronize()?;
        Ok(network)
    }

    /// The device that the weights are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The UNet's dtype.
    pub fn dtype(&self) -> DType {
        self.unet.dtype()
    }

    /// Model, device and dtype of a network: what it computes is the same where this is.
    pub fn site(&self, part: Part) -> String {
        let dtype = self.dtype_of(part).as_str();
        format!("{} {:?} {dtype}", self.config.identity, self.device.location())
    }

    /// Encodes the prompt, and the negative one where guidance asks for it.
    ///
    /// # Errors
    /// When `clip_skip` leaves no layer or the device has no memory left.
    pub fn encode_prompt(&self, params: &GenerateParams, measures: &Measures) -> Result<PromptEmbeds> {
        let guidance = self.config.profile.guidance(params.guidance_scale);
        let request = PromptRequest {
            site: &self.site(Part::TextEncoder),
            prompt: &params.prompt,
            negative_prompt: params.negative_prompt.as_deref(),
            classifier_free_guidance: guidance == Guidance::ClassifierFree,
            clip_skip: params.clip_skip,
            weighting: Weighting::default(),
        };
        let zeros = prompt::zeros_for_none(&self.config.profile);
        let mut encode = |text: &Text| {
            if measures.one_at_a_time {
                self.put_down(Part::UNet);
                self.put_down(Part::Vae);
            }
            // Waited for, so that nothing is kept of an encoding that failed on the device.
            pooled(|| self.settled(self.prompt_encoder()?.encode_text(text, &measures.limits)?))
        };
        let embeds = request.embeds(zeros, &self.device, &self.texts, &mut encode)?;
        if measures.release_text_encoder || measures.one_at_a_time {
            self.device.synchronize()?;
            self.put_down(Part::TextEncoder);
        }
        Ok(embeds)
    }

    /// Draws the initial latents: noise, or for image to image the noised latents of `image`, which has the size of
    /// the picture to be made.
    ///
    /// # Errors
    /// When the image has another size or the device has no memory left.
    pub fn start(
        &self,
        params: &GenerateParams,
        image: Option<&Picture>,
        measures: &Measures,
    ) -> Result<Start> {
        let scheduler = self.config.scheduler(params)?;
        let (c, h, w) = self.config.latent_shape(params.size);
        let count = c * h * w;
        let mut generator = TorchGenerator::manual_seed(params.seed);
        // diffusers encodes the image first, and draws for that from the same generator.
        let clean =
            image.map(|image| self.encode_image(image, params, &mut generator, measures)).transpose()?;
        let mut noise = generator.randn(count);
        if let Some(share) = params.variation.filter(|share| *share > 0.) {
            let seed = params.variation_seed.unwrap_or(params.seed.wrapping_add(1));
            let other = TorchGenerator::manual_seed(seed).randn(count);
            noise = slerp(&noise, &other, share);
        }
        let latents = if let Some(clean) = clean {
            scheduler.add_noise(&clean, &noise, scheduler.begin_index())
        } else {
            let sigma = scheduler.init_noise_sigma() as f32;
            noise.iter().map(|value| value * sigma).collect()
        };
        Ok(Start { scheduler, generator, latents })
    }

    fn encode_image(
        &self,
        image: &Picture,
        params: &GenerateParams,
        generator: &mut TorchGenerator,
        measures: &Measures,
    ) -> Result<Vec<f32>> {
        if image.size != params.size {
            let message = format!("the image to start from is {}, not {}", image.size, params.size);
            return Err(DiffusionError::Request(message));
        }
        let (height, width) = (image.size.height as usize, image.size.width as usize);
        let pixels: Vec<f32> = image.rgb.iter().map(|&byte| f32::from(byte) / 127.5 - 1.).collect();
        let pixels = Tensor::from_vec(pixels, (height, width, 3), &Device::Cpu)?
            .permute((2, 0, 1))?
            .unsqueeze(0)?
            .contiguous()?
            .to_device(&self.device)?;
        if measures.one_at_a_time {
            self.put_down(Part::UNet);
        }
        let vae = self.vae()?;
        let (c, h, w) = self.config.latent_shape(params.size);
        let noise = Tensor::from_vec(generator.randn(c * h * w), (1, c, h, w), &Device::Cpu)?;
        pooled(|| {
            let distribution = vae.encode(&pixels, &measures.limits)?;
            let sample = distribution.sample(&noise.to_device(&self.device)?)?;
            Ok(read_back(&[vae.scale_latents(&sample.to_dtype(DType::F32)?)?])?.concat())
        })
    }

    /// Runs the steps; see [`denoise`].
    ///
    /// # Errors
    /// [`DiffusionError::Cancelled`] when `on_step` broke off, else what the model or scheduler said.
    pub fn denoise(
        &self,
        params: &GenerateParams,
        embeds: &PromptEmbeds,
        start: Start,
        measures: &Measures,
        on_step: &mut dyn FnMut(StepReport<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<f32>> {
        let Start { mut scheduler, mut generator, latents } = start;
        let mut model = self.guided_unet(params, embeds, measures)?;
        denoise(scheduler.as_mut(), &mut model, latents, &mut generator, on_step)
    }

    /// The UNet with everything that stays the same from step to step.
    ///
    /// # Errors
    /// When the UNet cannot be read or the device has no memory left.
    pub fn guided_unet(
        &self,
        params: &GenerateParams,
        embeds: &PromptEmbeds,
        measures: &Measures,
    ) -> Result<GuidedUNet> {
        if measures.one_at_a_time {
            self.put_down(Part::Vae);
        }
        let request = GuidanceRequest {
            profile: &self.config.profile,
            embeds,
            guidance_scale: params.guidance_scale,
            size: params.size,
            shape: self.config.latent_shape(params.size),
            batched: !measures.guidance_in_turn,
            guided_above: self.guided_above(params)?,
            deep_cache: params.deep_cache,
        };
        GuidedUNet::new(self.unet()?, &self.device, &request, measures.limits)
    }

    /// The timestep from which on `cfg_until` leaves guidance out, if it does.
    fn guided_above(&self, params: &GenerateParams) -> Result<Option<f64>> {
        let Some(share) = params.cfg_until else { return Ok(None) };
        let scheduler = self.config.scheduler(params)?;
        let timesteps = &scheduler.timesteps()[scheduler.begin_index()..];
        let guided = (timesteps.len() as f64 * share).ceil() as usize;
        Ok(timesteps.get(guided).copied())
    }

    /// One step at the size of `params`, thrown away: compiles a GPU's kernels and touches every weight.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn warm_up(&self, params: &GenerateParams, embeds: &PromptEmbeds, measures: &Measures) -> Result<()> {
        let (c, h, w) = self.config.latent_shape(params.size);
        let noise = TorchGenerator::manual_seed(0).randn(c * h * w);
        self.guided_unet(params, embeds, measures)?.predict(&noise, 500.).map(drop)
    }

    /// Decodes finished latents.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn decode(&self, latents: &[f32], size: ImageSize, measures: &Measures) -> Result<Picture> {
        to_picture(&self.decode_pixels(latents, size, measures)?)
    }

    /// Like [`Self::decode`], before rounding: `[1, 3, h, w]` in f32 on the CPU, of about -1…1.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn decode_pixels(&self, latents: &[f32], size: ImageSize, measures: &Measures) -> Result<Tensor> {
        if measures.one_at_a_time {
            self.put_down(Part::UNet);
        }
        let (c, h, w) = self.config.latent_shape(size);
        let vae = self.vae()?;
        let latents = vae.unscale_latents(&Tensor::from_slice(latents, (1, c, h, w), &Device::Cpu)?)?;
        let latents = latents.to_dtype(vae.dtype())?.to_device(&self.device)?;
        pooled(|| {
            let pixels = match &measures.tiling {
                Some(tiling) => vae.decode_tiled(&latents, tiling, &measures.limits)?,
                None => vae.decode(&latents, &measures.limits)?,
            };
            to_host(&pixels)
        })
    }

    /// From parameters to a picture in one call.
    ///
    /// # Errors
    /// As the steps it is made of.
    pub fn generate(&self, params: &GenerateParams, measures: &Measures) -> Result<Picture> {
        let embeds = self.encode_prompt(params, measures)?;
        let start = self.start(params, None, measures)?;
        let latents = self.denoise(params, &embeds, start, measures, &mut |_| ControlFlow::Continue(()))?;
        self.decode(&latents, params.size, measures)
    }
}

/// The first of `[b, 3, h, w]`, f32 on the CPU in -1…1, as bytes, rounded as numpy rounds (half to even), as diffusers
/// does.
pub(super) fn to_picture(pixels: &Tensor) -> Result<Picture> {
    let pixels = pixels.get(0)?;
    let (_, height, width) = pixels.dims3()?;
    let values = pixels.permute((1, 2, 0))?.flatten_all()?.to_vec1::<f32>()?;
    let rgb: Vec<u8> =
        values.iter().map(|v| ((v / 2. + 0.5).clamp(0., 1.) * 255.).round_ties_even() as u8).collect();
    Ok(Picture { size: ImageSize::new(width as u32, height as u32), rgb: rgb.into() })
}

/// Spherical interpolation from `a` to `b`, as InvokeAI's and A1111's variations: keeps the noise's norm.
fn slerp(a: &[f32], b: &[f32], share: f64) -> Vec<f32> {
    let dot =
        |x: &[f32], y: &[f32]| -> f64 { x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum() };
    let cosine = dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
    let angle = cosine.clamp(-1., 1.).acos();
    let (from, to) = if angle.sin().abs() < 1e-6 {
        (1. - share, share)
    } else {
        (((1. - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin())
    };
    a.iter().zip(b).map(|(a, b)| (from * f64::from(*a) + to * f64::from(*b)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slerp_goes_from_one_to_the_other_and_keeps_the_norm() {
        let (a, b) = (TorchGenerator::manual_seed(1).randn(4096), TorchGenerator::manual_seed(2).randn(4096));
        let norm = |x: &[f32]| x.iter().map(|v| v * v).sum::<f32>().sqrt();
        let close = |x: &[f32], y: &[f32]| x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-5);
        assert!(close(&slerp(&a, &b, 0.), &a));
        assert!(close(&slerp(&a, &b, 1.), &b));
        let half = slerp(&a, &b, 0.5);
        assert!((norm(&half) - norm(&a)).abs() < 1.5, "{} {}", norm(&half), norm(&a));
    }
}
