//! TCD. Zheng, Hu, Fan, Wang, Ding, Tao, Cham 2024, "Trajectory Consistency Distillation", arXiv:2402.19159.
//! diffusers: `schedulers/scheduling_tcd.py`.

use super::config::SchedulerConfig;
use super::lcm::pick;
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_alpha_noise, combine, draw};
use super::{
    NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, SchedulerOptions, StepOutput, holds_run,
};

#[derive(Clone)]
pub(super) struct Tcd {
    run: Run,
    config: SchedulerConfig,
    schedule: NoiseSchedule,
    /// γ of the paper: how far below the next timestep a step goes before noise brings it back.
    eta: f64,
}

impl Tcd {
    pub fn new(
        name: SchedulerName,
        config: SchedulerConfig,
        steps: usize,
        options: &SchedulerOptions,
    ) -> Result<Self, SchedulerError> {
        let run = Run::new(name, timesteps(&name, &config, steps, options)?);
        let schedule = NoiseSchedule::with_final_alpha(&config)?;
        schedule.check(&config, &run)?;
        Ok(Self { run, config, schedule, eta: options.eta })
    }
}

/// `steps` timesteps at equal distances, largest first: of those that the model was distilled on, or of all when the
/// request says how many steps that were.
fn timesteps(
    name: &SchedulerName,
    config: &SchedulerConfig,
    steps: usize,
    options: &SchedulerOptions,
) -> Result<Vec<f64>, SchedulerError> {
    let n = config.num_train_timesteps;
    let share = options.schedule_share();
    if let Some(originals) = options.original_inference_steps {
        let origin: Vec<f64> = (0..(n as f64 * share) as usize).map(|t| t as f64).collect();
        return pick(name, &origin, steps, originals);
    }
    let originals = config.original_inference_steps;
    let available = (originals as f64 * share) as usize;
    let origin: Vec<f64> = (1..=available).map(|i| (i * (n / originals)) as f64 - 1.0).collect();
    pick(name, &origin, steps, available)
}

impl Scheduler for Tcd {
    holds_run!();

    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        let next = self.run.timesteps.get(i + 1).copied().unwrap_or(0.0);
        // diffusers multiplies an integer tensor by a Python number: in float32.
        let target = f64::from(((1.0 - self.eta) as f32 * next as f32).floor());
        let alpha = self.schedule.alpha_cumprod(self.run.timesteps[i]);
        let alpha_next = self.schedule.alpha_cumprod(next);
        let alpha_target = self.schedule.alpha_cumprod(target);
        let prediction = self.config.prediction_type;
        let original = prediction.original(alpha.sqrt(), (1.0 - alpha).sqrt()).of(sample, model_output);
        let epsilon = prediction.epsilon(alpha.sqrt(), (1.0 - alpha).sqrt()).of(sample, model_output);
        let noised = combine(&[(alpha_target.sqrt(), &original), ((1.0 - alpha_target).sqrt(), &epsilon)]);
        let prev_sample = if self.eta > 0.0 && !self.run.is_last(i) {
            let kept = alpha_next / alpha_target;
            combine(&[(kept.sqrt(), &noised), ((1.0 - kept).max(0.0).sqrt(), &draw(noise, sample.len())?)])
        } else {
            noised
        };
        Ok(StepOutput { prev_sample, pred_original_sample: original })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_alpha_noise(&self.schedule, original, noise, self.run.clamped_timestep(i))
    }
}
