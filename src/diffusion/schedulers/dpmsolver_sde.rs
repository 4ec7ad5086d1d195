//! DPM-Solver++ as an SDE, single step with a midpoint: DPM++ SDE. Crowson's k-diffusion, `sample_dpmpp_sde`.
//! diffusers: `schedulers/scheduling_dpmsolver_sde.py`, with independent noise for both halves of a step where
//! diffusers draws from torchsde's Brownian tree.

use super::config::SchedulerConfig;
use super::euler_ancestral::ancestral_step;
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_sigma_noise, combine, draw, scale_by_sigma};
use super::sigmas::{Sigmas, each_but_first_twice};
use super::{NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, StepOutput, holds_run, spacing};

#[derive(Clone)]
pub(super) struct DpmSolverSde {
    run: Run,
    config: SchedulerConfig,
    sigmas: Sigmas,
}

/// A step's start, its middle in log σ, and its end.
struct Interval {
    from: f64,
    middle: f64,
    to: f64,
}

impl DpmSolverSde {
    pub fn new(name: SchedulerName, config: SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let config = config.without_karras_range();
        let training = NoiseSchedule::new(&config)?.sigmas(&config);
        let mut spaced = spacing::spaced(&config, &training, steps, false);
        let log_sigmas = spacing::log_f32(&training);
        let mut timesteps = each_but_first_twice(&spaced.timesteps);
        for (i, pair) in spaced.sigmas.windows(2).enumerate() {
            timesteps[2 * i + 1] = spacing::sigma_to_t((pair[0] * pair[1]).sqrt(), &log_sigmas);
        }
        spaced.sigmas.push(0.0);
        let sigmas = Sigmas::new(&config, spaced.sigmas).twice();
        Ok(Self { run: Run::new(name, timesteps), config, sigmas })
    }

    /// Whether call `i` is the second of its step.
    fn is_second(i: usize) -> bool {
        i % 2 == 1
    }

    fn interval(&self, i: usize) -> Interval {
        let start = if Self::is_second(i) { i - 1 } else { i };
        let (from, to) = (self.sigmas.at(start), self.sigmas.at(start + 1));
        Interval { from, middle: (from * to).sqrt(), to }
    }

    /// The sigma of the sample that call `i` sees.
    fn input_sigma(&self, i: usize) -> f64 {
        let interval = self.interval(i);
        if Self::is_second(i) { interval.middle } else { interval.from }
    }
}

impl Scheduler for DpmSolverSde {
    holds_run!();

    fn init_noise_sigma(&self) -> f64 {
        self.sigmas.init_noise_sigma()
    }

    fn scale_model_input(&self, sample: &[f32], i: usize) -> Vec<f32> {
        scale_by_sigma(sample, self.input_sigma(i))
    }

    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        let prediction = self.config.prediction_type;
        let original = prediction.original_of_sigma(self.input_sigma(i)).of(sample, model_output);
        let Interval { from, middle, to } = self.interval(i);
        if to == 0.0 {
            // An Euler step to no noise at all.
            return Ok(StepOutput { prev_sample: original.clone(), pred_original_sample: original });
        }
        let drawn = draw(noise, sample.len())?;
        // The first call goes from the start to the middle, the second again from the start, to the end.
        let start = self.run.state.sample.take();
        let start = if Self::is_second(i) { start } else { None };
        let target = if Self::is_second(i) { to } else { middle };
        let (down, up) = ancestral_step(from, target);
        let rest = down / from;
        let begin = start.as_deref().unwrap_or(sample);
        let prev_sample = combine(&[(rest, begin), (1.0 - rest, &original), (up, &drawn)]);
        if !Self::is_second(i) {
            self.run.state.sample = Some(sample.to_vec());
        }
        Ok(StepOutput { prev_sample, pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_sigma_noise(original, noise, self.sigmas.at(i))
    }
}
