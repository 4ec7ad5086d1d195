//! DPM-Solver and DPM-Solver++, multistep, as ODE or SDE: DPM++ 2M and DPM++ 2M SDE.
//! Lu et al. 2022, "DPM-Solver", arXiv:2206.00927, and "DPM-Solver++", arXiv:2211.01095.
//! diffusers: `schedulers/scheduling_dpmsolver_multistep.py`.

use super::config::{AlgorithmType, BetaSchedule, FinalSigmas, PredictionType, SchedulerConfig, SolverType};
use super::level::Level;
use super::noise_schedule::NoiseSchedule;
use super::sample::{combine, draw, threshold};
use super::sigmas::Sigmas;
use super::{
    NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, SchedulerOptions, StepOutput, holds_run,
    spacing,
};

/// Below this many steps `lower_order_final` counts.
const FEW_STEPS: usize = 15;

#[derive(Clone)]
pub(super) struct DpmSolverMultistep {
    run: Run,
    config: SchedulerConfig,
    sigmas: Sigmas,
}

/// The update's factors: of the sample, of D0, D1 and D2, and of the noise.
struct Update {
    sample: f64,
    d0: f64,
    d1: f64,
    d2: f64,
    noise: f64,
}

impl DpmSolverMultistep {
    pub fn new(
        name: SchedulerName,
        mut config: SchedulerConfig,
        steps: usize,
        options: &SchedulerOptions,
    ) -> Result<Self, SchedulerError> {
        if let (true, Some(mu)) = (config.use_dynamic_shifting, options.mu) {
            config.flow_shift = mu.exp();
        }
        let training = NoiseSchedule::new(&config)?.sigmas(&config);
        let (mut sigmas, mut timesteps) = schedule(&config, &training, steps);
        sigmas.push(match config.final_sigmas_type {
            FinalSigmas::Zero => 0.0,
            FinalSigmas::SigmaMin => training[0],
        });
        // torch's cast to int64 cuts fractions off.
        spacing::change(&mut timesteps, f64::trunc);
        let sigmas = Sigmas::new(&config, sigmas);
        spacing::check_distinct(&sigmas.all()[..timesteps.len()], steps)?;
        Ok(Self { run: Run::new(name, timesteps), config, sigmas })
    }

    fn level(&self, i: usize) -> Level {
        Level::new(self.sigmas.at(i), self.config.use_flow_sigmas)
    }

    /// What the algorithm integrates (the clean sample or the noise), and the clean sample.
    fn convert(&self, i: usize, output: &[f32], sample: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let Level { alpha, sigma, .. } = self.level(i);
        let prediction = self.config.prediction_type;
        let mut original = prediction.original(alpha, sigma).of(sample, output);
        if self.config.thresholding {
            threshold(&self.config, &mut original);
        }
        if self.config.predicts_original() {
            return (original.clone(), original);
        }
        let epsilon = if self.config.thresholding {
            PredictionType::Sample.epsilon(alpha, sigma).of(sample, &original)
        } else {
            prediction.epsilon(alpha, sigma).of(sample, output)
        };
        (epsilon, original)
    }

    fn order(&self, i: usize) -> usize {
        let config = &self.config;
        let calls = self.run.timesteps.len();
        let few = config.lower_order_final && calls < FEW_STEPS;
        let final_first_order = self.run.is_last(i)
            && (config.euler_at_final || few || config.final_sigmas_type == FinalSigmas::Zero);
        let most = if final_first_order {
            1
        } else if few && i + 2 == calls {
            2
        } else {
            config.solver_order
        };
        most.min(config.solver_order).min(self.run.state.calls() + 1)
    }

