//! Euler with ancestral noise: each step goes below its sigma and noise brings it back.
//! Crowson's k-diffusion, `sample_euler_ancestral`.
//! diffusers: `schedulers/scheduling_euler_ancestral_discrete.py`.

use super::config::SchedulerConfig;
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_sigma_noise, combine, draw, scale_by_sigma};
use super::sigmas::Sigmas;
use super::{NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, StepOutput, holds_run, spacing};

#[derive(Clone)]
pub(super) struct EulerAncestral {
    run: Run,
    config: SchedulerConfig,
    sigmas: Sigmas,
}

impl EulerAncestral {
    pub fn new(name: SchedulerName, config: SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let training = NoiseSchedule::new(&config)?.sigmas(&config);
        let mut timesteps = spacing::timesteps(&config, steps, false);
        spacing::round_f32(&mut timesteps);
        let mut sigmas = spacing::interpolate(&timesteps, &training);
        sigmas.push(0.0);
        let sigmas = Sigmas::new(&config, sigmas);
        Ok(Self { run: Run::new(name, timesteps), config, sigmas })
    }
}

/// The sigma to step down to and the noise to add, so that together they make `to`.
pub(super) fn ancestral_step(from: f64, to: f64) -> (f64, f64) {
    let up = (to * to * (from * from - to * to) / (from * from)).max(0.0).sqrt().min(to);
    let down = (to * to - up * up).max(0.0).sqrt();
    (down, up)
}

impl Scheduler for EulerAncestral {
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
        noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        let sigma = self.sigmas.at(i);
        let original = self.config.prediction_type.original_of_sigma(sigma).of(sample, model_output);
        let (down, up) = ancestral_step(sigma, self.sigmas.at(i + 1));
        // diffusers draws for the last step too, where it adds nothing.
        let drawn = draw(noise, sample.len())?;
        let rest = down / sigma;
        let prev_sample = combine(&[(rest, sample), (1.0 - rest, &original), (up, &drawn)]);
        Ok(StepOutput { prev_sample, pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_sigma_noise(original, noise, self.sigmas.at(i))
    }
}
