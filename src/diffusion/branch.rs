//! Going on from the middle of another run, with another prompt, guidance, schedule or scheduler.
//!
//! With the same schedule everything goes on: latents, what the scheduler remembers, and the noise. Another schedule
//! can take over only where one of its steps begins at the very noise level that the latents have; it remembers
//! nothing then. Knows no text and no pixels.

use super::error::{DiffusionError, Result};
use super::moment::Moment;
use super::pipeline::{PipelineConfig, Start};
use super::rng::TorchGenerator;
use super::schedulers::Scheduler;
use crate::request::{Branch, GenerateParams};

/// Branches of branches that are followed.
const DEEPEST: usize = 16;
/// How far two noise levels may lie apart and still be the same, as a share of either.
const SAME_LEVEL: f32 = 0.001;
/// Step counts that are tried to find ones that fit.
const MOST_STEPS: u32 = 200;

/// Finds out whether the branch of `params` and the place where it stops are there at all.
///
/// # Errors
/// When they are not; the message says what would be.
pub(super) fn check(config: &PipelineConfig, params: &GenerateParams) -> Result<()> {
    let scheduler = config.scheduler(params)?;
    let begins = begin(config, params)?.unwrap_or(scheduler.begin_index());
    let calls = scheduler.timesteps().len() - begins;
    let done = match &params.branch {
        Some(branch) if goes_on(&branch.of, params) => branch.step as usize,
        _ => 0,
    };
    match params.stop_after {
        Some(stop) if stop as usize <= done => Err(DiffusionError::Request(format!(
            "the picture goes on from step {done}, so it cannot stop after step {stop}; type a later one"
        ))),
        Some(stop) if stop as usize > calls => Err(DiffusionError::Request(format!(
            "there are {calls} steps, so the picture cannot stop after step {stop}; type an earlier one"
        ))),
        _ => Ok(()),
    }
}

/// The model call that a run of `params` begins with where a branch decides that.
fn begin(config: &PipelineConfig, params: &GenerateParams) -> Result<Option<usize>> {
    let Some(Branch { of, step }) = &params.branch else { return Ok(None) };
    let mut depth = 1;
    let mut at = of;
    while let Some(next) = &at.branch {
        (at, depth) = (&next.of, depth + 1);
    }
    if depth > DEEPEST {
        let message = format!("this is a branch of a branch, {depth} deep; go on from an earlier picture");
        return Err(DiffusionError::Request(message));
    }
    let before = config.scheduler(of)?;
    let first = begin(config, of)?.unwrap_or(before.begin_index());
    let last = before.timesteps().len() - first;
    let step = *step as usize;
    if step == 0 || step >= last {
        return Err(DiffusionError::Request(format!(
            "the picture to go on from has {last} steps; type a step from 1 to {}",
            last.saturating_sub(1)
        )));
    }
    let noiseless = config.scheduler(params)?.name().info.deterministic && params.eta <= 0.;
    if of.seed != params.seed && noiseless {
        return Err(DiffusionError::Request(format!(
            "{} draws no noise on the way, so another seed changes nothing from step {step} on; take it out, or \
             branch with a scheduler such as euler_ancestral",
            params.scheduler
        )));
    }
    if goes_on(of, params) {
        return begin(config, of);
    }
    takes_over(config, of, first + step, params).map(Some)
}

/// Whether a run of `to` has the schedule of `of`, so that it goes on as if nothing was between.
pub fn goes_on(of: &GenerateParams, to: &GenerateParams) -> bool {
    let schedule = |params: &GenerateParams| {
        (params.scheduler.clone(), params.steps, params.eta.to_bits(), params.strength.map(f64::to_bits))
    };
    schedule(of) == schedule(to)
}

