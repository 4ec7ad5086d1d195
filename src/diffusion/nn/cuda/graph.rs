//! CUDA graphs: all launches of a computation recorded once, then handed to the device in one call.

use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, sys};
use candle_core::{CudaDevice, Device, Tensor};

use crate::diffusion::error::Result;

/// What waits for everything on the GPU, as opening it does, breaks off a recording, on whatever thread that is.
static RECORDING: Mutex<()> = Mutex::new(());

/// `f`, with no recording meanwhile.
pub fn without_recording<T>(f: impl FnOnce() -> T) -> T {
    let _one_at_a_time = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
    f()
}

/// A recorded computation with the tensors that it reads and writes.
pub struct Graph {
    graph: CudaGraph,
    /// Behind the graph, since fields are dropped in order.
    _memory: Reserved,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// What graphs allocate stays reserved for graphs when they are gone, until somebody asks for it.
struct Reserved(CudaDevice);

impl Drop for Reserved {
    fn drop(&mut self) {
        let device = self.0.cuda_stream().context().cu_device();
        // SAFETY: the device belongs to a live context, and memory of graphs that run is left alone.
        unsafe { sys::cuDeviceGraphMemTrim(device) };
    }
}

// SAFETY: a graph may be used from any thread, by one at a time; `launch` and `drop` are on whoever owns it.
unsafe impl Send for Graph {}

impl Graph {
    /// The results of `f(inputs)`, and the recording of it if the device can make one. What `f` allocates it must also
    /// free, but for its results.
    pub fn record(
        inputs: &[Tensor],
        f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<(Vec<Tensor>, Option<Self>)> {
        let Some(Device::Cuda(device)) = inputs.first().map(Tensor::device) else {
            return Ok((f(inputs)?, None));
        };
        let inputs = copies(inputs)?;
        // What candle uploads with a launch (strides of a layout) must still be there when the graph runs.
        let _keeps_uploads = device.enable_cuda_graph_htod_cache();
        let outputs = f(&inputs)?.iter().map(Tensor::contiguous).collect::<candle_core::Result<Vec<_>>>()?;
        let results = copies(&outputs)?;
        let _one_at_a_time = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = device.cuda_stream();
        stream.synchronize().w()?;
        if stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).is_err() {
            return Ok((results, None));
        }
        // The results are freed inside the capture: everything that the graph allocates, it frees.
        let captured = f(&inputs).and_then(|results| fill(&outputs, &results));
        // A flag of zero is not among the variants; this one has no effect on a graph that frees what it allocates.
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        if captured.is_err() {
            // Told below. As long as it stands, the recording is not ended, and everything after would fail too.
            let _ = stream.context().check_err();
        }
        let graph = match (captured, stream.end_capture(flags)) {
            (Ok(()), Ok(Some(graph))) => graph,
            (captured, ended) => {
                let ended = ended.map(|graph| graph.is_some());
                tracing::warn!(?captured, ?ended, "the step cannot be recorded as a CUDA graph");
                return Ok((results, None));
            }
        };
        let memory = Reserved(device.clone());
        Ok((results, Some(Self { graph, _memory: memory, inputs, outputs })))
    }

    /// Whether these are inputs like those it was recorded with.
    pub fn fits(&self, inputs: &[Tensor]) -> bool {
        let same = |a: &Tensor, b: &Tensor| a.dims() == b.dims() && a.dtype() == b.dtype();
        self.inputs.len() == inputs.len() && self.inputs.iter().zip(inputs).all(|(a, b)| same(a, b))
    }

    /// The computation with these inputs.
    pub fn launch(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        fill(&self.inputs, inputs)?;
        self.graph.launch().w()?;
        copies(&self.outputs)
    }
}

fn copies(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    tensors.iter().map(|x| Ok(x.contiguous()?.copy()?)).collect()
}

/// Copies each of `values` to the place that is held for it.
fn fill(places: &[Tensor], values: &[Tensor]) -> Result<()> {
    for (place, value) in places.iter().zip(values) {
        place.slice_set(&value.contiguous()?, 0, 0)?;
    }
    Ok(())
}
