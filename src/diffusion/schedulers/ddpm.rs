//! DDPM. Ho, Jain, Abbeel 2020, "Denoising Diffusion Probabilistic Models", arXiv:2006.11239.
//! diffusers: `schedulers/scheduling_ddpm.py`.

use super::config::{SchedulerConfig, VarianceType};
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_alpha_noise, combine, draw, limit};
use super::{NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, StepOutput, holds_run, spacing};

#[derive(Clone)]
pub(super) struct Ddpm {
    run: Run,
    config: SchedulerConfig,
    schedule: NoiseSchedule,
}

impl Ddpm {
    pub fn new(name: SchedulerName, config: SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let run = Run::new(name, spacing::timesteps(&config, steps, true));
        let schedule = NoiseSchedule::new(&config)?;
        schedule.check(&config, &run)?;
        Ok(Self { run, config, schedule })
    }

    /// The factor of the noise, from formulas 6 and 7.
    fn noise_factor(&self, alpha: f64, alpha_prev: f64) -> f64 {
        let beta = 1.0 - alpha / alpha_prev;
        let variance = ((1.0 - alpha_prev) / (1.0 - alpha) * beta).max(1e-20);
        match self.config.variance_type {
            Some(VarianceType::FixedLarge) => beta.sqrt(),
            _ => variance.sqrt(),
        }
    }
}

impl Scheduler for Ddpm {
    holds_run!();

    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        let timestep = self.run.timesteps[i];
        let alpha = self.schedule.alpha_cumprod(timestep);
        let alpha_prev = self.run.timesteps.get(i + 1).map_or(1.0, |&t| self.schedule.alpha_cumprod(t));
        let prediction = self.config.prediction_type;
        let mut original = prediction.original(alpha.sqrt(), (1.0 - alpha).sqrt()).of(sample, model_output);
        limit(&self.config, &mut original);
        let (factor, drawn) = if timestep > 0.0 {
            (self.noise_factor(alpha, alpha_prev), draw(noise, sample.len())?)
        } else {
            (0.0, vec![0.0; sample.len()])
        };
        // Formula 7 with the cumulative products of the steps taken.
        let step_alpha = alpha / alpha_prev;
        let original_factor = alpha_prev.sqrt() * (1.0 - step_alpha) / (1.0 - alpha);
        let sample_factor = step_alpha.sqrt() * (1.0 - alpha_prev) / (1.0 - alpha);
        let prev_sample = combine(&[(original_factor, &original), (sample_factor, sample), (factor, &drawn)]);
        Ok(StepOutput { prev_sample, pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_alpha_noise(&self.schedule, original, noise, self.run.clamped_timestep(i))
    }
}
