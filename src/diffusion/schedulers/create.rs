//! From a name, a checkpoint's file and a step count to a scheduler that is ready to run.

use super::config::{
    AlgorithmType, BetaSchedule, FinalSigmas, PredictionType, SchedulerClass, SchedulerConfig, SchedulerFile,
    SolverType, VarianceType,
};
use super::ddim::Ddim;
use super::ddpm::Ddpm;
use super::dpmsolver_multistep::DpmSolverMultistep;
use super::dpmsolver_sde::DpmSolverSde;
use super::euler::Euler;
use super::euler_ancestral::EulerAncestral;
use super::flow_match_euler::FlowMatchEuler;
use super::heun::Heun;
use super::lcm::Lcm;
use super::lms::Lms;
use super::pndm::Pndm;
use super::tcd::Tcd;
use super::unipc::UniPc;
use super::{Scheduler, SchedulerError, SchedulerName, resolve_name};

/// What a request adds to a checkpoint's scheduler config.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SchedulerOptions {
    /// η of DDIM and TCD: 0 adds no noise, 1 is the most. diffusers' pipelines pass 0 where nothing is said, to TCD
    /// too.
    pub eta: f64,
    /// Image to image: the share of the steps that is done, `begin_index` then skips the others
    /// (`StableDiffusionImg2ImgPipeline.get_timesteps`). `None` does all steps.
    pub strength: Option<f64>,
    /// Follow `LatentConsistencyModelImg2ImgPipeline`: with LCM and TCD, `strength` shortens the training schedule
    /// that the timesteps are picked from, and all of them are done.
    pub strength_shortens_schedule: bool,
    /// `original_inference_steps` of LCM and TCD, instead of the file's.
    pub original_inference_steps: Option<usize>,
    /// Shift of a flow-matching model with `use_dynamic_shifting`.
    pub mu: Option<f64>,
    /// Follow `StableDiffusionPipeline` (1.x and 2.x, not XL), which puts `steps_offset` to 1 and `clip_sample` to
    /// false in the checkpoint's config.
    pub stable_diffusion_pipeline: bool,
}

impl SchedulerOptions {
    /// The share of the training schedule that LCM and TCD pick timesteps from.
    pub(super) fn schedule_share(&self) -> f64 {
        self.strength.filter(|_| self.strength_shortens_schedule).unwrap_or(1.0)
    }
}

/// Makes a scheduler from a checkpoint's `scheduler/scheduler_config.json`, with its timesteps set.
///
/// Without a name it is the checkpoint's own. With one it is diffusers' `Class.from_config(checkpoint's config)`:
/// what the file says is kept where the class knows the key, what it leaves out takes the class' own default. Asking
/// for the checkpoint's own scheduler by name changes nothing, so `name()` of what this returns makes it again.
///
/// # Errors
/// When the name is unknown or does not fit, the file asks for something that is not implemented, or the step count,
/// the strength or η make no sense.
pub fn create(
    name: Option<&str>,
    config_json: &[u8],
    steps: usize,
    options: &SchedulerOptions,
) -> Result<Box<dyn Scheduler>, SchedulerError> {
    let (name, config) = resolve_config(name, config_json, options)?;
    check_request(&name, &config, steps, options)?;
    let mut scheduler = build(name, config, steps, options)?;
    if let Some(strength) = options.strength
        && !(options.strength_shortens_schedule && is_distilled(name.info.class))
    {
        let begin = begin_index(steps, strength)? * name.info.order;
        scheduler.set_begin_index(begin)?;
    }
    Ok(scheduler)
}

