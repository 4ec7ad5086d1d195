//! `tintype doctor`: what this machine is, and whether this build computes right on it.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::cli::Options;
use crate::diffusion::memory_plan::gib;
use crate::diffusion::nn::OpLimits;
use crate::diffusion::pipeline::Measures;
use crate::diffusion::self_test::{OpCheck, SelfTest};
use crate::engine::local::{gpu_facts, gpu_probe};
use crate::paths::HubAccess;
use crate::request::{ImageSize, Picture};
use crate::store::{self, ResolveOptions};
use crate::telemetry::{self, MemSample, Sampler, system_probe};

/// Mean difference of two devices' pictures, in steps of 255, that is no fault.
const PICTURE_TOLERANCE: f64 = 2.;
/// What attention slicing is tried at on a GPU.
const SLICED_SIZE: ImageSize = ImageSize::new(512, 512);
/// Between two readings of memory.
const EVERY: Duration = Duration::from_millis(20);

/// Everything that was found out.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    facts: Vec<(&'static str, String)>,
    memory: MemSample,
    device: Option<String>,
    notice: Option<String>,
    ops: Vec<OpCheck>,
    pictures: Vec<PictureCheck>,
    slicing: Vec<Slicing>,
    /// What is wrong, a sentence each; empty is well.
    problems: Vec<String>,
}

/// A whole picture on one device, beside the one that the CPU makes in f32.
#[derive(Debug, Serialize)]
struct PictureCheck {
    device: String,
    dtype: String,
    /// Seconds of the first step, which compiles kernels and reads weights.
    first_step: f64,
    steps_per_second: f64,
    /// Against the CPU in f32, in steps of 255; `None` is that picture itself.
    mean_difference: Option<f64>,
    largest_difference: Option<u8>,
}

/// The same picture with attention cut in another way.
#[derive(Debug, Serialize)]
struct Slicing {
    attention_slicing: &'static str,
    steps_per_second: f64,
    peak_memory: u64,
    /// Than without slicing, as a share.
    faster_by: f64,
    /// Bytes less than without slicing.
    memory_saved: i64,
}

