//! A run that is watched: what a device gets wrong is noticed, done again with more care, and told.
//!
//! Two things go wrong in the middle of a picture. An op fails, mostly for lack of memory: the step (or the
//! encoding, or the decoding) is thrown away and repeated with smaller blocks, up to [`RETRIES`] times. Or floats
//! overflow, mostly f16: the step is done again from the same latents, which the host still has, with attention in
//! f32, then with the whole UNet in f32; text encoder and VAE go to f32 at once. Numbers are looked at on the host:
//! a GPU's fast math may fold the test away.
//!
//! A prediction is judged before the scheduler sees it, so a step that is redone leaves no trace in multistep
//! schedulers or in the noise generator.

use std::ops::ControlFlow;

use candle_core::{DType, Tensor};

use super::denoise::{NoiseModel, StepReport, denoise};
use super::error::{DiffusionError, Result};
use super::guidance::GuidedUNet;
use super::nn::{fault, read_back};
use super::pipeline::{Measures, Part, Pipeline, Start, to_picture};
use super::prompt::PromptEmbeds;
use crate::request::{GenerateParams, ImageSize, Picture};

/// How often a step that failed is repeated.
pub const RETRIES: u32 = 3;
/// Root mean square of a prediction, in units of what went in, from which on it has exploded. Right ones are near 1.
const EXPLODED: f64 = 1e4;
/// Standard deviation of a prediction below which it has collapsed to one value.
const COLLAPSED: f64 = 1e-6;

/// What is wrong with numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Symptom {
    /// So many are NaN or infinite.
    NotFinite(usize),
    /// All are the same.
    Collapsed,
    /// They have grown out of all proportion: their root mean square.
    Exploded(f64),
}

impl std::fmt::Display for Symptom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFinite(count) => write!(f, "{count} values that are not finite"),
            Self::Collapsed => write!(f, "the same value everywhere"),
            Self::Exploded(size) => write!(f, "values of size {size:.0e}"),
        }
    }
}

/// What is wrong with a prediction, if anything is. `input` is what the model saw.
pub fn judge(output: &[f32], input: &[f32]) -> Option<Symptom> {
    let broken = output.iter().filter(|value| !value.is_finite()).count();
    if broken > 0 {
        return Some(Symptom::NotFinite(broken));
    }
    let (mean, square) = moments(output);
    if (square - mean * mean).max(0.).sqrt() < COLLAPSED {
        return Some(Symptom::Collapsed);
    }
    let size = square.sqrt();
    (size > EXPLODED * moments(input).1.sqrt().max(1.)).then_some(Symptom::Exploded(size))
}

/// Mean and mean square.
fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let sums = values.iter().fold((0., 0.), |(sum, squares), value| {
        let value = f64::from(*value);
        (sum + value, squares + value * value)
    });
    (sums.0 / count, sums.1 / count)
}

/// Whoever started a run, as far as the run needs them.
pub trait Oversight {
    /// Something that a person should read.
    fn notice(&self, text: String);

    /// Why memory is short now, if it is. Asked before every step; each answer makes the run take less.
    fn memory_is_short(&self) -> Option<String> {
        None
    }
}

/// Nobody listens.
impl Oversight for () {
    fn notice(&self, _: String) {}
}

/// An op that fails on purpose: the `op`-th one of each of the next `times` attempts at a phase.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedFault {
    pub phase: WatchedPhase,
    pub op: u32,
    pub times: u32,
}

/// The parts of a run that can be repeated by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchedPhase {
    /// Reading the weights.
    Load,
    /// The text encoders.
    Encode,
    /// The picture to start from, through the VAE.
    Start,
    /// One denoising step.
    Step,
    /// The VAE.
    Decode,
}

/// A pipeline's phases, each watched.
pub struct Watched<'a> {
    pipeline: &'a Pipeline,
    /// What is in force; gets tighter as the run goes on.
    pub measures: Measures,
    oversight: &'a dyn Oversight,
    #[doc(hidden)]
    pub faults: Vec<InjectedFault>,
}

impl<'a> Watched<'a> {
    /// Watches a run of `pipeline` that begins with `measures`.
    pub fn new(pipeline: &'a Pipeline, measures: Measures, oversight: &'a dyn Oversight) -> Self {
        Self { pipeline, measures, oversight, faults: Vec::new() }
    }

    /// [`Pipeline::encode_prompt`].
    ///
    /// # Errors
    /// As there, after everything was tried.
    pub fn encode_prompt(&mut self, params: &GenerateParams) -> Result<PromptEmbeds> {
        loop {
            let (embeds, broken) =
                self.attempt(WatchedPhase::Encode, "the text encoder", |pipeline, measures| {
                    let embeds = pipeline.encode_prompt(params, measures)?;
                    let broken = broken_values(&embeds)?;
                    Ok((embeds, broken))
                })?;
            if broken == 0 {
                return Ok(embeds);
            }
            self.upcast(Part::TextEncoder, "the text encoder", Symptom::NotFinite(broken))?;
        }
    }

