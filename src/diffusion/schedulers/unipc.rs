//! UniPC. Zhao, Bai, Rao, Zhou, Lu 2023, "UniPC: A Unified Predictor-Corrector Framework", arXiv:2302.04867.
//! diffusers: `schedulers/scheduling_unipc_multistep.py`.

use super::config::{FinalSigmas, SchedulerConfig, SigmaKind, SolverType};
use super::flow_match_euler::{stretch_to_terminal, time_shift};
use super::level::Level;
use super::noise_schedule::NoiseSchedule;
use super::sample::{combine, threshold};
use super::sigmas::Sigmas;
use super::{
    NoiseSource, Run, Scheduler, SchedulerError, SchedulerName, SchedulerOptions, StepOutput, holds_run,
    spacing,
};

#[derive(Clone)]
pub(super) struct UniPc {
    run: Run,
    config: SchedulerConfig,
    sigmas: Sigmas,
}

impl UniPc {
    pub fn new(
        name: SchedulerName,
        config: SchedulerConfig,
        steps: usize,
        options: &SchedulerOptions,
    ) -> Result<Self, SchedulerError> {
        let (sigmas, mut timesteps) = schedule(&config, steps, options)?;
        // torch's cast to int64 cuts fractions off.
        spacing::change(&mut timesteps, f64::trunc);
        let sigmas = Sigmas::new(&config, sigmas);
        spacing::check_distinct(&sigmas.all()[..timesteps.len()], steps)?;
        Ok(Self { run: Run::new(name, timesteps), config, sigmas })
    }

    fn level(&self, i: usize) -> Level {
        Level::new(self.sigmas.at(i), self.config.use_flow_sigmas)
    }

    /// The order that the predictor of call `i` has, and the corrector of the next call.
    fn order(&self, i: usize) -> usize {
        let most = self.config.solver_order;
        let left = if self.config.lower_order_final { self.run.timesteps.len() - i } else { most };
        most.min(left).min(i - self.run.state.begin_index + 1)
    }

    /// What is integrated (the clean sample or the noise), and the clean sample.
    fn convert(&self, i: usize, output: &[f32], sample: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let Level { alpha, sigma, .. } = self.level(i);
        let prediction = self.config.prediction_type;
        let mut original = prediction.original(alpha, sigma).of(sample, output);
        if !self.config.predict_x0 {
            return (prediction.epsilon(alpha, sigma).of(sample, output), original);
        }
        if self.config.thresholding {
            threshold(&self.config, &mut original);
        }
        (original.clone(), original)
    }

    /// The step from call `from` to call `from + 1` that starts at `sample`: by the last `order` outputs, the newest of
    /// which is the one at `from`, and, when `arrival` is given, by the output at its end, too.
    fn integrate(&self, from: usize, order: usize, sample: &[f32], arrival: Option<&[f32]>) -> Vec<f32> {
        let (t, s0) = (self.level(from + 1), self.level(from));
        let h = t.lambda - s0.lambda;
        let output = |back: usize| self.run.state.recall(back);
        let (hh, carried, scale) = if self.config.predict_x0 {
            (-h, t.sigma / s0.sigma, t.alpha)
        } else {
            (h, t.alpha / s0.alpha, t.sigma)
        };
        let phi_1 = hh.exp_m1();
        let mut terms = vec![(carried, sample)];
        let mut newest_factor = -scale * phi_1;
        // Where the other outputs lie, in steps of h from the newest: negative before it, 1 at the arrival.
        let mut nodes: Vec<f64> = (1..order).map(|k| (self.level(from - k).lambda - s0.lambda) / h).collect();
        if arrival.is_some() {
            nodes.push(1.0);
        }
        let b_h = if self.config.solver_type == SolverType::Bh1 { hh } else { phi_1 };
        for (k, (weight, node)) in weights(&nodes, hh, b_h).into_iter().zip(&nodes).enumerate() {
            let difference = -scale * b_h * weight / node;
            newest_factor -= difference;
            terms.push((difference, if k + 1 < order { output(k + 1) } else { arrival.unwrap_or(&[]) }));
        }
        terms.push((newest_factor, output(0)));
        combine(&terms)
    }
}

/// The weights ρ of the differences at `nodes`, from Σ ρₖ rₖⁿ⁻¹ = n! φₙ₊₁(h) / B(h) for n = 1, 2, …
fn weights(nodes: &[f64], hh: f64, b_h: f64) -> Vec<f64> {
    let n = nodes.len();
    // diffusers leaves out solving for one node: ½ is right to second order.
    if n <= 1 {
        return vec![0.5; n];
    }
    let mut factorial = 1.0;
    let mut phi = hh.exp_m1() / hh - 1.0;
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    for power in 0..n {
        let mut row: Vec<f64> = nodes.iter().map(|node| node.powi(power as i32)).collect();
        row.push(phi * factorial / b_h);
        rows.push(row);
        factorial *= (power + 2) as f64;
        phi = phi / hh - 1.0 / factorial;
    }
    solve(rows)
}

