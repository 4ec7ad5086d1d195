//! Schedulers: how the model's predictions become the next sample, as diffusers 0.42.1 does it.
//!
//! Owns timesteps, sigmas and the update rules, in f64 on host slices; samples are f32 between steps. Knows nothing of
//! tensors, devices, models or guidance, and draws no noise itself.
//!
//! A scheduler is one file and one line in [`SCHEDULERS`]. [`create`] makes one from a checkpoint's
//! `scheduler/scheduler_config.json` and, if asked, another name, as diffusers' `from_config` would.

mod config;
mod create;
mod ddim;
mod ddpm;
mod dpmsolver_multistep;
mod dpmsolver_sde;
mod euler;
mod euler_ancestral;
mod flow_match_euler;
mod heun;
mod lcm;
mod level;
mod lms;
mod names;
mod noise_schedule;
mod pndm;
mod sample;
mod sigmas;
mod spacing;
mod tcd;
mod unipc;
mod values;

use serde::{Deserialize, Serialize};

pub use config::{SchedulerClass, SchedulerConfig, SchedulerFile, SigmaKind};
pub use create::{SchedulerOptions, create, resolve_config};
pub use names::{SCHEDULERS, SchedulerInfo, SchedulerName, resolve_name};

/// Where every message about a checkpoint's scheduler points.
const CONFIG_FILE: &str = "scheduler/scheduler_config.json";

/// What is wrong with a scheduler's name, file, step count or use.
#[derive(Debug, thiserror::Error)]
pub enum SchedulerError {
    /// No scheduler has this name.
    #[error("no scheduler is called `{name}`; did you mean `{nearest}`?")]
    UnknownName {
        /// What was typed.
        name: String,
        /// The nearest name.
        nearest: String,
    },
    /// The scheduler has no such sigmas.
    #[error("`{name}` has no {kind} sigmas; use `{name}` alone, or `dpmpp_2m_{kind}`")]
    NoSuchSigmas {
        /// The scheduler.
        name: &'static str,
        /// `karras`, `exponential` or `beta`.
        kind: &'static str,
    },
    /// The file is not JSON.
    #[error("{CONFIG_FILE} is not a JSON object: {0}")]
    Json(#[source] serde_json::Error),
    /// A value that changes the pictures and that is not implemented.
    #[error(
        "{CONFIG_FILE}: `{key}` is {value}, which is not implemented for this scheduler; choose another one"
    )]
    Unsupported {
        /// The key.
        key: String,
        /// Its value, as JSON.
        value: String,
    },
    /// Flow matching and the others do not go together.
    #[error("`{name}` does not fit this checkpoint: its scheduler is {class}; leave the scheduler out")]
    Incompatible {
        /// The scheduler that was asked for.
        name: &'static str,
        /// The checkpoint's class.
        class: String,
    },
    /// No steps.
    #[error("steps must be 1 or more")]
    NoSteps,
    /// Too many steps, for the model or for this scheduler.
    #[error("{steps} steps are too many for `{name}` with this model; use at most {max}")]
    TooManySteps {
        /// The scheduler.
        name: &'static str,
        /// What was asked for.
        steps: usize,
        /// The most that it takes.
        max: usize,
    },
    /// Too few steps.
    #[error("`{name}` needs at least {min} steps with this model")]
    TooFewSteps {
        /// The scheduler.
        name: &'static str,
        /// The fewest that it takes.
        min: usize,
    },
    /// A timestep after the last one that the model was trained for.
    #[error(
        "the first timestep would be {timestep}, beyond the model's training (`steps_offset` is {steps_offset}); \
         use fewer steps"
    )]
    BeyondTraining {
        /// The timestep.
        timestep: usize,
        /// What the file adds to each.
        steps_offset: i64,
    },
    /// Two steps would fall on the same noise level.
    #[error("{steps} steps are too many for this scheduler: two would have the same noise level; use fewer")]
    StepsTooDense {
        /// What was asked for.
        steps: usize,
    },
    /// Image to image with a strength that leaves nothing to do.
    #[error(
        "strength {strength} of {steps} steps leaves no step to do; use a strength of at least {least:.3}, or more steps"
    )]
    NothingToDo {
        /// The strength.
        strength: f64,
        /// Steps in all.
        steps: usize,
        /// The least strength that does one step.
        least: f64,
    },
    /// A number out of its range.
    #[error("{what} must lie between {min} and {max}; {value} does not")]
    OutOfRange {
        /// `strength`, `eta` or `original_inference_steps`.
        what: &'static str,
        /// The value.
        value: f64,
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// `use_dynamic_shifting` without a shift.
    #[error(
        "{CONFIG_FILE} asks for `use_dynamic_shifting`, which needs a shift `mu` from the model's family"
    )]
    NoShift,
    /// A step out of turn.
    #[error("step {got} was taken where step {wanted} was due; steps go in order from the begin index")]
    OutOfTurn {
        /// The step that is due.
        wanted: usize,
        /// The step that was taken.
        got: usize,
    },
    /// A begin index that is no step's start.
    #[error("no step begins at model call {index} of {calls}")]
    NoSuchStep {
        /// The index.
        index: usize,
        /// Model calls in all.
        calls: usize,
    },
    /// Slices of different lengths.
    #[error("the model's output has {got} values where the sample has {wanted}")]
    Length {
        /// Values in the sample.
        wanted: usize,
        /// Values in the model's output, or in the noise.
        got: usize,
    },
}

