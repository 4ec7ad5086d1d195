//! The denoising loop: a scheduler on the host, a model wherever it runs, latents in f32 between them.
//!
//! Knows no text, no pixels and no device. Everything is a flat `[c · h · w]` slice of one picture: never a batch.

use std::ops::ControlFlow;
use std::time::Instant;

use super::error::{DiffusionError, Result};
use super::moment::{Moment, Past};
use super::rng::{GeneratorState, TorchGenerator};
use super::schedulers::{Scheduler, SchedulerState};

/// Predicts what the scheduler wants to know (noise, v or the sample) from noisy latents.
pub trait NoiseModel {
    /// `sample` is scaled as the scheduler asked; `timestep` may be a fraction.
    ///
    /// # Errors
    /// When the model fails; the loop ends there.
    fn predict(&mut self, sample: &[f32], timestep: f64) -> Result<Vec<f32>>;
}

/// One step that was done.
#[derive(Debug)]
pub struct StepReport<'a> {
    /// Steps done so far, from 1.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// The latents after it.
    pub latents: &'a [f32],
    /// What the scheduler takes the finished latents to be.
    pub pred_original_sample: &'a [f32],
    /// What the scheduler remembers after it.
    pub scheduler: &'a SchedulerState,
    /// Where the noise stands after it.
    pub generator: GeneratorState,
}

impl StepReport<'_> {
    /// Everything that a run needs to go on from here, and what is told of how it came here.
    pub fn moment(&self, past: Past) -> Moment {
        Moment {
            past,
            scheduler: self.scheduler.clone(),
            generator: self.generator.clone(),
            latents: self.latents.to_vec(),
        }
    }
}

/// Runs the steps that the scheduler has not done yet and returns the latents after the last. `on_step` is called
/// after each and may end the loop. Steps are counted from where the scheduler's run began.
///
/// # Errors
/// [`DiffusionError::Cancelled`] when `on_step` broke off, else what the model or scheduler said.
pub fn denoise(
    scheduler: &mut dyn Scheduler,
    model: &mut dyn NoiseModel,
    mut latents: Vec<f32>,
    generator: &mut TorchGenerator,
    on_step: &mut dyn FnMut(StepReport<'_>) -> ControlFlow<()>,
) -> Result<Vec<f32>> {
    let timesteps = scheduler.timesteps().to_vec();
    let steps = timesteps.len();
    let (first, next) = (scheduler.begin_index(), scheduler.state().next_index);
    for (i, &timestep) in timesteps.iter().enumerate().skip(next) {
        let start = Instant::now();
        let model_input = scheduler.scale_model_input(&latents, i);
        let model_output = model.predict(&model_input, timestep)?;
        let output = scheduler
            .step(i, &model_output, &latents, &mut |n| generator.randn(n))
            .map_err(|error| DiffusionError::Request(error.to_string()))?;
        latents = output.prev_sample;
        let report = StepReport {
            step: i + 1 - first,
            steps: steps - first,
            seconds: start.elapsed().as_secs_f64(),
            latents: &latents,
            pred_original_sample: &output.pred_original_sample,
            scheduler: scheduler.state(),
            generator: generator.state(),
        };
        if on_step(report).is_break() && i + 1 < steps {
            return Err(DiffusionError::Cancelled((i + 1 - first) as u32));
        }
    }
    Ok(latents)
}