/// The name and the config that [`create`] would use: diffusers' `scheduler.config`.
///
/// # Errors
/// As [`create`], for the name and the file.
pub fn resolve_config(
    name: Option<&str>,
    config_json: &[u8],
    options: &SchedulerOptions,
) -> Result<(SchedulerName, SchedulerConfig), SchedulerError> {
    let mut file = SchedulerFile::parse(config_json)?;
    if options.stable_diffusion_pipeline {
        file.apply_stable_diffusion_pipeline();
    }
    let name = name.map(resolve_name).transpose()?;
    let class = match name {
        Some(name) => name.info.class,
        None => file.class()?,
    };
    if let Some(name) = name
        && file.is_flow_matching() != (class == SchedulerClass::FlowMatchEuler)
    {
        return Err(SchedulerError::Incompatible { name: name.info.name, class: file.class_name });
    }
    let mut config = SchedulerConfig::from_file(class, &file)?;
    if options.stable_diffusion_pipeline && file.class_name == class.name() {
        // The pipeline changes its own scheduler's defaults, too, which `from_config` would not pass on.
        config.steps_offset = 1;
        config.clip_sample = false;
    }
    if let Some(name) = name {
        name.apply(&mut config);
    }
    check_config(class, &mut config)?;
    Ok((SchedulerName::of_config(class, &config), config))
}

fn build(
    name: SchedulerName,
    config: SchedulerConfig,
    steps: usize,
    options: &SchedulerOptions,
) -> Result<Box<dyn Scheduler>, SchedulerError> {
    Ok(match name.info.class {
        SchedulerClass::Ddim => Box::new(Ddim::new(name, config, steps, options)?),
        SchedulerClass::Ddpm => Box::new(Ddpm::new(name, config, steps)?),
        SchedulerClass::Pndm => Box::new(Pndm::new(name, config, steps)?),
        SchedulerClass::Euler => Box::new(Euler::new(name, config, steps)?),
        SchedulerClass::EulerAncestral => Box::new(EulerAncestral::new(name, config, steps)?),
        SchedulerClass::DpmSolverMultistep => {
            Box::new(DpmSolverMultistep::new(name, config, steps, options)?)
        }
        SchedulerClass::Heun => Box::new(Heun::new(name, config, steps)?),
        SchedulerClass::Lms => Box::new(Lms::new(name, config, steps)?),
        SchedulerClass::DpmSolverSde => Box::new(DpmSolverSde::new(name, config, steps)?),
        SchedulerClass::UniPc => Box::new(UniPc::new(name, config, steps, options)?),
        SchedulerClass::Lcm => Box::new(Lcm::new(name, config, steps, options)?),
        SchedulerClass::Tcd => Box::new(Tcd::new(name, config, steps, options)?),
        SchedulerClass::FlowMatchEuler => Box::new(FlowMatchEuler::new(name, config, steps, options)?),
    })
}

/// The first step of image to image: `StableDiffusionImg2ImgPipeline.get_timesteps`.
fn begin_index(steps: usize, strength: f64) -> Result<usize, SchedulerError> {
    let done = ((steps as f64 * strength) as usize).min(steps);
    if done == 0 {
        return Err(SchedulerError::NothingToDo { strength, steps, least: 1.0 / steps as f64 });
    }
    Ok(steps - done)
}

fn is_distilled(class: SchedulerClass) -> bool {
    matches!(class, SchedulerClass::Lcm | SchedulerClass::Tcd)
}

fn check_request(
    name: &SchedulerName,
    config: &SchedulerConfig,
    steps: usize,
    options: &SchedulerOptions,
) -> Result<(), SchedulerError> {
    if steps == 0 {
        return Err(SchedulerError::NoSteps);
    }
    if steps > config.num_train_timesteps {
        return Err(SchedulerError::TooManySteps {
            name: name.info.name,
            steps,
            max: config.num_train_timesteps,
        });
    }
    let originals = options.original_inference_steps.map(|n| n as f64);
    for (what, value, min, max) in [
        ("eta", Some(options.eta), 0.0, 1.0),
        ("strength", options.strength, 0.0, 1.0),
        ("original_inference_steps", originals, 1.0, config.num_train_timesteps as f64),
    ] {
        if let Some(value) = value.filter(|value| !(min..=max).contains(value)) {
            return Err(SchedulerError::OutOfRange { what, value, min, max });
        }
    }
    Ok(())
}

/// Training timesteps beyond which a file is taken to be broken.
const MOST_TIMESTEPS: usize = 1_000_000;