/// The step of `to`'s schedule that begins at the noise level of call `call` of `of`'s.
fn takes_over(
    config: &PipelineConfig,
    of: &GenerateParams,
    call: usize,
    to: &GenerateParams,
) -> Result<usize> {
    let before = config.scheduler(of)?;
    let order = before.name().info.order;
    if !call.is_multiple_of(order) {
        return Err(DiffusionError::Request(format!(
            "{} is in the middle of a step there; another schedule can take over one step earlier or later",
            before.name()
        )));
    }
    let level = Level::of(&*before, call);
    if let Some(index) = index_of(&*config.scheduler(to)?, level) {
        return Ok(index);
    }
    let fits = |steps: &u32| {
        let params = GenerateParams { steps: *steps, ..to.clone() };
        config.scheduler(&params).is_ok_and(|scheduler| index_of(&*scheduler, level).is_some())
    };
    let mut fitting: Vec<u32> = (1..=MOST_STEPS).filter(fits).collect();
    fitting.sort_by_key(|steps| steps.abs_diff(to.steps));
    fitting.truncate(3);
    fitting.sort_unstable();
    let advice = match fitting.as_slice() {
        [] => format!("keep the {} steps of {}", of.steps, of.scheduler),
        counts => {
            format!("it fits with {} steps", counts.iter().map(u32::to_string).collect::<Vec<_>>().join(", "))
        }
    };
    Err(DiffusionError::Request(format!(
        "no step of {} × {} begins at the noise level of step {} of {} × {}; {advice}",
        to.steps,
        to.scheduler,
        call - before.begin_index(),
        of.steps,
        of.scheduler
    )))
}

/// Shares of picture and noise in a sample.
#[derive(Clone, Copy, Debug)]
struct Level {
    signal: f32,
    noise: f32,
}

impl Level {
    /// Of the sample that model call `i` starts from.
    fn of(scheduler: &dyn Scheduler, i: usize) -> Self {
        let share =
            |signal, noise| scheduler.add_noise(&[signal], &[noise], i).first().copied().unwrap_or(0.);
        Self { signal: share(1., 0.), noise: share(0., 1.) }
    }

    /// Whether a sample of one is a sample of the other, but for its scale.
    fn is(self, other: Self) -> bool {
        let (ours, theirs) = (self.noise * other.signal, other.noise * self.signal);
        (ours - theirs).abs() <= SAME_LEVEL * ours.abs().max(theirs.abs())
    }
}

fn index_of(scheduler: &dyn Scheduler, level: Level) -> Option<usize> {
    let (calls, info) = (scheduler.timesteps().len(), scheduler.name().info);
    // PLMS does its first step in two calls, so it can begin nowhere else.
    let calls = if info.name == "pndm" { 1 } else { calls };
    (0..calls).step_by(info.order).find(|i| Level::of(scheduler, *i).is(level))
}

/// Where a run of `to` starts that goes on from `moment` of a run of `of`, and what a person should know about it.
///
/// # Errors
/// As `check`, which was asked before.
pub fn start(
    config: &PipelineConfig,
    moment: Moment,
    of: &GenerateParams,
    to: &GenerateParams,
) -> Result<(Start, Option<String>)> {
    let noise = |start: &mut Start| {
        // Another seed is other noise from here on.
        if of.seed != to.seed {
            start.generator = TorchGenerator::manual_seed(to.seed);
        }
    };
    if goes_on(of, to) {
        let mut start = moment.start(config, to)?;
        noise(&mut start);
        return Ok((start, None));
    }
    let call = moment.scheduler.next_index;
    let before = config.scheduler(of)?;
    let mut scheduler = config.scheduler(to)?;
    let index = takes_over(config, of, call, to)?;
    scheduler.set_begin_index(index).map_err(|error| DiffusionError::Request(error.to_string()))?;
    let scale = Level::of(&*scheduler, index).signal / Level::of(&*before, call).signal;
    let latents = moment.latents.iter().map(|value| value * scale).collect();
    let notice = format!(
        "{} takes over at step {} of {} and remembers no earlier one",
        to.scheduler,
        index + 1,
        scheduler.timesteps().len()
    );
    let generator = TorchGenerator::from_state(&moment.generator);
    let mut start = Start { scheduler, generator, latents };
    noise(&mut start);
    Ok((start, Some(notice)))
}
