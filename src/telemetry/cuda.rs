//! NVIDIA GPUs: free and total memory of the device, and the high-water mark of this process's memory pool.
//!
//! The pool gives memory back when the stream is waited for, so that "free" before and after an op says nothing
//! about what the op held; the pool's own mark does. What CUDA graphs allocate is in no pool: it is counted beside it.

use std::ffi::c_void;

use candle_core::cuda_backend::cudarc::driver::sys::{
    self, CUgraphMem_attribute_enum as GraphAttribute, CUmemPool_attribute_enum as Attribute,
};
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result};

use super::{GpuMemory, Mark};

/// What a CUDA device says about its memory.
pub fn cuda_memory(context: &CudaContext, mark: Mark) -> Option<GpuMemory> {
    let (free, total) = context.mem_get_info().ok()?;
    let (free, total) = (free as u64, total as u64);
    if mark == Mark::Reset {
        reset_mark(context);
    }
    let pool = |attribute| pool_bytes(context, attribute).unwrap_or(0);
    let ours = pool(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT) + graph_bytes(context).unwrap_or(0);
    Some(GpuMemory {
        used: total.saturating_sub(free),
        ours,
        ours_peak: Some(pool(Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH).max(ours)),
        limit: total,
    })
}

/// What a CUDA device is.
pub fn cuda_facts(context: &CudaContext) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Ok(name) = context.name() {
        facts.push(("gpu", name));
    }
    if let Ok((major, minor)) = context.compute_capability() {
        facts.push(("compute", format!("{major}.{minor}")));
    }
    if let Ok((free, total)) = context.mem_get_info() {
        facts.push(("gpu free", format!("{} of {} MiB", free >> 20, total >> 20)));
    }
    facts
}

fn pool_bytes(context: &CudaContext, attribute: Attribute) -> Option<u64> {
    let mut bytes = 0u64;
    // SAFETY: the device belongs to a live context, and every size attribute is a `cuuint64_t`.
    #[expect(unsafe_code, reason = "cuMemPoolGetAttribute")]
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device()).ok()?;
        let value = std::ptr::from_mut(&mut bytes).cast::<c_void>();
        result::mem_pool::get_attribute(pool, attribute, value).ok()?;
    }
    Some(bytes)
}

fn reset_mark(context: &CudaContext) {
    let mut zero = 0u64;
    // SAFETY: as above; zero is the one value that this attribute can be set to.
    #[expect(unsafe_code, reason = "cuMemPoolSetAttribute")]
    unsafe {
        if let Ok(pool) = result::device::get_default_mem_pool(context.cu_device()) {
            let value = std::ptr::from_mut(&mut zero).cast::<c_void>();
            // Where it cannot be reset, a phase's peak only counts where it is the highest so far.
            let _ = result::mem_pool::set_attribute(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, value);
        }
    }
}

/// Bytes that CUDA graphs hold for what they allocate.
fn graph_bytes(context: &CudaContext) -> Option<u64> {
    let mut bytes = 0u64;
    let attribute = GraphAttribute::CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT;
    // SAFETY: the device belongs to a live context, and the attribute is a `cuuint64_t`.
    #[expect(unsafe_code, reason = "cuDeviceGetGraphMemAttribute")]
    let status = unsafe {
        let value = std::ptr::from_mut(&mut bytes).cast::<c_void>();
        sys::cuDeviceGetGraphMemAttribute(context.cu_device(), attribute, value)
    };
    status.result().ok().map(|()| bytes)
}
