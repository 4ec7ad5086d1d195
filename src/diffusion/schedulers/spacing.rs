//! Which training timesteps the inference steps visit, and which sigmas those have: numpy's arithmetic, so that
//! timesteps that are rounded or cut to integers come out as in diffusers.
//!
//! Knows nothing of latents.

use super::SchedulerError;
use super::config::{SchedulerConfig, SigmaKind, TimestepSpacing};

/// The sigmas of all steps, largest first and without the final one, and the timestep of each.
pub(super) struct Steps {
    pub sigmas: Vec<f64>,
    pub timesteps: Vec<f64>,
}

/// `numpy.linspace(start, stop, n)`.
pub(super) fn linspace(start: f64, stop: f64, n: usize) -> Vec<f64> {
    let step = (stop - start) / (n.max(2) - 1) as f64;
    (0..n).map(|i| if i > 0 && i == n - 1 { stop } else { i as f64 * step + start }).collect()
}

/// `numpy.arange(start, 0, -step)`.
fn arange_down(start: f64, step: f64) -> Vec<f64> {
    let delta = (start - step) - start;
    let n = (-start / -step).ceil().max(0.0) as usize;
    (0..n).map(|i| start + i as f64 * delta).collect()
}

/// Replaces every value by what `f` makes of it.
pub(super) fn change(values: &mut [f64], f: impl Fn(f64) -> f64) {
    for value in values {
        *value = f(*value);
    }
}

/// Rounds to the f32 that torch stores.
pub(super) fn round_f32(values: &mut [f64]) {
    change(values, |value| f64::from(value as f32));
}

/// The timesteps of the classes whose model calls start at the schedule's end: DDIM, DDPM, PNDM with `round`,
/// Euler, Heun and LMS without, which keep linspace's fractions. Largest first.
pub(super) fn timesteps(config: &SchedulerConfig, steps: usize, round: bool) -> Vec<f64> {
    let n = config.num_train_timesteps;
    let mut timesteps = match config.timestep_spacing {
        TimestepSpacing::Linspace => linspace(0.0, (n - 1) as f64, steps),
        TimestepSpacing::Leading => leading(n / steps, steps, config.steps_offset),
        TimestepSpacing::Trailing => return trailing(n, n, steps),
    };
    if round {
        change(&mut timesteps, f64::round_ties_even);
    }
    timesteps.reverse();
    timesteps
}

/// The timesteps of the multistep solvers (DPM-Solver, UniPC), which leave room for one more step before timestep 0.
///
/// `last_timestep` is the number of training timesteps, less those that `lambda_min_clipped` cuts off.
pub(super) fn solver_timesteps(config: &SchedulerConfig, steps: usize, last_timestep: usize) -> Vec<f64> {
    let mut timesteps: Vec<f64> = match config.timestep_spacing {
        TimestepSpacing::Linspace => linspace(0.0, last_timestep as f64 - 1.0, steps + 1)
            .into_iter()
            .map(f64::round_ties_even)
            .collect(),
        TimestepSpacing::Leading => leading(last_timestep / (steps + 1), steps + 1, config.steps_offset),
        TimestepSpacing::Trailing => return trailing(config.num_train_timesteps, last_timestep, steps),
    };
    timesteps.reverse();
    timesteps.pop();
    timesteps
}

fn leading(ratio: usize, steps: usize, offset: i64) -> Vec<f64> {
    (0..steps).map(|i| (i * ratio) as f64 + offset as f64).collect()
}

fn trailing(num_train_timesteps: usize, last_timestep: usize, steps: usize) -> Vec<f64> {
    let ratio = num_train_timesteps as f64 / steps as f64;
    arange_down(last_timestep as f64, ratio)
        .into_iter()
        .map(|t| t.round_ties_even() - 1.0)
        // For 62 step counts of 1000 (61, 103, …) the division's rounding makes numpy add a timestep -1, which
        // diffusers then reads as the noisiest one: that step is left out here.
        .filter(|&t| t >= 0.0)
        .collect()
}

