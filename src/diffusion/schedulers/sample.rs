//! Arithmetic on samples: every update rule is a sum of samples times numbers.
//!
//! Knows nothing of schedules. Sums run in f64 and are rounded to f32 once.

use super::config::{PredictionType, SchedulerConfig};
use super::noise_schedule::NoiseSchedule;
use super::{NoiseSource, SchedulerError};

/// `Σ coefficient · values`; a term with coefficient 0 counts as absent, whatever its values.
pub(super) fn combine(terms: &[(f64, &[f32])]) -> Vec<f32> {
    let n = terms.iter().map(|(_, values)| values.len()).min().unwrap_or(0);
    let mut sums = vec![0f64; n];
    for (coefficient, values) in terms.iter().filter(|(coefficient, _)| *coefficient != 0.0) {
        for (sum, &value) in sums.iter_mut().zip(*values) {
            *sum += coefficient * f64::from(value);
        }
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// A sum of the sample and the model's output: `sample · s + output · o`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub sample: f64,
    pub output: f64,
}

impl Mix {
    pub fn of(self, sample: &[f32], output: &[f32]) -> Vec<f32> {
        combine(&[(self.sample, sample), (self.output, output)])
    }
}

impl PredictionType {
    /// The clean sample x₀, where `sample = alpha · x₀ + sigma · ε`.
    pub(super) fn original(self, alpha: f64, sigma: f64) -> Mix {
        match self {
            Self::Epsilon => Mix { sample: 1.0 / alpha, output: -sigma / alpha },
            Self::Sample => Mix { sample: 0.0, output: 1.0 },
            Self::VPrediction => Mix { sample: alpha, output: -sigma },
            Self::FlowPrediction => Mix { sample: 1.0, output: -sigma },
        }
    }

    /// The noise ε, where `sample = alpha · x₀ + sigma · ε`.
    pub(super) fn epsilon(self, alpha: f64, sigma: f64) -> Mix {
        match self {
            Self::Epsilon => Mix { sample: 0.0, output: 1.0 },
            Self::Sample => Mix { sample: 1.0 / sigma, output: -alpha / sigma },
            Self::VPrediction => Mix { sample: sigma, output: alpha },
            Self::FlowPrediction => Mix { sample: 1.0, output: 1.0 - sigma },
        }
    }

    /// The clean sample, where `sample = x₀ + sigma · ε` and the model saw `sample / √(sigma² + 1)`.
    pub(super) fn original_of_sigma(self, sigma: f64) -> Mix {
        match self {
            Self::Epsilon | Self::FlowPrediction => Mix { sample: 1.0, output: -sigma },
            Self::Sample => Mix { sample: 0.0, output: 1.0 },
            Self::VPrediction => {
                let square = sigma * sigma + 1.0;
                Mix { sample: 1.0 / square, output: -sigma / square.sqrt() }
            }
        }
    }
}

/// Thresholds or clips a predicted clean sample as `config` says.
pub(super) fn limit(config: &SchedulerConfig, original: &mut [f32]) {
    if config.thresholding {
        threshold(config, original);
    } else if config.clip_sample {
        let range = config.clip_sample_range.abs() as f32;
        for value in original {
            *value = value.clamp(-range, range);
        }
    }
}

/// Dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487): clips at a quantile of the magnitudes and divides
/// by it.
pub(super) fn threshold(config: &SchedulerConfig, original: &mut [f32]) {
    if original.is_empty() {
        return;
    }
    let mut magnitudes: Vec<f32> = original.iter().map(|value| value.abs()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let rank = config.dynamic_thresholding_ratio.clamp(0.0, 1.0) * (magnitudes.len() - 1) as f64;
    let (below, above) = (magnitudes[rank.floor() as usize], magnitudes[rank.ceil() as usize]);
    let quantile = f64::from(below) + rank.fract() * f64::from(above - below);
    let limit = quantile.max(1.0).min(config.sample_max_value).abs() as f32;
    for value in original {
        *value = value.clamp(-limit, limit) / limit;
    }
}

/// `sample / √(sigma² + 1)`.
pub(super) fn scale_by_sigma(sample: &[f32], sigma: f64) -> Vec<f32> {
    combine(&[((sigma * sigma + 1.0).sqrt().recip(), sample)])
}

/// `original + sigma · noise`.
pub(super) fn add_sigma_noise(original: &[f32], noise: &[f32], sigma: f64) -> Vec<f32> {
    combine(&[(1.0, original), (sigma, noise)])
}

/// `√ᾱ · original + √(1 − ᾱ) · noise` at a timestep.
pub(super) fn add_alpha_noise(schedule: &NoiseSchedule, original: &[f32], noise: &[f32], t: f64) -> Vec<f32> {
    let alpha = schedule.alpha_cumprod(t);
    combine(&[(alpha.sqrt(), original), ((1.0 - alpha).sqrt(), noise)])
}

/// Draws noise of `n` values.
pub(super) fn draw(noise: &mut NoiseSource<'_>, n: usize) -> Result<Vec<f32>, SchedulerError> {
    let drawn = noise(n);
    if drawn.len() == n { Ok(drawn) } else { Err(SchedulerError::Length { wanted: n, got: drawn.len() }) }
}
