//! macOS: swap, the pressure level, and the footprint that Activity Monitor shows.
//!
//! `footprint` counts Metal's buffers as well, since they lie in the same memory.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use super::{MemProbe, MemSample, Pressure};

/// Asks the kernel; needs no rights.
pub struct MacProbe;

impl MemProbe for MacProbe {
    fn sample(&mut self) -> MemSample {
        let (footprint, footprint_peak) = footprint().unwrap_or_default();
        let memory_limit = sysctl::<u64>(c"hw.memsize").unwrap_or(0);
        let swap = sysctl::<libc::xsw_usage>(c"vm.swapusage");
        MemSample {
            footprint,
            footprint_peak,
            memory_limit,
            memory_used: memory_limit.saturating_sub(available().unwrap_or(memory_limit)),
            swap_used: swap.as_ref().map_or(0, |swap| swap.xsu_used),
            swap_total: swap.as_ref().map_or(0, |swap| swap.xsu_total),
            // 1 normal, 2 warning, 4 critical
            pressure: match sysctl::<u32>(c"kern.memorystatus_vm_pressure_level") {
                Some(4) => Pressure::Critical,
                Some(2) => Pressure::Warn,
                _ => Pressure::Normal,
            },
            ..MemSample::default()
        }
    }
}

/// A value of the kernel's by name.
pub fn sysctl<T: Copy>(name: &CStr) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let mut length = size_of::<T>();
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `value`, and says how many it wrote.
    #[expect(unsafe_code, reason = "sysctlbyname")]
    unsafe {
        let answer = libc::sysctlbyname(
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        );
        (answer == 0 && length == size_of::<T>()).then(|| value.assume_init())
    }
}

/// A text of the kernel's by name, such as the chip's.
pub fn sysctl_text(name: &CStr) -> Option<String> {
    let bytes = sysctl_bytes(name)?;
    let text = CStr::from_bytes_until_nul(&bytes).ok()?;
    Some(text.to_string_lossy().into_owned())
}

fn sysctl_bytes(name: &CStr) -> Option<Vec<u8>> {
    let mut bytes = vec![0u8; 256];
    let mut length = bytes.len();
    // SAFETY: as in `sysctl`; the buffer is `length` bytes long.
    #[expect(unsafe_code, reason = "sysctlbyname")]
    let answer = unsafe {
        libc::sysctlbyname(name.as_ptr(), bytes.as_mut_ptr().cast(), &raw mut length, std::ptr::null_mut(), 0)
    };
    (answer == 0).then_some(bytes)
}

/// Footprint of this process and the largest it ever was.
fn footprint() -> Option<(u64, u64)> {
    let mut usage = MaybeUninit::<libc::rusage_info_v4>::zeroed();
    // SAFETY: the kernel fills a struct of this flavor, and all zeros is a valid one.
    #[expect(unsafe_code, reason = "proc_pid_rusage")]
    unsafe {
        let answer = libc::proc_pid_rusage(libc::getpid(), libc::RUSAGE_INFO_V4, usage.as_mut_ptr().cast());
        (answer == 0).then(|| {
            let usage = usage.assume_init();
            (usage.ri_phys_footprint, usage.ri_lifetime_max_phys_footprint)
        })
    }
}

/// Memory that could be had without compressing or swapping: a per cent of the machine's, by the kernel's count.
fn available() -> Option<u64> {
    let per_cent = sysctl::<u32>(c"kern.memorystatus_level")?;
    Some(sysctl::<u64>(c"hw.memsize")? / 100 * u64::from(per_cent.min(100)))
}

/// What a Metal device says about its memory.
#[cfg(feature = "metal")]
pub fn metal_memory(device: &objc2::runtime::ProtocolObject<dyn objc2_metal::MTLDevice>) -> super::GpuMemory {
    use objc2_metal::MTLDevice as _;
    let used = device.currentAllocatedSize() as u64;
    super::GpuMemory { used, ours: used, ours_peak: None, limit: device.recommendedMaxWorkingSetSize() }
}

/// What a Metal device is: name, families, where its memory lies, and what it holds at once.
#[cfg(feature = "metal")]
pub fn metal_facts(
    device: &objc2::runtime::ProtocolObject<dyn objc2_metal::MTLDevice>,
) -> Vec<(&'static str, String)> {
    use objc2_metal::{MTLDevice as _, MTLGPUFamily as Family};
    let families = [
        ("Apple 7", Family::Apple7),
        ("Apple 8", Family::Apple8),
        ("Apple 9", Family::Apple9),
        ("Apple 10", Family::Apple10),
        ("Mac 2", Family::Mac2),
        ("Metal 3", Family::Metal3),
        ("Metal 4", Family::Metal4),
    ];
    let families: Vec<&str> = families
        .into_iter()
        .filter(|(_, family)| device.supportsFamily(*family))
        .map(|(name, _)| name)
        .collect();
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    vec![
        ("gpu", device.name().to_string()),
        ("family", families.join(", ")),
        ("unified", if device.hasUnifiedMemory() { "yes" } else { "no" }.into()),
        ("working set", mib(device.recommendedMaxWorkingSetSize())),
        ("buffer", format!("{} at most", mib(device.maxBufferLength() as u64))),
    ]
}