/// `numpy.interp` of the training sigmas at fractional timesteps.
pub(super) fn interpolate(timesteps: &[f64], training_sigmas: &[f64]) -> Vec<f64> {
    let last = training_sigmas.len() - 1;
    timesteps
        .iter()
        .map(|&t| {
            if t <= 0.0 {
                return training_sigmas[0];
            }
            let low = t as usize;
            if low >= last {
                return training_sigmas[last];
            }
            (training_sigmas[low + 1] - training_sigmas[low]) * (t - low as f64) + training_sigmas[low]
        })
        .collect()
}

/// Sigmas and timesteps of the classes that take one model call or two from each of `timesteps`: spaced and
/// interpolated, or chosen. `single` rounds the spaced timesteps to f32 before their sigmas are looked up.
pub(super) fn spaced(config: &SchedulerConfig, training_sigmas: &[f64], steps: usize, single: bool) -> Steps {
    let mut timesteps = timesteps(config, steps, false);
    if single {
        round_f32(&mut timesteps);
    }
    let sigmas = interpolate(&timesteps, training_sigmas);
    chosen_sigmas(config, &sigmas, training_sigmas, steps).unwrap_or(Steps { sigmas, timesteps })
}

/// `steps` of `available` indices from 0 on, at equal distances: `floor(linspace(0, available, steps, endpoint=False))`.
pub(super) fn first_of(available: usize, steps: usize) -> impl Iterator<Item = usize> {
    let stride = available as f64 / steps as f64;
    (0..steps).map(move |i| (i as f64 * stride).floor() as usize)
}

/// Replaces the spacing by the sigmas that `config` asks for, between the ends of `range` (largest first), with the
/// timesteps that belong to them; `None` when it asks for none.
pub(super) fn chosen_sigmas(
    config: &SchedulerConfig,
    range: &[f64],
    training_sigmas: &[f64],
    steps: usize,
) -> Option<Steps> {
    let sigmas = sigmas_of_kind(config, range, steps)?;
    let log_sigmas = log_f32(training_sigmas);
    let timesteps = sigmas.iter().map(|&sigma| sigma_to_t(sigma, &log_sigmas)).collect();
    Some(Steps { sigmas, timesteps })
}

/// The sigmas of `config.sigmas` between the ends of `range`, or between `sigma_max` and `sigma_min` where given.
pub(super) fn sigmas_of_kind(config: &SchedulerConfig, range: &[f64], steps: usize) -> Option<Vec<f64>> {
    let kind = config.sigma_kind()?;
    let max = config.sigma_max.unwrap_or(range[0]);
    let min = config.sigma_min.unwrap_or(range[range.len() - 1]);
    Some(match kind {
        SigmaKind::Karras => karras(max, min, steps),
        SigmaKind::Exponential => linspace(max.ln(), min.ln(), steps).into_iter().map(f64::exp).collect(),
        SigmaKind::Beta => linspace(0.0, 1.0, steps)
            .into_iter()
            .map(|ramp| min + beta_ppf(1.0 - ramp) * (max - min))
            .collect(),
    })
}

/// Karras et al. 2022 (arXiv:2206.00364), equation 5 with ρ = 7.
fn karras(max: f64, min: f64, steps: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (min, max) = (min.powf(1.0 / RHO), max.powf(1.0 / RHO));
    linspace(0.0, 1.0, steps).into_iter().map(|ramp| (max + ramp * (min - max)).powf(RHO)).collect()
}

/// Sigmas at equal distances of log-SNR (`use_lu_lambdas`; Lu et al. 2022, arXiv:2206.00927).
pub(super) fn lu(training_sigmas: &[f64], steps: usize) -> Steps {
    let log_sigmas = log_f32(training_sigmas);
    let (max, min) = (log_sigmas[log_sigmas.len() - 1], log_sigmas[0]);
    let sigmas: Vec<f64> =
        linspace(0.0, 1.0, steps).into_iter().map(|ramp| (max + ramp * (min - max)).exp()).collect();
    let timesteps = sigmas.iter().map(|&sigma| sigma_to_t(sigma, &log_sigmas)).collect();
    Steps { sigmas, timesteps }
}

/// The logarithms of the training sigmas, rounded to f32.
pub(super) fn log_f32(training_sigmas: &[f64]) -> Vec<f64> {
    training_sigmas.iter().map(|sigma| f64::from(sigma.ln() as f32)).collect()
}

