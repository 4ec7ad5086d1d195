//! The ops on Apple GPUs: candle's matrix product and fused attention, and kernels of our own around them.
//!
//! Everything but the launching of a kernel is independent of the device: each kernel has a plain twin for the CPU
//! ([`candle_core::CustomOp1::cpu_fwd`]), so that what is put together here is tested where there is no Mac. The
//! kernels' sources (`*.metal`) are compiled as C++ in the tests and held against the same twins.

mod add;
mod attention;
mod conv;
mod heads;
#[cfg(all(target_os = "macos", feature = "metal"))]
mod launch;
mod linear;
mod norm;
#[cfg(all(target_os = "macos", feature = "metal"))]
mod transfer;

use candle_core::{CpuStorage, Layout, Tensor};

use super::Backend;

pub(super) use attention::attention;
pub(super) use conv::Conv;
pub(super) use linear::{geglu, linear, linear_from_pixels, linear_geglu, linear_to_pixels_add};
pub(super) use norm::GroupNorm;
#[cfg(all(target_os = "macos", feature = "metal"))]
pub(super) use transfer::{read_back, write};

pub use conv::rows_at_once as im2col_rows;
pub(super) use heads::fused;
pub use heads::{Heads, fused_head_size};

/// Whether these ops are the ones for `x`.
pub(super) fn takes(x: &Tensor) -> bool {
    Backend::of(x) == Backend::Metal
}

/// Runs `work`, one step or one phase, and gives what Metal made on the way back to the system. Without this the
/// encoders and command buffers of every op stay in memory until the thread ends.
pub fn pooled<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(all(target_os = "macos", feature = "metal"))]
    return objc2::rc::autoreleasepool(|_| work());
    #[cfg(not(all(target_os = "macos", feature = "metal")))]
    work()
}

/// Threads of a threadgroup, in every kernel.
#[cfg(any(test, all(target_os = "macos", feature = "metal")))]
const THREADS: usize = 256;

/// One run of a kernel, as far as it does not depend on the device.
#[derive(Debug)]
#[cfg(any(test, all(target_os = "macos", feature = "metal")))]
struct Dispatch {
    /// The function's name.
    kernel: &'static str,
    /// The parameters, each of 32 bits.
    params: Vec<u32>,
    /// Threadgroups.
    grid: [usize; 3],
    /// Values of the result.
    count: usize,
}

#[cfg(any(test, all(target_os = "macos", feature = "metal")))]
impl Dispatch {
    /// Fails where a kernel could not count so far: `params` have to fit into 32 bits.
    fn new(
        kernel: &'static str,
        params: &[usize],
        grid: [usize; 3],
        count: usize,
    ) -> candle_core::Result<Self> {
        let params = params.iter().map(|param| u32::try_from(*param)).collect::<Result<_, _>>();
        match params {
            Ok(params) => Ok(Self { kernel, params, grid, count }),
            Err(_) => candle_core::bail!("{kernel} of {count} values is more than a kernel can count"),
        }
    }
}

/// The f32 values of a contiguous tensor on the CPU, for the kernels' twins.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => candle_core::bail!("this runs on the CPU for contiguous f32 only"),
    }
}

#[cfg(test)]
mod tests;
