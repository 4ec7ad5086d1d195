//! LCM. Luo, Tan, Huang, Li, Zhao 2023, "Latent Consistency Models", arXiv:2310.04378.
//! diffusers: `schedulers/scheduling_lcm.py`.

use super::config::SchedulerConfig;
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_alpha_noise, combine, draw, limit};
use super::{
    NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, SchedulerOptions, StepOutput, holds_run,
    spacing,
};

/// Standard deviation of the data, in the boundary condition.
const SIGMA_DATA: f64 = 0.5;

#[derive(Clone)]
pub(super) struct Lcm {
    run: Run,
    config: SchedulerConfig,
    schedule: NoiseSchedule,
}

impl Lcm {
    pub fn new(
        name: SchedulerName,
        config: SchedulerConfig,
        steps: usize,
        options: &SchedulerOptions,
    ) -> Result<Self, SchedulerError> {
        let run = Run::new(name, timesteps(&name, &config, steps, options)?);
        let schedule = NoiseSchedule::with_final_alpha(&config)?;
        schedule.check(&config, &run)?;
        Ok(Self { run, config, schedule })
    }
}

/// `steps` of the timesteps that a consistency model was distilled on, at equal distances, largest first.
fn timesteps(
    name: &SchedulerName,
    config: &SchedulerConfig,
    steps: usize,
    options: &SchedulerOptions,
) -> Result<Vec<f64>, SchedulerError> {
    let originals = options.original_inference_steps.unwrap_or(config.original_inference_steps);
    let stride = config.num_train_timesteps / originals;
    let available = (originals as f64 * options.schedule_share()) as usize;
    let origin: Vec<f64> = (1..=available).map(|i| (i * stride) as f64 - 1.0).collect();
    pick(name, &origin, steps, available)
}

/// `steps` of `origin` (smallest first), at equal distances from its end; `max` is the most that may be asked for.
pub(super) fn pick(
    name: &SchedulerName,
    origin: &[f64],
    steps: usize,
    max: usize,
) -> Result<Vec<f64>, SchedulerError> {
    if steps > max.min(origin.len()) {
        return Err(SchedulerError::TooManySteps { name: name.info.name, steps, max: max.min(origin.len()) });
    }
    Ok(spacing::first_of(origin.len(), steps).map(|i| origin[origin.len() - 1 - i]).collect())
}

impl Scheduler for Lcm {
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
        let prediction = self.config.prediction_type;
        let mut original = prediction.original(alpha.sqrt(), (1.0 - alpha).sqrt()).of(sample, model_output);
        limit(&self.config, &mut original);
        // The boundary condition: at timestep 0 the consistency function gives the sample itself.
        let scaled = timestep * self.config.timestep_scaling;
        let square = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (SIGMA_DATA * SIGMA_DATA / square, scaled / square.sqrt());
        let denoised = combine(&[(out, &original), (skip, sample)]);
        if self.run.is_last(i) {
            return Ok(StepOutput { prev_sample: denoised.clone(), pred_original_sample: denoised });
        }
        let drawn = draw(noise, sample.len())?;
        let prev_sample = add_alpha_noise(&self.schedule, &denoised, &drawn, self.run.timesteps[i + 1]);
        Ok(StepOutput { prev_sample, pred_original_sample: denoised })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_alpha_noise(&self.schedule, original, noise, self.run.clamped_timestep(i))
    }
}
