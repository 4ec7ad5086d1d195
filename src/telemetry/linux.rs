//! Linux: procfs, pressure stall information, and the limits of the control groups (v2) that the process is in.
//!
//! Sources: kernel documentation, `filesystems/proc.rst`, `accounting/psi.rst`, `admin-guide/cgroup-v2.rst`.

use std::path::{Path, PathBuf};

use super::{MemProbe, MemSample, Pressure};

/// Per cent of the last ten seconds in which some task waited for memory.
const SOME_WARN: f64 = 10.;
/// The same for all tasks at once.
const FULL_WARN: f64 = 2.;
const FULL_CRITICAL: f64 = 20.;
/// Shares of the limit that are left.
const LEFT_WARN: f64 = 0.05;
const LEFT_CRITICAL: f64 = 0.02;

/// Reads `/proc` and `/sys/fs/cgroup`.
pub struct LinuxProbe {
    proc: PathBuf,
    /// The process's control group and those above it.
    groups: Vec<PathBuf>,
}

impl LinuxProbe {
    /// A probe of this process.
    pub fn new() -> Self {
        Self::below(Path::new("/proc"), Path::new("/sys/fs/cgroup"))
    }

    fn below(proc: &Path, cgroups: &Path) -> Self {
        let membership = read(&proc.join("self/cgroup"));
        let own = membership.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or("");
        // In a container the own group may be named from outside, where its folder is not to be seen.
        let folders = Path::new(own).ancestors().map(|path| cgroups.join(path));
        Self { proc: proc.to_owned(), groups: folders.filter(|path| path.is_dir()).collect() }
    }

    /// Limit, use and pressure of the control group with the least room, if any has a limit.
    fn group(&self) -> Option<Group> {
        self.groups.iter().filter_map(|folder| Group::read(folder)).min_by_key(|group| group.limit)
    }
}

struct Group {
    limit: u64,
    used: u64,
    swap: Option<(u64, u64)>,
    pressure: Pressure,
}

impl Group {
    fn read(folder: &Path) -> Option<Self> {
        let number = |file: &str| read(&folder.join(file)).trim().parse::<u64>().ok();
        let limit = [number("memory.max"), number("memory.high")].into_iter().flatten().min()?;
        // Pages of files are given up on demand; those of shared memory are not.
        let stat = read(&folder.join("memory.stat"));
        let value = |key| field(&stat, key, ' ').unwrap_or(0);
        let used = number("memory.current")?;
        let used = used.saturating_sub(value("file").saturating_sub(value("shmem")));
        let swap = number("memory.swap.current").zip(number("memory.swap.max"));
        Some(Self { limit, used, swap, pressure: stalled(&read(&folder.join("memory.pressure"))) })
    }
}

impl MemProbe for LinuxProbe {
    fn sample(&mut self) -> MemSample {
        let status = read(&self.proc.join("self/status"));
        let meminfo = read(&self.proc.join("meminfo"));
        let kilobytes = |text: &str, key: &str| field(text, key, ':').unwrap_or(0) * 1024;
        let total = kilobytes(&meminfo, "MemTotal");
        let footprint = kilobytes(&status, "VmRSS");
        let (swap_total, swap_used) = swaps(&read(&self.proc.join("swaps")));
        let mut sample = MemSample {
            footprint,
            footprint_peak: kilobytes(&status, "VmHWM").max(footprint),
            memory_limit: total,
            memory_used: total.saturating_sub(kilobytes(&meminfo, "MemAvailable")),
            swap_used,
            swap_total,
            pressure: stalled(&read(&self.proc.join("pressure/memory"))),
            ..MemSample::default()
        };
        if let Some(group) = self.group().filter(|group| group.limit < total) {
            (sample.memory_limit, sample.memory_used) = (group.limit, group.used);
            sample.pressure = sample.pressure.max(group.pressure);
            if let Some((used, total)) = group.swap {
                (sample.swap_used, sample.swap_total) = (used, total.min(swap_total).max(used));
            }
        }
        sample.pressure = sample.pressure.max(short(&sample));
        sample
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The number behind `key` and `separator`.
fn field(text: &str, key: &str, separator: char) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(separator))?;
    value.split_whitespace().next()?.parse().ok()
}

