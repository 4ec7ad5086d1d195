//! Heun: an Euler step, then its mean with the derivative at the end. Karras et al. 2022, arXiv:2206.00364,
//! algorithm 1 without churn.
//! diffusers: `schedulers/scheduling_heun_discrete.py`.

use super::config::SchedulerConfig;
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_sigma_noise, combine, limit, scale_by_sigma};
use super::sigmas::{Sigmas, each_but_first_twice};
use super::{NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, StepOutput, holds_run, spacing};

#[derive(Clone)]
pub(super) struct Heun {
    run: Run,
    config: SchedulerConfig,
    sigmas: Sigmas,
}

impl Heun {
    pub fn new(name: SchedulerName, config: SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let training = NoiseSchedule::new(&config)?.sigmas(&config);
        let mut spaced = spacing::spaced(&config, &training, steps, true);
        spacing::round_f32(&mut spaced.timesteps);
        spaced.sigmas.push(0.0);
        let sigmas = Sigmas::new(&config, spaced.sigmas).twice();
        Ok(Self { run: Run::new(name, each_but_first_twice(&spaced.timesteps)), config, sigmas })
    }
}

impl Scheduler for Heun {
    holds_run!();

    fn init_noise_sigma(&self) -> f64 {
        self.sigmas.init_noise_sigma()
    }

    fn scale_model_input(&self, sample: &[f32], i: usize) -> Vec<f32> {
        scale_by_sigma(sample, self.sigmas.at(i))
    }

    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        _noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        // Between the two calls of a step, the history holds the first derivative.
        let first = self.run.state.history.pop();
        let sigma = self.sigmas.at(i);
        let mut original = self.config.prediction_type.original_of_sigma(sigma).of(sample, model_output);
        limit(&self.config, &mut original);
        let derivative = combine(&[(1.0 / sigma, sample), (-1.0 / sigma, &original)]);
        let prev_sample = if let (Some(first), Some(start)) = (first, self.run.state.sample.take()) {
            let half = 0.5 * (sigma - self.sigmas.at(i - 1));
            combine(&[(1.0, &start), (half, &first), (half, &derivative)])
        } else {
            let next = combine(&[(1.0, sample), (self.sigmas.at(i + 1) - sigma, &derivative)]);
            self.run.state.history.push(derivative);
            self.run.state.sample = Some(sample.to_vec());
            next
        };
        Ok(StepOutput { prev_sample, pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_sigma_noise(original, noise, self.sigmas.at(i))
    }
}