/// Solves a system of linear equations, given as rows with their right side, by Gauss' elimination with pivots.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let (above, below) = rows.split_at_mut(column + 1);
        let pivot = &above[column];
        for row in below {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(pivot).for_each(|(value, &p)| *value -= factor * p);
        }
    }
    let mut solution = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * solution[j]).sum();
        solution[i] = (rows[i][n] - known) / rows[i][i];
    }
    solution
}

/// Sigmas, the final one included, and timesteps.
fn schedule(
    config: &SchedulerConfig,
    steps: usize,
    options: &SchedulerOptions,
) -> Result<(Vec<f64>, Vec<f64>), SchedulerError> {
    let n = config.num_train_timesteps as f64;
    let training = NoiseSchedule::new(config)?.sigmas(config);
    let from_largest: Vec<f64> = training.iter().rev().copied().collect();
    let (mut sigmas, timesteps) =
        if let Some(mut chosen) = spacing::chosen_sigmas(config, &from_largest, &training, steps) {
            match config.sigma_kind() {
                Some(SigmaKind::Karras) if config.use_flow_sigmas => {
                    spacing::change(&mut chosen.sigmas, |sigma| sigma / (sigma + 1.0));
                    chosen.timesteps = chosen.sigmas.iter().map(|sigma| sigma * n).collect();
                }
                Some(SigmaKind::Karras) => {
                    spacing::change(&mut chosen.timesteps, f64::round_ties_even);
                }
                _ => {}
            }
            (chosen.sigmas, chosen.timesteps)
        } else if config.use_flow_sigmas {
            let sigmas = flow_sigmas(config, steps, options)?;
            let timesteps = sigmas.iter().map(|sigma| sigma * n).collect();
            (sigmas, timesteps)
        } else {
            let timesteps = spacing::solver_timesteps(config, steps, config.num_train_timesteps);
            (spacing::interpolate(&timesteps, &training), timesteps)
        };
    let replaced = config.sigma_kind().is_some() || config.use_flow_sigmas;
    sigmas.push(match config.final_sigmas_type {
        FinalSigmas::Zero => 0.0,
        FinalSigmas::SigmaMin if replaced => sigmas[sigmas.len() - 1],
        FinalSigmas::SigmaMin => training[0],
    });
    Ok((sigmas, timesteps))
}

/// At σ = 1 nothing of the clean sample is left and λ is infinite: the first sigma stays this much below.
const SHORT_OF_ONE: f64 = 1e-6;

fn flow_sigmas(
    config: &SchedulerConfig,
    steps: usize,
    options: &SchedulerOptions,
) -> Result<Vec<f64>, SchedulerError> {
    let mut sigmas = spacing::linspace(1.0, 1.0 / config.num_train_timesteps as f64, steps + 1);
    sigmas.pop();
    if config.use_dynamic_shifting {
        let mu = options.mu.ok_or(SchedulerError::NoShift)?;
        spacing::change(&mut sigmas, |sigma| time_shift(config, mu, sigma));
    } else {
        let shift = config.flow_shift;
        spacing::change(&mut sigmas, |sigma| shift * sigma / (1.0 + (shift - 1.0) * sigma));
    }
    if let Some(terminal) = config.shift_terminal.filter(|&terminal| terminal != 0.0) {
        stretch_to_terminal(&mut sigmas, terminal);
    }
    if (sigmas[0] - 1.0).abs() < SHORT_OF_ONE {
        sigmas[0] -= SHORT_OF_ONE;
    }
    Ok(sigmas)
}

impl Scheduler for UniPc {
    holds_run!();

    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        _noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        let (converted, pred_original_sample) = self.convert(i, model_output, sample);
        // The corrector does the last step again, with the output at its end.
        let sample = match self.run.state.sample.take() {
            Some(last) if !self.config.disable_corrector.contains(&(i - 1)) => {
                self.integrate(i - 1, self.order(i - 1), &last, Some(&converted))
            }
            _ => sample.to_vec(),
        };
        self.run.state.remember(converted, self.config.solver_order);
        let prev_sample = self.integrate(i, self.order(i), &sample, None);
        self.run.state.sample = Some(sample);
        Ok(StepOutput { prev_sample, pred_original_sample })
    }

    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32> {
        let Level { alpha, sigma, .. } = self.level(i);
        combine(&[(alpha, original), (sigma, noise)])
    }
}