/// The fractional training timestep whose sigma is `sigma`, interpolated in log σ.
pub(super) fn sigma_to_t(sigma: f64, log_sigmas: &[f64]) -> f64 {
    let log_sigma = sigma.max(1e-10).ln();
    let below = log_sigmas.iter().rposition(|&log| log_sigma - log >= 0.0).unwrap_or(0);
    let low = below.min(log_sigmas.len() - 2);
    let weight = ((log_sigmas[low] - log_sigma) / (log_sigmas[low] - log_sigmas[low + 1])).clamp(0.0, 1.0);
    (1.0 - weight) * low as f64 + weight * (low + 1) as f64
}

/// An error when two neighbouring sigmas are equal: the multistep solvers divide by their distance. The final sigma
/// does not count: with `sigma_min` it may repeat the one before, and the last step then changes nothing.
pub(super) fn check_distinct(sigmas: &[f64], steps: usize) -> Result<(), SchedulerError> {
    if sigmas.is_empty() || sigmas.windows(2).any(|pair| pair[0] <= pair[1]) {
        return Err(SchedulerError::StepsTooDense { steps });
    }
    Ok(())
}

/// Both parameters of the beta distribution of `use_beta_sigmas` (Lee et al. 2024, arXiv:2407.12173).
const BETA_PARAMETER: f64 = 0.6;
/// Euler's beta function B(0.6, 0.6).
const BETA_NORM: f64 = 2.415_344_208_002_472;

/// `scipy.stats.beta.ppf(p, 0.6, 0.6)`: the quantile function, by bisection of the distribution function.
fn beta_ppf(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return p.clamp(0.0, 1.0);
    }
    if p > 0.5 {
        return 1.0 - beta_ppf(1.0 - p);
    }
    let (mut low, mut high) = (0.0, 0.5);
    // Stops when no number lies between the two: at most 1,075 halvings, about 60 for all but the smallest p.
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if beta_cdf(middle) < p { low = middle } else { high = middle }
    }
}

/// The regularised incomplete beta function `I_x(0.6, 0.6)` for `x <= 0.5`, as its power series.
fn beta_cdf(x: f64) -> f64 {
    // I_x(a, b) = x^a (1-x)^b / (a B(a, b)) · Σ_n Π_{k<n} (a + b + k) / (a + 1 + k) · x^(n)
    let (a, b) = (BETA_PARAMETER, BETA_PARAMETER);
    let (mut term, mut sum, mut k) = (1.0, 1.0, 0.0);
    while term > sum * f64::EPSILON * 0.25 {
        term *= x * (a + b + k) / (a + 1.0 + k);
        sum += term;
        k += 1.0;
    }
    x.powf(a) * (1.0 - x).powf(b) / (a * BETA_NORM) * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_beta_distribution() {
        // scipy.stats.beta.ppf(p, 0.6, 0.6)
        for (p, expected) in [
            (0.0, 0.0),
            (1e-6, 1.855_882_462_405_3e-10),
            (0.01, 8.612_388_215_429_06e-4),
            (0.1, 0.039_584_405_588_781),
            (0.25, 0.175_680_378_652_695),
            (0.5, 0.5),
            (0.75, 0.824_319_621_347_305),
            (0.99, 0.999_138_761_178_457),
            (1.0, 1.0),
        ] {
            let ours = beta_ppf(p);
            assert!((ours - expected).abs() <= 1e-14 + 1e-12 * expected, "{p}: {ours} is not {expected}");
        }
    }

    #[test]
    fn trailing_has_as_many_steps_as_asked_for() {
        let config = SchedulerConfig { timestep_spacing: TimestepSpacing::Trailing, ..config() };
        for steps in 1..=1000 {
            let timesteps = timesteps(&config, steps, true);
            assert_eq!((timesteps.len(), timesteps[0]), (steps, 999.0), "{steps}");
            assert!(timesteps[steps - 1] >= 0.0);
        }
    }

    #[test]
    fn a_sigma_between_two_timesteps() {
        let logs = log_f32(&[1.0, 2.0, 4.0]);
        assert!((sigma_to_t(8f64.sqrt(), &logs) - 1.5).abs() < 1e-6);
        assert_eq!((sigma_to_t(0.0, &logs), sigma_to_t(9.0, &logs)), (0.0, 2.0));
    }

    fn config() -> SchedulerConfig {
        super::super::config::SchedulerClass::Ddim.defaults()
    }
}