/// Prints the report. Fails when something is wrong.
pub fn run(options: &Options) -> ExitCode {
    options.tell_problems();
    let report = examine(options);
    let text = if options.json {
        serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
    } else {
        report.lines().into_iter().map(|line| line + "\n").collect()
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) if report.problems.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// The report, a line each, for the prompt's `/doctor`.
pub fn report(options: &Options) -> Vec<String> {
    examine(options).lines()
}

fn examine(options: &Options) -> Report {
    let mut report = Report {
        version: env!("CARGO_PKG_VERSION"),
        facts: facts(options),
        memory: telemetry::read(system_probe().as_mut(), None),
        device: None,
        notice: None,
        ops: Vec::new(),
        pictures: Vec::new(),
        slicing: Vec::new(),
        problems: Vec::new(),
    };
    if let Err(error) = self_test(options, &mut report) {
        report.problems.push(error);
    }
    report
}

fn self_test(options: &Options, report: &mut Report) -> Result<(), String> {
    let embedded = ResolveOptions { offline: true, ..ResolveOptions::default() };
    let checkpoint = store::resolve(None, &embedded, &mut |_| std::ops::ControlFlow::Continue(()))
        .map_err(|error| error.to_string())?;
    let test = SelfTest::new(checkpoint, options.device, options.dtype).map_err(|error| error.to_string())?;
    let gpu = gpu_probe(&test.device);
    report.memory = telemetry::read(system_probe().as_mut(), gpu.as_ref());
    report.device = Some(format!("{} in {}", test.device_name(), test.dtype.as_str()));
    report.notice.clone_from(&test.notice);
    report.facts.extend(gpu_facts(&test.device));

    report.ops = test.ops().map_err(|error| error.to_string())?;
    for op in report.ops.iter().filter(|op| !op.passed()) {
        let why = op.error.clone().unwrap_or_else(|| format!("off by {:.1e}", op.difference));
        report.problems.push(format!("{} is wrong on {}: {why}", op.name, test.device_name()));
    }
    let reference = picture(&test.on_cpu(), None, report)?;
    if report.device.as_deref() != Some("cpu in f32") {
        picture(&test, Some(&reference), report)?;
        let last = report.pictures.last();
        if let Some(off) = last.and_then(|check| check.mean_difference).filter(|off| *off > PICTURE_TOLERANCE)
        {
            let device = test.device_name();
            report
                .problems
                .push(format!("the picture made on {device} differs from the CPU's by {off:.1} of 255"));
        }
    }
    slicing(&test, report)
}

/// Makes the picture, compares it with `reference`, and notes both.
fn picture(test: &SelfTest, reference: Option<&Picture>, report: &mut Report) -> Result<Picture, String> {
    let run = test
        .pipeline()
        .and_then(|pipeline| test.picture(&pipeline, &Measures::default(), None))
        .map_err(|error| format!("no picture on {}: {error}", test.device_name()))?;
    let off: Option<Vec<u8>> = reference
        .map(|other| other.rgb.iter().zip(run.picture.rgb.iter()).map(|(a, b)| a.abs_diff(*b)).collect());
    let mean = |off: &Vec<u8>| off.iter().map(|d| f64::from(*d)).sum::<f64>() / off.len().max(1) as f64;
    report.pictures.push(PictureCheck {
        device: test.device_name().into(),
        dtype: test.dtype.as_str().into(),
        first_step: run.warm_up,
        steps_per_second: rate(&run.steps),
        mean_difference: off.as_ref().map(mean),
        largest_difference: off.as_ref().and_then(|off| off.iter().copied().max()),
    });
    Ok(run.picture)
}

/// Times the picture and measures its memory with attention cut in three ways.
fn slicing(test: &SelfTest, report: &mut Report) -> Result<(), String> {
    let gpu = gpu_probe(&test.device);
    let sampler = Sampler::start(system_probe(), gpu, EVERY, |_| {}).map_err(|error| error.to_string())?;
    let pipeline = test.pipeline().map_err(|error| error.to_string())?;
    // On a GPU the picture is large enough for it to show; half floats on the CPU are too slow for that.
    let size = (!test.device.is_cpu()).then_some(SLICED_SIZE);
    // One head of this model, in the largest of its attentions, takes more than this.
    let ways = [("off", usize::MAX), ("auto", OpLimits::default().attention_bytes), ("max", 1 << 20)];
    for (attention_slicing, attention_bytes) in ways {
        let limits = OpLimits { attention_bytes, ..OpLimits::default() };
        sampler.begin(attention_slicing);
        let run = test
            .picture(&pipeline, &Measures { limits, ..Measures::default() }, size)
            .map_err(|error| format!("attention slicing {attention_slicing}: {error}"))?;
        let peak = sampler.record().peaks.get(attention_slicing).copied().unwrap_or_default();
        let (rate, peak) = (rate(&run.steps), peak.gpu.unwrap_or(peak.footprint));
        let (rate_off, peak_off) =
            report.slicing.first().map_or((rate, peak), |off| (off.steps_per_second, off.peak_memory));
        report.slicing.push(Slicing {
            attention_slicing,
            steps_per_second: rate,
            peak_memory: peak,
            faster_by: rate / rate_off - 1.,
            memory_saved: peak_off as i64 - peak as i64,
        });
    }
    Ok(())
}

fn rate(seconds: &[f64]) -> f64 {
    seconds.len() as f64 / seconds.iter().sum::<f64>().max(f64::MIN_POSITIVE)
}

/// What the machine and the program say about themselves.
fn facts(options: &Options) -> Vec<(&'static str, String)> {
    let mut facts = vec![("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH))];
    facts.extend(machine());
    facts.push(("threads", rayon::current_num_threads().to_string()));
    let backends = [
        ("metal", cfg!(feature = "metal")),
        ("cuda", cfg!(feature = "cuda")),
        ("hub", cfg!(feature = "hub")),
    ];
    let built: Vec<&str> = backends.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    facts.push(("built with", if built.is_empty() { "the CPU only".into() } else { built.join(", ") }));
    for (name, variable) in [("terminal", "TERM"), ("program", "TERM_PROGRAM"), ("colours", "COLORTERM")] {
        if let Some(value) = std::env::var_os(variable) {
            facts.push((name, value.to_string_lossy().into_owned()));
        }
    }
    let paths = options.paths();
    facts.push(("models", HubAccess::from_env().cache.display().to_string()));
    facts.push(("settings", paths.config_file().display().to_string()));
    facts.push(("sessions", paths.session_dir().display().to_string()));
    facts.push(("pictures", paths.output_dir.display().to_string()));
    facts.push(("log", paths.log_file().display().to_string()));
    facts
}

#[cfg(target_os = "macos")]
fn machine() -> Vec<(&'static str, String)> {
    use crate::telemetry::macos::{sysctl, sysctl_text};
    let texts = [("chip", c"machdep.cpu.brand_string"), ("macos", c"kern.osproductversion")];
    let mut facts: Vec<_> =
        texts.into_iter().filter_map(|(name, key)| Some((name, sysctl_text(key)?))).collect();
    // 0 is the system's own choice, about two thirds to three quarters of the memory.
    let limit = sysctl::<u32>(c"iogpu.wired_limit_mb").filter(|limit| *limit > 0);
    facts.push((
        "gpu limit",
        match limit {
            Some(limit) => format!("{limit} MB, set with iogpu.wired_limit_mb"),
            None => "the system's; raise it with: sudo sysctl iogpu.wired_limit_mb=MEGABYTES".into(),
        },
    ));
    facts
}

#[cfg(not(target_os = "macos"))]
fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let chip = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let mut facts = Vec::new();
    if let Some((_, chip)) = chip {
        facts.push(("chip", chip.trim().to_string()));
    }
    let kernel = read("/proc/sys/kernel/osrelease");
    if !kernel.is_empty() {
        facts.push(("kernel", kernel.trim().to_string()));
    }
    facts
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("tintype {}", self.version)];
        lines.extend(self.facts.iter().map(|(name, value)| row(name, value)));
        self.memory_lines(&mut lines);
        if let Some(device) = &self.device {
            lines.push(row("device", device));
        }
        lines.extend(self.notice.iter().map(|notice| row("", notice)));
        lines.extend([String::new(), "ops, against plain loops".into()]);
        for op in &self.ops {
            let mark = if op.passed() { "ok   " } else { "WRONG" };
            lines.push(format!("  {mark} {:<22} off by {:.1e}", op.name, op.difference));
        }
        lines.extend([String::new(), "one picture".into()]);
        for check in &self.pictures {
            let mut line = format!(
                "  {:<5} {:<4} {:>7.2} it/s, first step {:.2} s",
                check.device, check.dtype, check.steps_per_second, check.first_step
            );
            if let (Some(mean), Some(largest)) = (check.mean_difference, check.largest_difference) {
                line += &format!(", off from the CPU's by {mean:.2} on average, {largest} at most, of 255");
            }
            lines.push(line);
        }
        if !self.slicing.is_empty() {
            lines.extend([String::new(), "attention slicing".into()]);
        }
        for slicing in &self.slicing {
            let mut line = format!(
                "  {:<5} {:>7.2} it/s, {} at most",
                slicing.attention_slicing,
                slicing.steps_per_second,
                gib(slicing.peak_memory)
            );
            if slicing.attention_slicing != "off" {
                let saved = gib(slicing.memory_saved.unsigned_abs());
                let less = if slicing.memory_saved < 0 { "more" } else { "less" };
                line += &format!(": {:+.0} % speed, {saved} {less} than off", 100. * slicing.faster_by);
            }
            lines.push(line);
        }
        if self.device.as_deref() == Some("cpu in f32") {
            lines.push("  the CPU's own attention in f32 keeps no scores: there is nothing to slice".into());
        }
        lines.push(String::new());
        if self.problems.is_empty() {
            lines.push("all is well".into());
        }
        lines.extend(self.problems.iter().map(|problem| format!("PROBLEM  {problem}")));
        lines
    }

    fn memory_lines(&self, lines: &mut Vec<String>) {
        let memory = &self.memory;
        let of = |used: u64, limit: u64| format!("{} of {} in use", gib(used), gib(limit));
        lines.push(row("memory", &of(memory.memory_used, memory.memory_limit)));
        if let (Some(used), Some(limit)) = (memory.gpu_used, memory.gpu_limit) {
            lines.push(row("gpu memory", &of(used, limit)));
        }
        lines.push(row("swap", &of(memory.swap_used, memory.swap_total)));
        let pressure = format!("{:?}", memory.pressure).to_lowercase();
        lines.push(row("pressure", &pressure));
    }
}

fn row(name: &str, value: &str) -> String {
    format!("  {name:<11}{value}")
}
