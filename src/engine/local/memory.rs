//! Memory while a job runs: the sampler, and what the GPU says.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use candle_core::{DType, Device};

use super::failure;

use crate::diffusion::memory_plan::{Budget, MemoryPlan, Planner, Site, WayOut, gib};
use crate::diffusion::nn::fault;
use crate::diffusion::pipeline::PipelineConfig;
use crate::diffusion::watchdog::{InjectedFault, Oversight, WatchedPhase};
use crate::engine::{Choice, EngineEvent, JobContext, JobError};
use crate::request::{GenerateParams, MemoryBudget, MemoryWishes, VaeTiling};
use crate::telemetry::fake::FakeProbe;
use crate::telemetry::{self, GpuProbe, Mark, MemProbe, Pressure, Sampler};

/// Swap that may grow in a run before the run takes less memory.
const SWAP_GROWTH: u64 = 256 << 20;
/// Between two readings while a job runs.
const EVERY: Duration = Duration::from_millis(250);

/// What the engine does about memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryOptions {
    /// What is asked of the memory plan.
    pub wishes: MemoryWishes,
    /// Whether somebody is there to choose when a picture does not fit.
    pub ask: bool,
    /// The resident model gives its memory back after so long without a job; `None` keeps it.
    pub release_after: Option<Duration>,
    /// Bytes that the steps of earlier pictures may take; `None` is 128 MiB.
    pub kept_steps: Option<usize>,
    /// Readings that a test wrote down, in place of the system's.
    #[doc(hidden)]
    pub probe: Option<FakeProbe>,
    /// Ops that fail on purpose in every job.
    #[doc(hidden)]
    pub faults: Vec<InjectedFault>,
}

impl MemoryOptions {
    /// The system's probe, or the test's.
    pub(super) fn probe(&self) -> Box<dyn MemProbe> {
        match &self.probe {
            Some(probe) => Box::new(probe.clone()),
            None => telemetry::system_probe(),
        }
    }

    /// Lets loading fail where a test wants that.
    pub(super) fn arm_load(&self) {
        if let Some(fault) = self.faults.iter().find(|fault| fault.phase == WatchedPhase::Load) {
            fault::arm(fault.op);
        }
    }

    /// Samples until it is dropped, and tells.
    pub(super) fn sampler(&self, context: &JobContext<'_>) -> Result<Sampler, JobError> {
        let emit = context.emitter();
        let tell = move |sample| emit(EngineEvent::Memory(sample));
        Sampler::start(self.probe(), None, EVERY, tell)
            .map_err(|error| JobError::Failed(format!("cannot start the memory sampler: {error}")))
    }
}