    /// [`Pipeline::start`].
    ///
    /// # Errors
    /// As there, after everything was tried.
    pub fn start(&mut self, params: &GenerateParams, image: Option<&Picture>) -> Result<Start> {
        loop {
            let start = self.attempt(WatchedPhase::Start, "the VAE", |pipeline, measures| {
                pipeline.start(params, image, measures)
            })?;
            let broken = start.latents.iter().filter(|value| !value.is_finite()).count();
            if broken == 0 {
                return Ok(start);
            }
            self.upcast(Part::Vae, "the VAE", Symptom::NotFinite(broken))?;
        }
    }

    /// [`Pipeline::denoise`].
    ///
    /// # Errors
    /// As there, after everything was tried.
    pub fn denoise(
        &mut self,
        params: &GenerateParams,
        embeds: &PromptEmbeds,
        start: Start,
        on_step: &mut dyn FnMut(StepReport<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<f32>> {
        let Start { mut scheduler, mut generator, latents } = start;
        let step = (scheduler.state().next_index - scheduler.begin_index()) as u32;
        let mut model = WatchedUNet { run: self, params, embeds, model: None, step, warned: false };
        denoise(scheduler.as_mut(), &mut model, latents, &mut generator, on_step)
    }

    /// [`Pipeline::decode`]. A picture that is one colour even in f32 is handed out, with a warning.
    ///
    /// # Errors
    /// As there, after everything was tried.
    pub fn decode(&mut self, latents: &[f32], size: ImageSize) -> Result<Picture> {
        loop {
            let pixels = self.attempt(WatchedPhase::Decode, "the VAE", |pipeline, measures| {
                pipeline.decode_pixels(latents, size, measures)
            })?;
            let values = pixels.flatten_all()?.to_vec1::<f32>()?;
            let broken = values.iter().filter(|value| !value.is_finite()).count();
            let picture = to_picture(&pixels)?;
            let symptom = if broken > 0 {
                Symptom::NotFinite(broken)
            } else if one_colour(&picture) {
                Symptom::Collapsed
            } else {
                return Ok(picture);
            };
            if symptom == Symptom::Collapsed && self.pipeline.dtype_of(Part::Vae) == DType::F32 {
                self.oversight.notice("the picture is one colour everywhere, also in f32".into());
                return Ok(picture);
            }
            self.upcast(Part::Vae, "the VAE", symptom)?;
        }
    }

    /// Runs `work`, and again with tighter measures when the device fails.
    fn attempt<T>(
        &mut self,
        phase: WatchedPhase,
        component: &str,
        mut work: impl FnMut(&Pipeline, &Measures) -> Result<T>,
    ) -> Result<T> {
        let mut failures = Failures::default();
        loop {
            self.arm(phase);
            let result = work(self.pipeline, &self.measures);
            fault::arm(0);
            let Err(error) = result else { return result };
            self.recover(phase, component, error, &mut failures)?;
        }
    }

    /// Makes the measures tighter after `error`.
    fn recover(
        &mut self,
        phase: WatchedPhase,
        what: &str,
        error: DiffusionError,
        failures: &mut Failures,
    ) -> Result<()> {
        let DiffusionError::Tensor(error) = error else { return Err(error) };
        if failures.count == RETRIES {
            return Err(failures.report(what, &error));
        }
        failures.count += 1;
        // Waiting for the device is also what makes it give its unused buffers back. What it has to complain about
        // belongs to the attempt that just failed.
        let _ = self.pipeline.device().synchronize();
        let tightened = self.measures.tighten(&self.pipeline.config, phase == WatchedPhase::Decode);
        let how = tightened.unwrap_or_else(|| "as it was: nothing is left to cut".into());
        let text = format!("{what} failed ({}): trying again with {how}", first_line(&error));
        failures.tried.push(how);
        tracing::warn!(%error, attempt = failures.count, "{what} failed");
        self.oversight.notice(text);
        Ok(())
    }

    /// `component` in f32 from now on.
    fn upcast(&self, part: Part, component: &str, symptom: Symptom) -> Result<()> {
        let before = self.pipeline.dtype_of(part).as_str();
        if !self.pipeline.upcast(part) {
            return Err(beyond_help(component, symptom));
        }
        self.oversight.notice(format!("{component} gave {symptom} in {before}: done again in f32"));
        Ok(())
    }

    fn arm(&mut self, phase: WatchedPhase) {
        if let Some(fault) = self.faults.iter_mut().find(|fault| fault.phase == phase && fault.times > 0) {
            fault.times -= 1;
            fault::arm(fault.op);
        }
    }
}

/// Attempts that failed.
#[derive(Default)]
struct Failures {
    count: u32,
    tried: Vec<String>,
}

impl Failures {
    fn report(&self, what: &str, error: &candle_core::Error) -> DiffusionError {
        DiffusionError::Device {
            what: what.into(),
            attempts: self.count + 1,
            message: first_line(error),
            tried: self.tried.join("; "),
        }
    }
}

fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().into()
}

fn beyond_help(component: &str, symptom: Symptom) -> DiffusionError {
    DiffusionError::Numbers { component: component.into(), symptom: symptom.to_string() }
}

fn broken_values(embeds: &PromptEmbeds) -> Result<usize> {
    let all = [
        Some(&embeds.prompt_embeds),
        embeds.negative_prompt_embeds.as_ref(),
        embeds.pooled_prompt_embeds.as_ref(),
        embeds.negative_pooled_prompt_embeds.as_ref(),
    ];
    let all: Vec<Tensor> = all.into_iter().flatten().cloned().collect();
    Ok(read_back(&all)?.iter().flatten().filter(|value| !value.is_finite()).count())
}

fn one_colour(picture: &Picture) -> bool {
    let mut pixels = picture.rgb.chunks_exact(3);
    let first = pixels.next();
    pixels.all(|pixel| Some(pixel) == first)
}

/// The UNet of a watched run.
struct WatchedUNet<'w, 'a> {
    run: &'w mut Watched<'a>,
    params: &'w GenerateParams,
    embeds: &'w PromptEmbeds,
    /// `None` after the measures or the UNet changed.
    model: Option<GuidedUNet>,
    step: u32,
    warned: bool,
}

impl NoiseModel for WatchedUNet<'_, '_> {
    fn predict(&mut self, sample: &[f32], timestep: f64) -> Result<Vec<f32>> {
        self.step += 1;
        self.make_room();
        loop {
            let output = self.predict_somehow(sample, timestep)?;
            let Some(symptom) = judge(&output, sample) else { return Ok(output) };
            if !self.escalate(symptom)? {
                return Ok(output);
            }
        }
    }
}

impl WatchedUNet<'_, '_> {
    /// Takes less from this step on where memory is short.
    fn make_room(&mut self) {
        let Some(why) = self.run.oversight.memory_is_short() else { return };
        if let Some(how) = self.run.measures.tighten(&self.run.pipeline.config, true) {
            self.model = None;
            self.run.oversight.notice(format!("{why}: going on from step {} with {how}", self.step));
        }
    }

