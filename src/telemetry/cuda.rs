//! NVIDIA GPUs: free and total memory of the device, and the high-water mark of this process's memory pool.
//!
//! The pool gives memory back when the stream is waited for, so that "free" before and after an op says nothing
//! about what the op held; the pool's own mark does.

use std::ffi::c_void;

use candle_core::cuda_backend::cudarc::driver::sys::CUmemPool_attribute_enum as Attribute;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result};

use super::GpuMemory;

/// What a CUDA device says about its memory.
pub fn cuda_memory(context: &CudaContext) -> Option<GpuMemory> {
    let (free, total) = context.mem_get_info().ok()?;
    let (free, total) = (free as u64, total as u64);
    let pool = |attribute| pool_bytes(context, attribute).unwrap_or(0);
    Some(GpuMemory {
        used: total.saturating_sub(free),
        ours: pool(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT),
        ours_peak: Some(pool(Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)),
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
