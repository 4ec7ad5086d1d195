//! The values that keys of `scheduler_config.json` may have, spelled as diffusers spells them.

use serde::{Deserialize, Serialize};

/// How betas run from `beta_start` to `beta_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Equal distances.
    Linear,
    /// Equal distances of the square roots: latent diffusion.
    ScaledLinear,
    /// Glide's cosine.
    SquaredcosCapV2,
    /// A sigmoid; DDPM only.
    Sigmoid,
    /// Laplace; DDPM only.
    Laplace,
    /// Exponential; Heun only.
    Exp,
}

/// What the model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// The clean sample.
    #[serde(alias = "original_sample")]
    Sample,
    /// v = √ᾱ ε − √(1 − ᾱ) x₀ (Salimans and Ho 2022).
    VPrediction,
    /// The flow, noise − x₀.
    FlowPrediction,
}

/// Which training timesteps the inference steps visit (Lin et al. 2023, arXiv:2305.08891, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// From the first to the last, at equal distances.
    Linspace,
    /// Multiples of a whole number from 0, plus `steps_offset`.
    Leading,
    /// Equal distances back from the last.
    Trailing,
}

/// The sigma that the last step goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigmas {
    /// No noise at all.
    Zero,
    /// The smallest of the training schedule.
    SigmaMin,
}

/// DDPM's choice of the variance of the added noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VarianceType {
    /// The posterior's variance.
    FixedSmall,
    /// The same, clipped before its logarithm.
    FixedSmallLog,
    /// β.
    FixedLarge,
    /// log β: not implemented, diffusers takes its square root, which is not a number.
    FixedLargeLog,
    /// Predicted by the model: not implemented.
    Learned,
    /// Predicted by the model: not implemented.
    LearnedRange,
}

/// How DPM-Solver integrates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlgorithmType {
    /// The noise prediction's ODE.
    #[serde(rename = "dpmsolver")]
    DpmSolver,
    /// The data prediction's ODE.
    #[serde(rename = "dpmsolver++", alias = "deis")]
    DpmSolverPlusPlus,
    /// The noise prediction's SDE.
    #[serde(rename = "sde-dpmsolver")]
    SdeDpmSolver,
    /// The data prediction's SDE.
    #[serde(rename = "sde-dpmsolver++")]
    SdeDpmSolverPlusPlus,
}

impl AlgorithmType {
    /// Whether it integrates an SDE.
    pub(super) fn is_stochastic(self) -> bool {
        matches!(self, Self::SdeDpmSolver | Self::SdeDpmSolverPlusPlus)
    }
}

/// The second-order formula of DPM-Solver (midpoint, heun) or the B(h) of UniPC (bh1, bh2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SolverType {
    /// Midpoint.
    Midpoint,
    /// Heun.
    Heun,
    /// DEIS' only one.
    Logrho,
    /// B(h) = h.
    Bh1,
    /// B(h) = eʰ − 1.
    Bh2,
}

/// Euler's interpolation between training sigmas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterpolationType {
    /// Of the sigmas.
    Linear,
    /// Equal distances of their logarithms.
    LogLinear,
}

/// What Euler feeds the model as time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepType {
    /// The training timestep.
    Discrete,
    /// ¼ log σ, with v-prediction.
    Continuous,
}

/// How flow matching shifts its sigmas with `mu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeShiftType {
    /// By eᵘ.
    Exponential,
    /// By µ.
    Linear,
}

/// Sigmas that replace the timestep spacing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigmaKind {
    /// Karras et al. 2022.
    Karras,
    /// Equal ratios.
    Exponential,
    /// Quantiles of a beta distribution (Lee et al. 2024).
    Beta,
}
