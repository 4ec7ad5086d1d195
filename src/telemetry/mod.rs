//! Memory readings: one probe per platform, one sampler thread, plain data out.
//!
//! Owns what the operating system and the GPU driver say about memory. Knows nothing of the rest of the crate.

use serde::Serialize;

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
    /// What is used of `memory_limit`, by everybody.
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