impl SchedulerError {
    fn unsupported(key: &str, value: impl std::fmt::Display) -> Self {
        Self::Unsupported { key: key.to_owned(), value: value.to_string() }
    }
}

/// What a step gives.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutput {
    /// The sample that the next model call starts from.
    pub prev_sample: Vec<f32>,
    /// The clean sample that the model's output predicts: what a preview shows.
    pub pred_original_sample: Vec<f32>,
}

/// Draws `n` values of the standard normal distribution: usually [`TorchGenerator::randn`].
///
/// [`TorchGenerator::randn`]: crate::diffusion::rng::TorchGenerator::randn
pub type NoiseSource<'a> = dyn FnMut(usize) -> Vec<f32> + 'a;

/// Everything a scheduler remembers between steps. With it and the sample, a job goes on where it stopped, or a step
/// is done again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SchedulerState {
    /// The model call that the run began with.
    pub begin_index: usize,
    /// The model call that is due.
    pub next_index: usize,
    /// Earlier model outputs (converted as the algorithm wants them) or derivatives, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Vec<f32>>,
    /// A sample that a later call of the same step, or the next step, needs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Vec<f32>>,
}

impl SchedulerState {
    fn begin_at(index: usize) -> Self {
        Self { begin_index: index, next_index: index, ..Self::default() }
    }

    /// Model calls done in this run.
    fn calls(&self) -> usize {
        self.next_index - self.begin_index
    }

    /// Adds a model output and forgets all but the newest `keep`.
    fn remember(&mut self, output: Vec<f32>, keep: usize) {
        self.history.push(output);
        let surplus = self.history.len().saturating_sub(keep);
        self.history.drain(..surplus);
    }

    /// The model output `back` steps ago, 0 being the newest.
    fn recall(&self, back: usize) -> &[f32] {
        self.history.iter().rev().nth(back).map_or(&[], Vec::as_slice)
    }
}

/// What every scheduler holds: its name, its timesteps and where it stands.
#[derive(Clone, Debug)]
pub struct Run {
    name: SchedulerName,
    timesteps: Vec<f64>,
    state: SchedulerState,
}

impl Run {
    fn new(name: SchedulerName, timesteps: Vec<f64>) -> Self {
        Self { name, timesteps, state: SchedulerState::default() }
    }

    /// The timestep of call `i`; past the end, the last one.
    fn clamped_timestep(&self, i: usize) -> f64 {
        self.timesteps.get(i).or(self.timesteps.last()).copied().unwrap_or(0.0)
    }

    /// Whether call `i` is the last one.
    fn is_last(&self, i: usize) -> bool {
        i + 1 >= self.timesteps.len()
    }
}