/// Translates the values that classes translate, and refuses what diffusers refuses or what is not implemented.
fn check_config(class: SchedulerClass, config: &mut SchedulerConfig) -> Result<(), SchedulerError> {
    match (class, config.solver_type) {
        (SchedulerClass::DpmSolverMultistep, SolverType::Logrho | SolverType::Bh1 | SolverType::Bh2) => {
            config.solver_type = SolverType::Midpoint;
        }
        (SchedulerClass::UniPc, SolverType::Midpoint | SolverType::Heun | SolverType::Logrho) => {
            config.solver_type = SolverType::Bh2;
        }
        _ => {}
    }
    match unsupported_key(class, config) {
        Some(key) => {
            let value = serde_json::to_value(&*config).map_err(SchedulerError::Json)?[key].clone();
            Err(SchedulerError::unsupported(key, value))
        }
        None => Ok(()),
    }
}

fn unsupported_key(class: SchedulerClass, config: &SchedulerConfig) -> Option<&'static str> {
    let multistep = class == SchedulerClass::DpmSolverMultistep;
    let kinds = [config.use_karras_sigmas, config.use_exponential_sigmas, config.use_beta_sigmas];
    [
        ("num_train_timesteps", !(2..=MOST_TIMESTEPS).contains(&config.num_train_timesteps)),
        ("beta_schedule", !knows_beta_schedule(class, config.beta_schedule)),
        ("prediction_type", !knows_prediction(class, config)),
        ("use_beta_sigmas", config.use_beta_sigmas && kinds.iter().filter(|&&kind| kind).count() > 1),
        ("use_exponential_sigmas", config.use_exponential_sigmas && config.use_karras_sigmas),
        ("variance_type", !knows_variance(class, config)),
        (
            "solver_order",
            config.solver_order == 0 || multistep && config.solver_order > highest_order(config),
        ),
        ("solver_p", config.solver_p.is_some()),
        (
            // A solver of the noise prediction cannot step to a level without noise.
            "final_sigmas_type",
            multistep && !config.predicts_original() && config.final_sigmas_type == FinalSigmas::Zero,
        ),
        (
            "lower_order_final",
            class == SchedulerClass::UniPc
                && !config.lower_order_final
                && config.solver_order > 1
                && config.final_sigmas_type == FinalSigmas::Zero,
        ),
        (
            "shift_terminal",
            class == SchedulerClass::UniPc && config.shift_terminal.is_some() && !config.use_flow_sigmas,
        ),
        (
            "original_inference_steps",
            !(1..=config.num_train_timesteps).contains(&config.original_inference_steps),
        ),
    ]
    .into_iter()
    .find_map(|(key, wrong)| wrong.then_some(key))
}

fn knows_beta_schedule(class: SchedulerClass, schedule: BetaSchedule) -> bool {
    match schedule {
        BetaSchedule::Linear | BetaSchedule::ScaledLinear | BetaSchedule::SquaredcosCapV2 => true,
        BetaSchedule::Sigmoid | BetaSchedule::Laplace => class == SchedulerClass::Ddpm,
        BetaSchedule::Exp => class == SchedulerClass::Heun,
    }
}

fn knows_prediction(class: SchedulerClass, config: &SchedulerConfig) -> bool {
    let solver = matches!(class, SchedulerClass::DpmSolverMultistep | SchedulerClass::UniPc);
    match config.prediction_type {
        PredictionType::Epsilon | PredictionType::VPrediction => true,
        PredictionType::Sample => !matches!(
            class,
            SchedulerClass::Pndm | SchedulerClass::EulerAncestral | SchedulerClass::DpmSolverSde
        ),
        PredictionType::FlowPrediction => solver && config.predicts_original() && config.use_flow_sigmas,
    }
}

fn knows_variance(class: SchedulerClass, config: &SchedulerConfig) -> bool {
    match config.variance_type {
        Some(VarianceType::Learned | VarianceType::LearnedRange) => false,
        Some(VarianceType::FixedLargeLog) => class != SchedulerClass::Ddpm,
        _ => true,
    }
}

fn highest_order(config: &SchedulerConfig) -> usize {
    if config.algorithm_type == AlgorithmType::SdeDpmSolver { 2 } else { 3 }
}