/// Asks `device` about its memory; the CPU has none of its own.
#[allow(clippy::unnecessary_wraps, reason = "builds for a GPU do")]
pub fn gpu_probe(device: &Device) -> Option<GpuProbe> {
    match device {
        #[cfg(all(target_os = "macos", feature = "metal"))]
        Device::Metal(metal) => {
            let device = metal.clone();
            Some(std::sync::Arc::new(move |_| {
                Some(telemetry::macos::metal_memory(device.metal_device().as_ref()))
            }))
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => {
            let context = std::sync::Arc::clone(cuda.cuda_stream().context());
            Some(std::sync::Arc::new(move |mark| telemetry::cuda::cuda_memory(&context, mark)))
        }
        _ => None,
    }
}

/// What the GPU behind `device` is, for bug reports; nothing on the CPU.
pub fn gpu_facts(device: &Device) -> Vec<(&'static str, String)> {
    match device {
        #[cfg(all(target_os = "macos", feature = "metal"))]
        Device::Metal(metal) => telemetry::macos::metal_facts(metal.metal_device().as_ref()),
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => telemetry::cuda::cuda_facts(cuda.cuda_stream().context()),
        _ => Vec::new(),
    }
}

/// Plans a run on a device. `base` is what the process held before it held any model. Where nothing makes it fit, the
/// person is asked, if there is one; what they choose changes `params`.
pub(super) fn plan(
    options: &MemoryOptions,
    config: &PipelineConfig,
    params: &mut GenerateParams,
    (device, dtype): (&Device, DType),
    base: u64,
    sampler: &Sampler,
    context: &JobContext<'_>,
) -> Result<MemoryPlan, JobError> {
    let planner = Planner::new(config, Site::of(device, dtype, base)).map_err(failure)?;
    let (mut wishes, budget) = (options.wishes, budget(options.wishes.budget, device, sampler));
    loop {
        let plan = planner.plan(params, &wishes, budget.clone());
        if plan.fits() {
            return Ok(plan);
        }
        let ways = planner.ways_out(params, &wishes, &plan);
        if !options.ask {
            let ways: Vec<String> = ways
                .into_iter()
                .map(|(way, bytes)| match way {
                    WayOut::Anyway => format!("{} goes ahead anyway", way.switches()),
                    _ => format!("{} takes {}", way.switches(), gib(bytes)),
                })
                .collect();
            return Err(JobError::Refused(format!("{}: {}", plan.shortage(), ways.join("; "))));
        }
        let choices: Vec<Choice> = ways.iter().map(|(way, bytes)| choice(*way, *bytes)).collect();
        let key = context.ask(plan.shortage(), &choices).ok_or(JobError::Cancelled(0))?;
        let chosen = choices.iter().position(|choice| choice.key == key);
        match chosen.map(|at| ways[at].0) {
            Some(WayOut::Smaller(size)) => params.size = size,
            Some(WayOut::Tiles) => wishes.vae_tiling = VaeTiling::Auto,
            Some(WayOut::Anyway) | None => return Ok(plan),
        }
    }
}

fn choice(way: WayOut, bytes: u64) -> Choice {
    let (key, what) = match way {
        WayOut::Smaller(size) => ('s', format!("smaller, {size}")),
        WayOut::Tiles => ('t', "the VAE in tiles".into()),
        WayOut::Anyway => ('g', "go anyway".into()),
    };
    Choice { key, text: format!("{what}: {}", gib(bytes)) }
}

/// What a run may hold: what was asked for, else what nobody else holds now.
fn budget(wish: MemoryBudget, device: &Device, sampler: &Sampler) -> Option<Budget> {
    match wish {
        MemoryBudget::Off => return None,
        MemoryBudget::Bytes(bytes) => {
            return Some(Budget { bytes, source: "allowed (--memory-budget)".into() });
        }
        MemoryBudget::Auto => {}
    }
    if let Some(gpu) = gpu_probe(device) {
        let memory = gpu(Mark::Keep)?;
        let bytes = memory.limit.saturating_sub(memory.used.saturating_sub(memory.ours));
        return Some(Budget { bytes, source: "of GPU memory free".into() });
    }
    let sample = sampler.now();
    let others = sample.memory_used.saturating_sub(sample.footprint);
    let bytes = sample.memory_limit.saturating_sub(others);
    (sample.memory_limit > 0).then(|| Budget { bytes, source: "of memory free".into() })
}

/// The engine's eyes on a run: passes notices on and keeps them for the recipe, and says when memory is short.
pub(super) struct Overseer<'a> {
    context: &'a JobContext<'a>,
    sampler: &'a Sampler,
    notices: RefCell<Vec<String>>,
    /// Swap growth that was already acted upon.
    swap_told: Cell<u64>,
}

impl<'a> Overseer<'a> {
    /// Watches over one picture of a job.
    pub fn new(context: &'a JobContext<'a>, sampler: &'a Sampler) -> Self {
        Self { context, sampler, notices: RefCell::default(), swap_told: Cell::new(sampler.swap_grown()) }
    }

    /// Everything that was said.
    pub fn notices(&self) -> Vec<String> {
        self.notices.borrow().clone()
    }
}

impl Oversight for Overseer<'_> {
    fn notice(&self, text: String) {
        self.context.emit(EngineEvent::Notice { job: self.context.job(), text: text.clone() });
        self.notices.borrow_mut().push(text);
    }

    fn memory_is_short(&self) -> Option<String> {
        let grown = self.sampler.swap_grown();
        if grown >= self.swap_told.get() + SWAP_GROWTH {
            self.swap_told.set(grown);
            return Some(format!("swap has grown by {} MiB", grown >> 20));
        }
        let sample = self.sampler.now();
        if let (Some(used), Some(limit)) = (sample.gpu_used, sample.gpu_limit)
            && limit > 0
            && used > limit
        {
            return Some("the GPU holds more than its working set".into());
        }
        match sample.pressure {
            Pressure::Normal => None,
            Pressure::Warn => Some("the system is short of memory".into()),
            Pressure::Critical => Some("the system is very short of memory".into()),
        }
    }
}
