//! The noise levels of a run, as the classes with sigmas keep them.

use super::config::{SchedulerConfig, TimestepSpacing};

/// Sigmas of all model calls, largest first, and the final one; rounded to f32 as torch stores them.
#[derive(Clone, Debug)]
pub(super) struct Sigmas {
    sigmas: Vec<f64>,
    /// Whether the first sample is scaled by √(σ² + 1) instead of σ.
    leading: bool,
}

impl Sigmas {
    pub fn new(config: &SchedulerConfig, mut sigmas: Vec<f64>) -> Self {
        super::spacing::round_f32(&mut sigmas);
        Self { sigmas, leading: config.timestep_spacing == TimestepSpacing::Leading }
    }

    /// The sigma of model call `i`; past the end, the final one.
    pub fn at(&self, i: usize) -> f64 {
        self.sigmas.get(i).or(self.sigmas.last()).copied().unwrap_or(0.0)
    }

    /// All, the final one included.
    pub fn all(&self) -> &[f64] {
        &self.sigmas
    }

    /// The largest sigma, or √(σ² + 1) with `leading` spacing.
    pub fn init_noise_sigma(&self) -> f64 {
        let max = self.sigmas.iter().copied().fold(0.0, f64::max);
        if self.leading { (max * max + 1.0).sqrt() } else { max }
    }

    /// The same sigmas for two model calls a step: all but the first and the final one twice.
    pub fn twice(mut self) -> Self {
        let last = self.sigmas.pop();
        self.sigmas = each_but_first_twice(&self.sigmas);
        self.sigmas.extend(last);
        self
    }
}

/// `[a, b, c]` as `[a, b, b, c, c]`.
pub(super) fn each_but_first_twice(values: &[f64]) -> Vec<f64> {
    let twice = values.iter().flat_map(|&value| [value, value]);
    twice.skip(1).collect()
}