/// A scheduler for one run: timesteps are set, steps go in order.
///
/// Samples, model outputs and noise are flat slices of the same length, in any layout; one picture each, because
/// dynamic thresholding looks at the whole slice. All index arguments count model calls, as `timesteps` does.
pub trait Scheduler: Send {
    /// What every scheduler holds.
    fn run(&self) -> &Run;

    /// The same, to change.
    fn run_mut(&mut self) -> &mut Run;

    /// The update rule. Called by [`step`](Self::step), which sees to the order of calls and to lengths.
    ///
    /// # Errors
    /// When the noise has another length than the sample.
    fn update(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError>;

    /// Noises a clean sample to the level of model call `i`: where image to image starts. An `i` past the end is
    /// the last call.
    fn add_noise(&self, original: &[f32], noise: &[f32], i: usize) -> Vec<f32>;

    /// A copy, state included.
    fn clone_box(&self) -> Box<dyn Scheduler>;

    /// Standard deviation of the initial noise: the first sample is `randn * init_noise_sigma`.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// What the model is fed at model call `i` instead of `sample`.
    fn scale_model_input(&self, sample: &[f32], _i: usize) -> Vec<f32> {
        sample.to_vec()
    }

    /// Its name, with the sigmas that it uses, whether asked for or said by the checkpoint.
    fn name(&self) -> SchedulerName {
        self.run().name
    }

    /// What the model is fed as time, one for each model call. Not always whole numbers.
    fn timesteps(&self) -> &[f64] {
        &self.run().timesteps
    }

    /// The model call that the run starts with: not 0 in image to image.
    fn begin_index(&self) -> usize {
        self.run().state.begin_index
    }

    /// Does the update of model call `i`: takes the model's output for `sample` at `timesteps()[i]`, calls `noise`
    /// exactly when diffusers would draw noise, and gives the next sample.
    ///
    /// # Errors
    /// When the call is not the one that is due, or lengths differ. Nothing is remembered then.
    fn step(
        &mut self,
        i: usize,
        model_output: &[f32],
        sample: &[f32],
        noise: &mut NoiseSource<'_>,
    ) -> Result<StepOutput, SchedulerError> {
        let run = self.run();
        if i != run.state.next_index {
            return Err(SchedulerError::OutOfTurn { wanted: run.state.next_index, got: i });
        }
        if i >= run.timesteps.len() {
            return Err(SchedulerError::NoSuchStep { index: i, calls: run.timesteps.len() });
        }
        if model_output.len() != sample.len() {
            return Err(SchedulerError::Length { wanted: sample.len(), got: model_output.len() });
        }
        let output = self.update(i, model_output, sample, noise)?;
        self.run_mut().state.next_index += 1;
        Ok(output)
    }

    /// What is remembered between steps.
    fn state(&self) -> &SchedulerState {
        &self.run().state
    }

    /// Goes back to `state`, which was taken from a scheduler made with the same arguments.
    fn restore(&mut self, state: SchedulerState) {
        self.run_mut().state = state;
    }

    /// Forgets the run; the next one begins with model call `i`.
    ///
    /// # Errors
    /// When no step begins there.
    fn set_begin_index(&mut self, i: usize) -> Result<(), SchedulerError> {
        let calls = self.timesteps().len();
        if i >= calls || !i.is_multiple_of(self.name().info.order) {
            return Err(SchedulerError::NoSuchStep { index: i, calls });
        }
        self.restore(SchedulerState::begin_at(i));
        Ok(())
    }
}

impl Clone for Box<dyn Scheduler> {
    fn clone(&self) -> Self {
        self.clone_box()
    }
}

impl std::fmt::Debug for dyn Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} of {}", self.name(), self.state().next_index, self.timesteps().len())
    }
}

/// The parts of [`Scheduler`] that are the same for every struct with a `run` field.
macro_rules! holds_run {
    () => {
        fn run(&self) -> &Run {
            &self.run
        }

        fn run_mut(&mut self) -> &mut Run {
            &mut self.run
        }

        fn clone_box(&self) -> Box<dyn Scheduler> {
            Box::new(self.clone())
        }
    };
}
use holds_run;
