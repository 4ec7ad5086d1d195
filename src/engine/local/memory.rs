//! Memory while a job runs: the sampler, and what the GPU says.

use std::time::Duration;

use candle_core::Device;

use crate::engine::{EngineEvent, JobContext, JobError};
use crate::telemetry::fake::FakeProbe;
use crate::telemetry::{self, GpuProbe, MemProbe, Sampler};

/// Between two readings while a job runs.
const EVERY: Duration = Duration::from_millis(250);

/// What the engine does about memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryOptions {
    /// Readings that a test wrote down, in place of the system's.
    #[doc(hidden)]
    pub probe: Option<FakeProbe>,
}

impl MemoryOptions {
    /// The system's probe, or the test's.
    pub(super) fn probe(&self) -> Box<dyn MemProbe> {
        match &self.probe {
            Some(probe) => Box::new(probe.clone()),
            None => telemetry::system_probe(),
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
pub(super) fn gpu_probe(device: &Device) -> Option<GpuProbe> {
    match device {
        #[cfg(all(target_os = "macos", feature = "metal"))]
        Device::Metal(metal) => {
            let device = metal.clone();
            Some(std::sync::Arc::new(move || {
                Some(telemetry::macos::metal_memory(device.metal_device().as_ref()))
            }))
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => {
            let context = std::sync::Arc::clone(cuda.cuda_stream().context());
            Some(std::sync::Arc::new(move || telemetry::cuda::cuda_memory(&context)))
        }
        _ => None,
    }
}