    /// The prediction, repeated where the device fails.
    fn predict_somehow(&mut self, sample: &[f32], timestep: f64) -> Result<Vec<f32>> {
        let mut failures = Failures::default();
        loop {
            self.run.arm(WatchedPhase::Step);
            let result = self.model().and_then(|model| model.predict(sample, timestep));
            fault::arm(0);
            let Err(error) = result else { return result };
            self.model = None;
            let what = format!("the UNet at step {}", self.step);
            self.run.recover(WatchedPhase::Step, &what, error, &mut failures)?;
        }
    }

    fn model(&mut self) -> Result<&mut GuidedUNet> {
        let model = match self.model.take() {
            Some(model) => model,
            None => self.run.pipeline.guided_unet(self.params, self.embeds, &self.run.measures)?,
        };
        Ok(self.model.insert(model))
    }

    /// Goes one rung up: attention in f32, then everything. Returns whether the step is to be done again.
    fn escalate(&mut self, symptom: Symptom) -> Result<bool> {
        let (pipeline, step) = (self.run.pipeline, self.step);
        let dtype = pipeline.dtype_of(Part::UNet);
        self.model = None;
        let limits = &mut self.run.measures.limits;
        let how = if dtype == DType::F32 {
            if let Symptom::NotFinite(_) = symptom {
                return Err(beyond_help("the UNet", symptom));
            }
            // Finite, and as exact as it gets: perhaps it is what the weights say.
            if !std::mem::replace(&mut self.warned, true) {
                self.run.oversight.notice(format!("step {step}: the UNet gave {symptom}, also in f32"));
            }
            return Ok(false);
        } else if !limits.upcast_attention && !pipeline.config.profile.facts.unet.upcast_attention {
            limits.upcast_attention = true;
            "attention"
        } else {
            pipeline.upcast(Part::UNet);
            "the whole UNet"
        };
        self.run.oversight.notice(format!(
            "step {step}: the UNet gave {symptom} in {}: done again, and on from here, with {how} in f32",
            dtype.as_str()
        ));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_judged_by_their_numbers() {
        let input: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
        assert_eq!(judge(&input, &input), None);
        let mut broken = input.clone();
        (broken[3], broken[9]) = (f32::NAN, f32::NEG_INFINITY);
        assert_eq!(judge(&broken, &input), Some(Symptom::NotFinite(2)));
        assert_eq!(judge(&[0.25; 64], &input), Some(Symptom::Collapsed));
        let huge: Vec<f32> = input.iter().map(|value| value * 1e6).collect();
        assert!(matches!(judge(&huge, &input), Some(Symptom::Exploded(_))));
        let large: Vec<f32> = input.iter().map(|value| value * 500.).collect();
        assert_eq!(judge(&large, &input), None, "strong guidance is no explosion");
    }
}