    /// The factors of a step from level `s` to level `t`; D1 and D2 count from order 2 and 3 on.
    fn factors(&self, t: &Level, s: &Level, order: usize) -> Update {
        let h = t.lambda - s.lambda;
        let midpoint = order == 2 && self.config.solver_type == SolverType::Midpoint;
        let mut update = match self.config.algorithm_type {
            AlgorithmType::DpmSolverPlusPlus => {
                let e = (-h).exp_m1();
                Update {
                    sample: t.sigma / s.sigma,
                    d0: -t.alpha * e,
                    d1: t.alpha * if midpoint { -0.5 * e } else { e / h + 1.0 },
                    d2: -t.alpha * ((e + h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            AlgorithmType::DpmSolver => {
                let e = h.exp_m1();
                Update {
                    sample: t.alpha / s.alpha,
                    d0: -t.sigma * e,
                    d1: -t.sigma * if midpoint { 0.5 * e } else { e / h - 1.0 },
                    d2: -t.sigma * ((e - h) / (h * h) - 0.5),
                    noise: 0.0,
                }
            }
            AlgorithmType::SdeDpmSolverPlusPlus => {
                let e = -(-2.0 * h).exp_m1();
                Update {
                    sample: t.sigma / s.sigma * (-h).exp(),
                    d0: t.alpha * e,
                    d1: t.alpha * if midpoint { 0.5 * e } else { e / (-2.0 * h) + 1.0 },
                    d2: t.alpha * ((e - 2.0 * h) / (4.0 * h * h) - 0.5),
                    noise: t.sigma * e.max(0.0).sqrt(),
                }
            }
            AlgorithmType::SdeDpmSolver => {
                let e = h.exp_m1();
                Update {
                    sample: t.alpha / s.alpha,
                    d0: -2.0 * t.sigma * e,
                    d1: -2.0 * t.sigma * if midpoint { 0.5 * e } else { e / h - 1.0 },
                    d2: 0.0,
                    noise: t.sigma * (2.0 * h).exp_m1().max(0.0).sqrt(),
                }
            }
        };
        if order < 2 {
            update.d1 = 0.0;
        }
        if order < 3 {
            update.d2 = 0.0;
        }
        update
    }
}

/// Sigmas without the final one, and their timesteps.
fn schedule(config: &SchedulerConfig, training: &[f64], steps: usize) -> (Vec<f64>, Vec<f64>) {
    let n = config.num_train_timesteps;
    // karras, lu and flow sigmas round their timesteps unless the betas follow a cosine.
    let rounded = |mut timesteps: Vec<f64>| {
        if config.beta_schedule != BetaSchedule::SquaredcosCapV2 {
            spacing::change(&mut timesteps, f64::round_ties_even);
        }
        timesteps
    };
    let from_largest: Vec<f64> = training.iter().rev().copied().collect();
    if let Some(chosen) = spacing::chosen_sigmas(config, &from_largest, training, steps) {
        let timesteps = if config.use_karras_sigmas { rounded(chosen.timesteps) } else { chosen.timesteps };
        return (chosen.sigmas, timesteps);
    }
    if config.use_lu_lambdas {
        let chosen = spacing::lu(training, steps);
        return (chosen.sigmas, rounded(chosen.timesteps));
    }
    if config.use_flow_sigmas {
        let shift = config.flow_shift;
        let alphas = spacing::linspace(1.0, 1.0 / n as f64, steps + 1);
        let sigmas: Vec<f64> = alphas[1..]
            .iter()
            .rev()
            .map(|alpha| 1.0 - alpha)
            .map(|sigma| shift * sigma / (1.0 + (shift - 1.0) * sigma))
            .collect();
        let timesteps = sigmas.iter().map(|sigma| sigma * n as f64).collect();
        return (sigmas, timesteps);
    }
    let timesteps = spacing::solver_timesteps(config, steps, n - clipped_timesteps(config, training));
    (spacing::interpolate(&timesteps, training), timesteps)
}

/// How many of the noisiest timesteps lie below `lambda_min_clipped`.
fn clipped_timesteps(config: &SchedulerConfig, training: &[f64]) -> usize {
    let Some(min) = config.lambda_min_clipped else { return 0 };
    training.iter().rev().take_while(|&&sigma| Level::new(sigma, false).lambda < min).count()
}

impl Scheduler for DpmSolverMultistep {
    holds_run!();

    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        let drawn = if self.config.algorithm_type.is_stochastic() {
            draw(noise, sample.len())?
        } else {
            vec![0.0; sample.len()]
        };
        let order = self.order(i);
        let (converted, pred_original_sample) = self.convert(i, model_output, sample);
        self.run.state.remember(converted, self.config.solver_order);
        let (t, s0) = (self.level(i + 1), self.level(i));
        let update = self.factors(&t, &s0, order);
        // D1 and D2 are differences of the last outputs, divided by how far apart these were compared to this step.
        let h = t.lambda - s0.lambda;
        let past = |back: usize| self.run.state.recall(back);
        let mut terms = vec![(update.sample, sample), (update.noise, drawn.as_slice())];
        if order == 1 {
            terms.push((update.d0, past(0)));
        } else {
            let s1 = self.level(i - 1);
            let r0 = (s0.lambda - s1.lambda) / h;
            if order == 2 {
                terms.extend([(update.d0 + update.d1 / r0, past(0)), (-update.d1 / r0, past(1))]);
            } else {
                let r1 = (s1.lambda - self.level(i - 2).lambda) / h;
                let newer = (update.d1 * (1.0 + r0 / (r0 + r1)) + update.d2 / (r0 + r1)) / r0;
                let older = -(update.d1 * r0 + update.d2) / (r0 + r1) / r1;
                terms.extend([(update.d0 + newer, past(0)), (older - newer, past(1)), (-older, past(2))]);
            }
        }
        Ok(StepOutput { prev_sample: combine(&terms), pred_original_sample })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        let Level { alpha, sigma, .. } = self.level(i);
        combine(&[(alpha, original), (sigma, noise)])
    }
}