/// Size and use of all swap areas, from `/proc/swaps`.
fn swaps(text: &str) -> (u64, u64) {
    let mut sums = (0, 0);
    for line in text.lines().skip(1) {
        let mut columns = line.split_whitespace().skip(2).map(|column| column.parse::<u64>().unwrap_or(0));
        sums.0 += columns.next().unwrap_or(0) * 1024;
        sums.1 += columns.next().unwrap_or(0) * 1024;
    }
    sums
}

/// What pressure stall information amounts to.
fn stalled(text: &str) -> Pressure {
    let average = |kind: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(kind)).unwrap_or("");
        let value = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="));
        value.and_then(|value| value.parse().ok()).unwrap_or(0.)
    };
    match (average("some"), average("full")) {
        (_, full) if full >= FULL_CRITICAL => Pressure::Critical,
        (some, full) if some >= SOME_WARN || full >= FULL_WARN => Pressure::Warn,
        _ => Pressure::Normal,
    }
}

/// Where the kernel keeps no account of stalls, and before they begin: how little is left.
fn short(sample: &MemSample) -> Pressure {
    if sample.memory_limit == 0 {
        return Pressure::Normal;
    }
    let left = 1. - sample.memory_used as f64 / sample.memory_limit as f64;
    match left {
        left if left < LEFT_CRITICAL => Pressure::Critical,
        left if left < LEFT_WARN => Pressure::Warn,
        _ => Pressure::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            &[
                ("proc/self/status", "Name:\tx\nVmHWM:\t 3145728 kB\nVmRSS:\t 1048576 kB\n"),
                ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n"),
                (
                    "proc/swaps",
                    "Filename Type Size Used Priority\n/dev/a partition 1048576 524288 -2\n/b file 1024 0 -3\n",
                ),
                (
                    "proc/pressure/memory",
                    "some avg10=0.00 avg60=9.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0 total=0\n",
                ),
            ],
        );
        root
    }

    fn sample(root: &Path) -> MemSample {
        LinuxProbe::below(&root.join("proc"), &root.join("cgroup")).sample()
    }

    #[test]
    fn a_machine_without_limits_is_its_memory() {
        let root = machine();
        let sample = sample(root.path());
        assert_eq!((sample.footprint, sample.footprint_peak), (GIB, 3 * GIB));
        assert_eq!((sample.memory_limit, sample.memory_used), (16 * GIB, 8 * GIB));
        assert_eq!((sample.swap_used, sample.swap_total), (GIB / 2, GIB + (1 << 20)));
        assert_eq!(sample.pressure, Pressure::Normal);
    }

    #[test]
    fn the_tightest_control_group_above_the_process_counts() {
        let root = machine();
        write(
            root.path(),
            &[
                ("proc/self/cgroup", "1:name=x:/y\n0::/outer/inner\n"),
                ("cgroup/outer/memory.max", "4294967296\n"),
                ("cgroup/outer/memory.current", "3221225472\n"),
                ("cgroup/outer/memory.stat", "anon 1\nfile 1073741824\nshmem 0\n"),
                ("cgroup/outer/memory.swap.current", "1048576\n"),
                ("cgroup/outer/memory.swap.max", "max\n"),
                ("cgroup/outer/memory.pressure", "some avg10=12.50 avg60=0\nfull avg10=0.10\n"),
                ("cgroup/outer/inner/memory.max", "max\n"),
                ("cgroup/outer/inner/memory.current", "1\n"),
            ],
        );
        let sample = sample(root.path());
        assert_eq!((sample.memory_limit, sample.memory_used), (4 * GIB, 2 * GIB));
        assert_eq!(sample.pressure, Pressure::Warn);
    }

    #[test]
    fn little_left_is_pressure_before_anything_stalls() {
        let mut sample = MemSample { memory_limit: 1000, memory_used: 900, ..MemSample::default() };
        assert_eq!(short(&sample), Pressure::Normal);
        sample.memory_used = 960;
        assert_eq!(short(&sample), Pressure::Warn);
        sample.memory_used = 999;
        assert_eq!(short(&sample), Pressure::Critical);
        assert_eq!(stalled("some avg10=90 avg60=1\nfull avg10=30\n"), Pressure::Critical);
    }
}
