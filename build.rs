//! Compiles the CUDA kernels of `src/diffusion/nn/cuda/kernels` to PTX, once for each element type, when the feature
//! `cuda` is on. The PTX is for compute capability 8.0: the driver translates it for the GPU that it finds, and keeps
//! the result. Needs `nvcc`, as candle's own kernels do: from `NVCC`, `CUDA_HOME`, or the path.

use std::path::PathBuf;
use std::process::Command;

const KERNELS: &str = "src/diffusion/nn/cuda/kernels";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed={KERNELS}");
    for name in ["NVCC", "CUDA_HOME"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    match cuda_release() {
        Ok((major, minor)) => {
            println!("cargo::rustc-env=CUDA_MAJOR={major}");
            println!("cargo::rustc-env=CUDA_MINOR={minor}");
        }
        Err(why) => println!("cargo::error={why}"),
    }
    for (name, element) in [("f16", "f16"), ("bf16", "bf16"), ("f32", "float")] {
        if let Err(why) = compile(name, element) {
            println!("cargo::error={why}");
        }
    }
}

fn compile(name: &str, element: &str) -> Result<(), String> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join(format!("{name}.ptx"));
    let mut command = Command::new(nvcc());
    command.args(["-ptx", "-arch=compute_80", "-std=c++17", "-O3"]).arg(format!("-DELEMENT={element}"));
    if name == "f32" {
        // There are no tensor cores for f32.
        command.arg("-DNO_ATTENTION");
    }
    let run = command.arg(format!("{KERNELS}/all.cu")).arg("-o").arg(out).output();
    let run = run.map_err(|error| not_started(&error))?;
    if run.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&run.stderr).replace('\n', " ");
    Err(format!("nvcc cannot compile the CUDA kernels for {name}: {text}"))
}

/// Major and minor number of the CUDA release that `nvcc` belongs to.
fn cuda_release() -> Result<(u32, u32), String> {
    let run = Command::new(nvcc()).arg("--version").output().map_err(|error| not_started(&error))?;
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let release = text.split_once("release ").and_then(|(_, rest)| rest.split([',', ' ']).next());
    let numbers = release.and_then(|release| release.split_once('.'));
    numbers
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| format!("nvcc does not say which CUDA release it is: {}", text.replace('\n', " ")))
}

fn nvcc() -> PathBuf {
    std::env::var_os("NVCC")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin").join("nvcc")))
        .unwrap_or_else(|| "nvcc".into())
}

fn not_started(error: &std::io::Error) -> String {
    format!("nvcc cannot be started ({}: {error}): set CUDA_HOME", nvcc().display())
}
