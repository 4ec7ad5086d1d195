//! Memory readings: one probe per platform, one sampler thread, plain data out.
//!
//! Owns what the operating system and the GPU driver say about memory. Knows nothing of the rest of the crate: what
//! a GPU says is asked for by whoever opened it ([`GpuProbe`]).

#[cfg(feature = "cuda")]
pub mod cuda;
pub mod fake;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
pub mod macos;
mod sampler;

use std::sync::Arc;

use serde::Serialize;

pub use sampler::{PhasePeak, Record, Sampler};

/// How hard the system is pressed for memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// No pressure.
    #[default]
    Normal,
    /// The system has begun to compress or swap.
    Warn,
    /// The system is short of memory.
    Critical,
}

/// One reading, all in bytes. `None` where the platform cannot tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MemSample {
    /// What this process uses now (footprint on macOS, resident set elsewhere).
    pub footprint: u64,
    /// The most that it used since it started.
    pub footprint_peak: u64,
    /// Memory of the machine or of the control group, whichever is less.
    pub memory_limit: u64,
    /// What is used of `memory_limit`, by everybody, without caches that are given up on demand.
    pub memory_used: u64,
    /// GPU memory in use.
    pub gpu_used: Option<u64>,
    /// GPU memory that can be used without being pushed out.
    pub gpu_limit: Option<u64>,
    /// Swap in use.
    pub swap_used: u64,
    /// Swap in all.
    pub swap_total: u64,
    /// Pressure level.
    pub pressure: Pressure,
}

/// What a GPU says about its memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GpuMemory {
    /// In use: by this process on Metal, by everybody on CUDA.
    pub used: u64,
    /// Held by this process.
    pub ours: u64,
    /// The most that this process held since the mark was last reset, where the driver keeps account of it.
    pub ours_peak: Option<u64>,
    /// What can be used without being pushed out.
    pub limit: u64,
}

/// What becomes of the driver's high-water mark when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It stays.
    Keep,
    /// It falls to what is held now, before it is read: a phase begins.
    Reset,
}

/// Asks the GPU that the engine opened.
pub type GpuProbe = Arc<dyn Fn(Mark) -> Option<GpuMemory> + Send + Sync>;

/// Something that can be asked for a reading. Cheap enough for several times a second; needs no rights and starts no
/// program.
pub trait MemProbe: Send {
    /// Reads everything there is; GPU numbers are filled in by the [`Sampler`].
    fn sample(&mut self) -> MemSample;
}

/// The probe of the platform that this was built for.
pub fn system_probe() -> Box<dyn MemProbe> {
    #[cfg(target_os = "linux")]
    return Box::new(linux::LinuxProbe::new());
    #[cfg(target_os = "macos")]
    return Box::new(macos::MacProbe);
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    return Box::new(Unknown);
}

/// Elsewhere only the process's own peak is known.
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
struct Unknown;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
impl MemProbe for Unknown {
    fn sample(&mut self) -> MemSample {
        MemSample { footprint: peak_memory(), footprint_peak: peak_memory(), ..MemSample::default() }
    }
}

/// One reading now, GPU included.
pub fn read(probe: &mut dyn MemProbe, gpu: Option<&GpuProbe>) -> MemSample {
    let mut sample = probe.sample();
    if let Some(memory) = gpu.and_then(|gpu| gpu(Mark::Keep)) {
        sample.gpu_used = Some(memory.used);
        sample.gpu_limit = Some(memory.limit);
    }
    sample
}

/// The most memory that this process used since it started, in bytes.
pub fn peak_memory() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills the struct that it is given, and all zeros is a valid one.
    #[expect(unsafe_code, reason = "getrusage")]
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    // Linux counts KiB, macOS bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    u64::try_from(usage.ru_maxrss).unwrap_or(0) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_something_sensible() {
        let held = vec![1u8; 8 << 20];
        let sample = read(system_probe().as_mut(), None);
        assert!(sample.footprint > held.len() as u64 / 2, "{sample:?}");
        assert!(sample.footprint_peak >= sample.footprint, "{sample:?}");
        assert!(sample.memory_limit > sample.footprint && sample.memory_used > 0, "{sample:?}");
        assert!(sample.swap_used <= sample.swap_total, "{sample:?}");
        assert!(sample.gpu_used.is_none());
        assert!(peak_memory() > held.len() as u64);
    }
}
