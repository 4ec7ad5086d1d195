//! Linear multistep of order 4 (Adams–Bashforth over sigma). Crowson's k-diffusion, `sample_lms`.
//! diffusers: `schedulers/scheduling_lms_discrete.py`.

use super::config::SchedulerConfig;
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_sigma_noise, combine, scale_by_sigma};
use super::sigmas::Sigmas;
use super::{NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, StepOutput, holds_run, spacing};

/// Derivatives that a step looks at.
const ORDER: usize = 4;

#[derive(Clone)]
pub(super) struct Lms {
    run: Run,
    config: SchedulerConfig,
    sigmas: Sigmas,
}

impl Lms {
    pub fn new(name: SchedulerName, config: SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let config = config.without_karras_range();
        let training = NoiseSchedule::new(&config)?.sigmas(&config);
        let mut spaced = spacing::spaced(&config, &training, steps, true);
        spacing::round_f32(&mut spaced.timesteps);
        spaced.sigmas.push(0.0);
        let sigmas = Sigmas::new(&config, spaced.sigmas);
        Ok(Self { run: Run::new(name, spaced.timesteps), config, sigmas })
    }

    /// The integral from σᵢ to σᵢ₊₁ of the Lagrange polynomial that is 1 at σᵢ₋ₖ and 0 at the other of the last
    /// `order` sigmas.
    fn coefficient(&self, order: usize, i: usize, k: usize) -> f64 {
        // Gauss–Legendre with two nodes is exact up to degree 3, the highest here.
        let node = (1.0f64 / 3.0).sqrt();
        let (from, to) = (self.sigmas.at(i), self.sigmas.at(i + 1));
        let (middle, half) = (0.5 * (from + to), 0.5 * (to - from));
        let polynomial = |tau: f64| {
            let at = |back: usize| self.sigmas.at(i - back);
            (0..order).filter(|&j| j != k).map(|j| (tau - at(j)) / (at(k) - at(j))).product::<f64>()
        };
        half * (polynomial(middle - half * node) + polynomial(middle + half * node))
    }
}

impl Scheduler for Lms {
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
        let sigma = self.sigmas.at(i);
        let original = self.config.prediction_type.original_of_sigma(sigma).of(sample, model_output);
        let derivative = combine(&[(1.0 / sigma, sample), (-1.0 / sigma, &original)]);
        self.run.state.remember(derivative, ORDER);
        // As in diffusers the order counts from the schedule's start: image to image takes the first terms of a
        // higher order than it has derivatives for.
        let order = ORDER.min(i + 1);
        let mut terms = vec![(1.0, sample)];
        for k in 0..order.min(self.run.state.history.len()) {
            terms.push((self.coefficient(order, i, k), self.run.state.recall(k)));
        }
        Ok(StepOutput { prev_sample: combine(&terms), pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_sigma_noise(original, noise, self.sigmas.at(i))
    }
}
