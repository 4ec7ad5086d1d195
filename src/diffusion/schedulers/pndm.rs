//! PNDM and, with `skip_prk_steps`, PLMS. Liu, Ren, Lin, Zhao 2022, "Pseudo Numerical Methods for Diffusion Models
//! on Manifolds", arXiv:2202.09778, formulas 9, 12, 13 and algorithm 2.
//! diffusers: `schedulers/scheduling_pndm.py`.

use super::config::{PredictionType, SchedulerConfig};
use super::noise_schedule::NoiseSchedule;
use super::sample::{add_alpha_noise, combine};
use super::{NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, StepOutput, holds_run, spacing};

/// Steps that start with Runge–Kutta, four model calls each.
const RUNGE_KUTTA_STEPS: usize = 3;
/// Timesteps that the Runge–Kutta start looks at.
const PNDM_ORDER: usize = 4;

#[derive(Clone)]
pub(super) struct Pndm {
    run: Run,
    config: SchedulerConfig,
    schedule: NoiseSchedule,
    /// Distance from a timestep to the one before, in training timesteps.
    stride: usize,
    /// Model calls of the Runge–Kutta start; 0 when it is skipped.
    prk_calls: usize,
}

impl Pndm {
    pub fn new(name: SchedulerName, config: SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let schedule = NoiseSchedule::with_final_alpha(&config)?;
        let stride = config.num_train_timesteps / steps;
        let spaced = spacing::timesteps(&config, steps, true);
        let prk = if config.skip_prk_steps {
            Vec::new()
        } else if spaced.len() >= PNDM_ORDER {
            prk_timesteps(&spaced, stride)
        } else {
            return Err(SchedulerError::TooFewSteps { name: name.info.name, min: PNDM_ORDER });
        };
        let prk_calls = prk.len();
        let timesteps = if config.skip_prk_steps {
            // The second timestep twice: the first step is done again with the mean of both outputs.
            let again = spaced.get(1).copied();
            spaced.iter().take(2).copied().chain(again).chain(spaced.iter().skip(2).copied()).collect()
        } else {
            prk.into_iter().chain(spaced.into_iter().skip(RUNGE_KUTTA_STEPS)).collect()
        };
        let run = Run::new(name, timesteps);
        schedule.check(&config, &run)?;
        Ok(Self { run, config, schedule, stride, prk_calls })
    }

    /// From `timestep` to `prev_timestep`, formula 9; also the clean sample that `output` predicts.
    fn transfer(&self, timestep: f64, prev_timestep: f64, sample: &[f32], output: &[f32]) -> StepOutput {
        let alpha = self.schedule.alpha_cumprod(timestep);
        let alpha_prev = self.schedule.alpha_cumprod(prev_timestep);
        let (beta, beta_prev) = (1.0 - alpha, 1.0 - alpha_prev);
        let prediction = self.config.prediction_type;
        let epsilon = prediction.epsilon(alpha.sqrt(), beta.sqrt()).of(sample, output);
        let denominator = alpha * beta_prev.sqrt() + (alpha * beta * alpha_prev).sqrt();
        let prev_sample = combine(&[
            ((alpha_prev / alpha).sqrt(), sample),
            (-(alpha_prev - alpha) / denominator, &epsilon),
        ]);
        let original = PredictionType::Epsilon.original(alpha.sqrt(), beta.sqrt()).of(sample, &epsilon);
        StepOutput { prev_sample, pred_original_sample: original }
    }

    /// Four model calls a step: half a step twice, a whole one, and the mean of all (formula 13).
    ///
    /// `history` holds the first output of each step and, last while a step is under way, the running mean.
    fn step_prk(&mut self, i: usize, output: &[f32], sample: &[f32]) -> StepOutput {
        let call = self.run.state.calls();
        let half = if call % 2 == 1 { 0 } else { self.stride / 2 };
        let prev_timestep = self.run.timesteps[i] - half as f64;
        let timestep = self.run.timesteps[call / 4 * 4];
        let state = &mut self.run.state;
        let mean = if call.is_multiple_of(4) { None } else { state.history.pop() };
        let mean = mean.unwrap_or_else(|| vec![0.0; sample.len()]);
        let weight = if matches!(call % 4, 0 | 3) { 1.0 / 6.0 } else { 1.0 / 3.0 };
        let mean = combine(&[(1.0, &mean), (weight, output)]);
        if call.is_multiple_of(4) {
            state.history.push(output.to_vec());
            state.sample = Some(sample.to_vec());
        }
        let start = state.sample.clone().unwrap_or_else(|| sample.to_vec());
        if call % 4 == 3 {
            return self.transfer(timestep, prev_timestep, &start, &mean);
        }
        state.history.push(mean);
        self.transfer(timestep, prev_timestep, &start, output)
    }

    /// One model call a step, with the last four outputs (formula 12); the first step takes two.
    fn step_plms(&mut self, i: usize, output: &[f32], sample: &[f32]) -> StepOutput {
        let stride = self.stride as f64;
        let timestep = self.run.timesteps[i];
        let call = self.run.state.calls();
        if call == 1 {
            // The first step again, from where it started, with the mean of the outputs at both of its ends.
            let start = self.run.state.sample.take();
            let mean = combine(&[(0.5, output), (0.5, self.run.state.recall(0))]);
            return self.transfer(timestep + stride, timestep, start.as_deref().unwrap_or(sample), &mean);
        }
        self.run.state.remember(output.to_vec(), ADAMS_BASHFORTH.len());
        self.run.state.sample = (call == 0).then(|| sample.to_vec());
        let known = self.run.state.history.len();
        let terms: Vec<(f64, &[f32])> = ADAMS_BASHFORTH[known - 1]
            .iter()
            .enumerate()
            .map(|(back, &factor)| (factor, self.run.state.recall(back)))
            .collect();
        self.transfer(timestep, timestep - stride, sample, &combine(&terms))
    }
}

/// Factors of the last outputs, newest first, by how many there are.
const ADAMS_BASHFORTH: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// The timesteps of the Runge–Kutta start. `spaced` are those of all steps, largest first.
fn prk_timesteps(spaced: &[f64], stride: usize) -> Vec<f64> {
    let half = (stride / 2) as f64;
    // Each of the first three steps: its start, its middle twice, its end.
    spaced[..PNDM_ORDER]
        .windows(2)
        .flat_map(|pair| [pair[0], pair[1] + half, pair[1] + half, pair[1]])
        .collect()
}

impl Scheduler for Pndm {
    holds_run!();

    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        _noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        Ok(if self.run.state.calls() < self.prk_calls {
            self.step_prk(i, model_output, sample)
        } else {
            self.step_plms(i, model_output, sample)
        })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        add_alpha_noise(&self.schedule, original, noise, self.run.clamped_timestep(i))
    }
}
