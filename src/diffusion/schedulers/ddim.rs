//! DDIM. Song, Meng, Ermon 2020, "Denoising Diffusion Implicit Models", arXiv:2010.02502.
//! diffusers: `schedulers/scheduling_ddim.py`.

use super::config::SchedulerConfig;
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_alpha_noise, combine, draw, limit};
use super::{
    NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, SchedulerOptions, StepOutput, holds_run,
    spacing,
};

#[derive(Clone)]
pub(super) struct Ddim {
    run: Run,
    config: SchedulerConfig,
    schedule: NoiseSchedule,
    /// Distance from a timestep to the one before, in training timesteps.
    stride: f64,
    eta: f64,
}

impl Ddim {
    pub fn new(
        name: SchedulerName,
        config: SchedulerConfig,
        steps: usize,
        options: &SchedulerOptions,
    ) -> Result<Self, SchedulerError> {
        let run = Run::new(name, spacing::timesteps(&config, steps, true));
        let schedule = NoiseSchedule::with_final_alpha(&config)?;
        schedule.check(&config, &run)?;
        let stride = (config.num_train_timesteps / steps) as f64;
        Ok(Self { run, config, schedule, stride, eta: options.eta })
    }
}

impl Scheduler for Ddim {
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
        let alpha_prev = self.schedule.alpha_cumprod(timestep - self.stride);
        let prediction = self.config.prediction_type;
        let mut original = prediction.original(alpha.sqrt(), (1.0 - alpha).sqrt()).of(sample, model_output);
        let epsilon = prediction.epsilon(alpha.sqrt(), (1.0 - alpha).sqrt()).of(sample, model_output);
        limit(&self.config, &mut original);
        // σ_t(η), formula 16; then the direction to x_t and x_{t−1}, formula 12.
        let (std_dev, drawn) = if self.eta > 0.0 {
            let variance = (1.0 - alpha_prev) / (1.0 - alpha) * (1.0 - alpha / alpha_prev);
            (self.eta * variance.sqrt(), draw(noise, sample.len())?)
        } else {
            (0.0, vec![0.0; sample.len()])
        };
        let direction = (1.0 - alpha_prev - std_dev * std_dev).max(0.0).sqrt();
        let prev_sample =
            combine(&[(alpha_prev.sqrt(), &original), (direction, &epsilon), (std_dev, &drawn)]);
        Ok(StepOutput { prev_sample, pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_alpha_noise(&self.schedule, original, noise, self.run.clamped_timestep(i))
    }
}
