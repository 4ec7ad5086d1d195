//! The training noise schedule: betas and their cumulative products, with torch's roundings to f32.
//!
//! Knows nothing of inference steps. Every class of diffusers repeats this part of `__init__`; here it is once.

use super::config::{BetaSchedule, PredictionType, SchedulerConfig};
use super::{Run, SchedulerError};

/// ᾱ of the last training timestep where the classes that work with sigmas replace the 0 of a zero terminal SNR:
/// float16's smallest number, so that the first sigma is 4096 instead of infinite.
const SMALLEST_ALPHA_CUMPROD: f64 = 1.0 / (1u32 << 24) as f64;

/// `alphas_cumprod`, and what stands before timestep 0.
#[derive(Clone, Debug)]
pub(super) struct NoiseSchedule {
    alphas_cumprod: Vec<f64>,
    final_alpha_cumprod: f64,
}

impl NoiseSchedule {
    /// The schedule of `config`; ᾱ before timestep 0 is 1.
    pub fn new(config: &SchedulerConfig) -> Result<Self, SchedulerError> {
        let mut betas = betas(config)?;
        if config.rescale_betas_zero_snr {
            rescale_zero_terminal_snr(&mut betas);
        }
        let alphas_cumprod = cumprod(&betas).into_iter().map(f64::from).collect();
        Ok(Self { alphas_cumprod, final_alpha_cumprod: 1.0 })
    }

    /// The same, with ᾱ before timestep 0 as `set_alpha_to_one` says.
    pub fn with_final_alpha(config: &SchedulerConfig) -> Result<Self, SchedulerError> {
        let mut schedule = Self::new(config)?;
        if !config.set_alpha_to_one {
            schedule.final_alpha_cumprod = schedule.alphas_cumprod[0];
        }
        Ok(schedule)
    }

    /// `alphas_cumprod[timestep]`, or what stands before timestep 0 when `timestep` is negative.
    ///
    /// Timesteps beyond the last one read the last one; `create` refuses schedules that hold such.
    pub fn alpha_cumprod(&self, timestep: f64) -> f64 {
        if timestep < 0.0 {
            return self.final_alpha_cumprod;
        }
        self.alphas_cumprod[(timestep as usize).min(self.alphas_cumprod.len() - 1)]
    }

    /// Checks that every timestep of `run` has an ᾱ, and that the first one lets the model's output be turned into a
    /// clean sample.
    pub fn check(&self, config: &SchedulerConfig, run: &Run) -> Result<(), SchedulerError> {
        let largest = run.timesteps.iter().copied().fold(0.0, f64::max);
        if largest as usize >= self.alphas_cumprod.len() {
            return Err(SchedulerError::BeyondTraining {
                timestep: largest as usize,
                steps_offset: config.steps_offset,
            });
        }
        if config.prediction_type == PredictionType::Epsilon && self.alpha_cumprod(largest) == 0.0 {
            return Err(SchedulerError::unsupported(
                "rescale_betas_zero_snr",
                "true with `epsilon` prediction",
            ));
        }
        Ok(())
    }

    /// The noise level σ = √((1 − ᾱ) / ᾱ) of every training timestep, smallest first, as f32 has it.
    pub fn sigmas(&self, config: &SchedulerConfig) -> Vec<f64> {
        let mut alphas_cumprod = self.alphas_cumprod.clone();
        if config.rescale_betas_zero_snr
            && let Some(last) = alphas_cumprod.last_mut()
        {
            *last = SMALLEST_ALPHA_CUMPROD;
        }
        alphas_cumprod.into_iter().map(|alpha| f64::from(sigma_f32(alpha as f32))).collect()
    }
}

fn sigma_f32(alpha_cumprod: f32) -> f32 {
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

fn betas(config: &SchedulerConfig) -> Result<Vec<f32>, SchedulerError> {
    let n = config.num_train_timesteps;
    if let Some(trained) = &config.trained_betas {
        return if trained.len() == n {
            Ok(trained.clone())
        } else {
            Err(SchedulerError::unsupported("trained_betas", format!("{} numbers", trained.len())))
        };
    }
    let (start, end) = (config.beta_start, config.beta_end);
    Ok(match config.beta_schedule {
        BetaSchedule::Linear => torch_linspace(start, end, n),
        BetaSchedule::ScaledLinear => {
            torch_linspace(start.sqrt(), end.sqrt(), n).into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredcosCapV2 => {
            betas_for_alpha_bar(n, |t| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2))
        }
        BetaSchedule::Exp => betas_for_alpha_bar(n, |t| (t * -12.0).exp()),
        BetaSchedule::Laplace => betas_for_alpha_bar(n, |t| {
            let lambda = -0.5 * 1f64.copysign(0.5 - t) * (1.0 - 2.0 * (0.5 - t).abs() + 1e-6).ln();
            let snr = lambda.exp();
            (snr / (1.0 + snr)).sqrt()
        }),
        BetaSchedule::Sigmoid => torch_linspace(-6.0, 6.0, n)
            .into_iter()
            .map(|x| 1.0 / (1.0 + (-x).exp()) * (end - start) as f32 + start as f32)
            .collect(),
    })
}

/// `torch.linspace` in float32: both halves are counted from their own end.
pub(super) fn torch_linspace(start: f64, end: f64, n: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    if n == 1 {
        return vec![start];
    }
    let step = (end - start) / (n - 1) as f32;
    (0..n)
        .map(|i| if i < n / 2 { start + step * i as f32 } else { end - step * (n - 1 - i) as f32 })
        .collect()
}

/// Betas whose cumulative product follows `alpha_bar`, a function of time from 0 to 1, none above 0.999.
fn betas_for_alpha_bar(n: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| alpha_bar(i as f64 / n as f64);
    (0..n).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

/// `torch.cumprod(1 - betas)`: the product runs in float64, each entry is rounded to float32.
fn cumprod(betas: &[f32]) -> Vec<f32> {
    betas
        .iter()
        .scan(1f64, |product, &beta| {
            *product *= f64::from(1.0 - beta);
            Some(*product as f32)
        })
        .collect()
}

/// Shifts and stretches √ᾱ so that the last timestep is pure noise (Lin et al. 2023, arXiv:2305.08891, algorithm 1).
fn rescale_zero_terminal_snr(betas: &mut [f32]) {
    let roots: Vec<f32> = cumprod(betas).into_iter().map(f32::sqrt).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return };
    let stretch = first / (first - last);
    let mut previous = 1.0;
    for (beta, root) in betas.iter_mut().zip(roots) {
        let root = (root - last) * stretch;
        let alpha_bar = root * root;
        // The first alpha is its own cumulative product: dividing by 1 is exact.
        *beta = 1.0 - alpha_bar / previous;
        previous = alpha_bar;
    }
}
