//! Euler steps along a rectified flow. Esser et al. 2024, "Scaling Rectified Flow Transformers", arXiv:2403.03206.
//! diffusers: `schedulers/scheduling_flow_match_euler_discrete.py`.

use super::config::{PredictionType, SchedulerConfig, TimeShiftType};
use super::sample::{combine, draw};
use super::sigmas::Sigmas;
use super::{
    NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, SchedulerOptions, StepOutput, holds_run,
    spacing,
};

#[derive(Clone)]
pub(super) struct FlowMatchEuler {
    run: Run,
    config: SchedulerConfig,
    sigmas: Sigmas,
}

impl FlowMatchEuler {
    pub fn new(
        name: SchedulerName,
        config: SchedulerConfig,
        steps: usize,
        options: &SchedulerOptions,
    ) -> Result<Self, SchedulerError> {
        let n = config.num_train_timesteps as f64;
        let static_shift = |sigma: f64| config.shift * sigma / (1.0 + (config.shift - 1.0) * sigma);
        // diffusers shifts the smallest sigma when it is made, and once more with the others here.
        let smallest = if config.use_dynamic_shifting { 1.0 / n } else { static_shift(1.0 / n) };
        let spaced = spacing::linspace(n, f64::from(smallest as f32) * n, steps);
        let mut sigmas: Vec<f64> = spaced.into_iter().map(|t| t / n).collect();
        if config.use_dynamic_shifting {
            let mu = options.mu.ok_or(SchedulerError::NoShift)?;
            spacing::change(&mut sigmas, |sigma| time_shift(&config, mu, sigma));
        } else {
            spacing::change(&mut sigmas, static_shift);
        }
        if let Some(terminal) = config.shift_terminal.filter(|&terminal| terminal != 0.0) {
            stretch_to_terminal(&mut sigmas, terminal);
        }
        if let Some(chosen) = spacing::sigmas_of_kind(&config, &sigmas, steps) {
            sigmas = chosen;
        }
        spacing::round_f32(&mut sigmas);
        if config.invert_sigmas {
            spacing::change(&mut sigmas, |sigma| 1.0 - sigma);
            spacing::round_f32(&mut sigmas);
        }
        let mut timesteps: Vec<f64> = sigmas.iter().map(|sigma| sigma * n).collect();
        spacing::round_f32(&mut timesteps);
        sigmas.push(if config.invert_sigmas { 1.0 } else { 0.0 });
        let sigmas = Sigmas::new(&config, sigmas);
        Ok(Self { run: Run::new(name, timesteps), config, sigmas })
    }
}

/// Moves a sigma between 0 and 1 by `mu`, more noise for a larger one.
pub(super) fn time_shift(config: &SchedulerConfig, mu: f64, sigma: f64) -> f64 {
    let factor = match config.time_shift_type {
        TimeShiftType::Exponential => mu.exp(),
        TimeShiftType::Linear => mu,
    };
    factor / (factor + (1.0 / sigma - 1.0))
}

/// Stretches the sigmas so that the last one is `terminal`.
pub(super) fn stretch_to_terminal(sigmas: &mut [f64], terminal: f64) {
    let Some(&last) = sigmas.last() else { return };
    let scale = (1.0 - last) / (1.0 - terminal);
    spacing::change(sigmas, |sigma| 1.0 - (1.0 - sigma) / scale);
}

impl Scheduler for FlowMatchEuler {
    holds_run!();

    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        let (sigma, next) = (self.sigmas.at(i), self.sigmas.at(i + 1));
        let original = PredictionType::FlowPrediction.original(1.0 - sigma, sigma).of(sample, model_output);
        let prev_sample = if self.config.stochastic_sampling {
            combine(&[(1.0 - next, &original), (next, &draw(noise, sample.len())?)])
        } else {
            combine(&[(1.0, sample), (next - sigma, model_output)])
        };
        Ok(StepOutput { prev_sample, pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        let sigma = self.sigmas.at(i);
        combine(&[(1.0 - sigma, original), (sigma, noise)])
    }
}
