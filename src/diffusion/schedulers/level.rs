//! One noise level as the exponential integrators (DPM-Solver, UniPC) see it.

/// `sample = alpha · x₀ + sigma · ε` and `lambda = ln(alpha / sigma)`, half the log of the signal-to-noise ratio.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub alpha: f64,
    pub sigma: f64,
    pub lambda: f64,
}

impl Level {
    /// The level of `sigma`: noise over signal, or with `flow` the share of noise in the sample.
    pub fn new(sigma: f64, flow: bool) -> Self {
        let alpha = if flow { 1.0 - sigma } else { (sigma * sigma + 1.0).sqrt().recip() };
        let sigma = if flow { sigma } else { sigma * alpha };
        Self { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }
}
