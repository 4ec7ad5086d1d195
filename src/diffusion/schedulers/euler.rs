//! Euler. Karras, Aittala, Aila, Laine 2022, "Elucidating the Design Space of Diffusion-Based Generative Models",
//! arXiv:2206.00364, algorithm 2 without churn.
//! diffusers: `schedulers/scheduling_euler_discrete.py`.

use super::config::{FinalSigmas, InterpolationType, PredictionType, SchedulerConfig, TimestepType};
use super::noise_schedule::{NoiseSchedule, torch_linspace};
use super::sample::{add_sigma_noise, combine, scale_by_sigma};
use super::sigmas::Sigmas;
use super::{NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, StepOutput, holds_run, spacing};

#[derive(Clone)]
pub(super) struct Euler {
    run: Run,
    config: SchedulerConfig,
    sigmas: Sigmas,
}

impl Euler {
    pub fn new(name: SchedulerName, config: SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let training = NoiseSchedule::new(&config)?.sigmas(&config);
        let mut timesteps = spacing::timesteps(&config, steps, false);
        spacing::round_f32(&mut timesteps);
        let mut sigmas = match config.interpolation_type {
            InterpolationType::Linear => spacing::interpolate(&timesteps, &training),
            InterpolationType::LogLinear => {
                let logs = spacing::log_f32(&training);
                torch_linspace(logs[logs.len() - 1], logs[0], steps + 1)
                    .into_iter()
                    .map(|log| f64::from(log.exp()))
                    .collect()
            }
        };
        if let Some(chosen) = spacing::chosen_sigmas(&config, &sigmas, &training, steps) {
            sigmas = chosen.sigmas;
            timesteps = chosen.timesteps;
        }
        sigmas.push(match config.final_sigmas_type {
            FinalSigmas::Zero => 0.0,
            FinalSigmas::SigmaMin => training[0],
        });
        let sigmas = Sigmas::new(&config, sigmas);
        if config.timestep_type == TimestepType::Continuous
            && config.prediction_type == PredictionType::VPrediction
        {
            timesteps = sigmas.all().iter().map(|sigma| 0.25 * sigma.ln()).collect();
            timesteps.pop();
        }
        spacing::round_f32(&mut timesteps);
        Ok(Self { run: Run::new(name, timesteps), config, sigmas })
    }
}

impl Scheduler for Euler {
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
        let (sigma, next) = (self.sigmas.at(i), self.sigmas.at(i + 1));
        let original = self.config.prediction_type.original_of_sigma(sigma).of(sample, model_output);
        // sample + (sample − x₀) / σ · (σ' − σ)
        let rest = next / sigma;
        let prev_sample = combine(&[(rest, sample), (1.0 - rest, &original)]);
        Ok(StepOutput { prev_sample, pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_sigma_noise(original, noise, self.sigmas.at(i))
    }
}
