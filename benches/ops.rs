//! `cargo bench --bench ops [-- FILE [WORD [DEVICE [DTYPE]]]]` times the layers at the shapes of FILE (one of
//! `benches/shapes`, default SD 1.5's UNet), those lines only that contain WORD, on the CPU in f32 unless told
//! otherwise. `scripts/bench_ops.py` times torch at the same shapes.
//!
//! On the CPU, times are of processor time, all threads together, so that other people's programs disturb little; on a
//! GPU, of the clock, twenty calls in a row at a time. The lowest of five counts. Weights are half precision in the
//! file, as checkpoints have them.

#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use tintype::checkpoint::Blob;
use tintype::diffusion::device::{self, DTypeChoice};
use tintype::diffusion::nn::{Conv2d, GroupNorm, LayerNorm, Linear, OpLimits, attention};
use tintype::diffusion::weights::Weights;

const CALLS: usize = 5;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    // cargo hands every benchmark `--bench`.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/shapes/sd15-unet.txt");
    let file = args.next().map_or(default, PathBuf::from);
    let word = args.next().unwrap_or_default();
    let device = device::open(args.next().as_deref().unwrap_or("cpu").parse()?)?.device;
    let dtype = args.next().as_deref().unwrap_or("auto").parse::<DTypeChoice>()?.resolve(&device);
    let site = Site { device, dtype };
    let mut totals = BTreeMap::<String, f64>::new();
    for line in std::fs::read_to_string(file)?.lines().filter(|line| line.contains(&word)) {
        let mut words = line.split_whitespace();
        let kind = words.next().unwrap_or_default();
        let mut sizes = words.map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let count = sizes.pop().unwrap_or_default();
        let (operations, op) = site.op(kind, &sizes)?;
        op()?;
        let mut best = f64::INFINITY;
        for _ in 0..CALLS {
            best = best.min(site.seconds(&op)?);
        }
        println!("{line:<40} {:9.3} ms {:7.1} GFLOP/s", best * 1e3, operations / best / 1e9);
        *totals.entry(kind.into()).or_default() += best * count as f64;
    }
    println!("{totals:.3?}, together {:.3} s", totals.values().sum::<f64>());
    Ok(())
}

type Op = Box<dyn Fn() -> Outcome<()>>;

/// Where the ops run.
struct Site {
    device: Device,
    dtype: DType,
}

impl Site {
    /// Of one call.
    fn seconds(&self, op: &Op) -> Outcome<f64> {
        if self.device.is_cpu() {
            let start = processor_seconds();
            op()?;
            return Ok(processor_seconds() - start);
        }
        self.device.synchronize()?;
        let start = Instant::now();
        for _ in 0..20 {
            op()?;
        }
        self.device.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / 20.)
    }

    /// The op of a line, and how many multiplications and additions it asks for, as counted without tricks.
    fn op(&self, kind: &str, sizes: &[usize]) -> Outcome<(f64, Op)> {
        let limits = OpLimits::default();
        match (kind, sizes) {
            ("conv", &[b, inputs, outputs, h, w, kernel, stride, upsample]) => {
                let weights = self.weights(&[outputs, inputs, kernel, kernel], outputs)?;
                let conv = Conv2d::load(&weights, inputs, outputs, kernel, stride, kernel / 2)?;
                let x = self.noise(&[b, inputs, h, w])?;
                let scale = 1 + upsample;
                let pixels = h * w * scale * scale / (stride * stride);
                let run = move || -> Outcome<()> {
                    if upsample == 1 {
                        conv.forward_upsampled(&x, (2 * h, 2 * w), &limits)?;
                    } else {
                        conv.forward(&x, &limits)?;
                    }
                    Ok(())
                };
                Ok((2. * (b * inputs * outputs * kernel * kernel * pixels) as f64, Box::new(run)))
            }
            ("linear" | "geglu", &[rows, inputs, outputs]) => {
                let linear = Linear::load(&self.weights(&[outputs, inputs], outputs)?, inputs, outputs)?;
                let x = self.noise(&[rows, inputs])?;
                let gated = kind == "geglu";
                let run = move || -> Outcome<()> {
                    if gated {
                        linear.forward_geglu(&x)?
                    } else {
                        linear.forward(&x)?
                    };
                    Ok(())
                };
                Ok((2. * (rows * inputs * outputs) as f64, Box::new(run)))
            }
            ("attn", &[b, queries, keys, heads, size]) => {
                let q = self.noise(&[b, queries, heads * size])?;
                let (k, v) = (self.noise(&[b, keys, heads * size])?, self.noise(&[b, keys, heads * size])?);
                let scale = 1. / (size as f64).sqrt();
                let run = move || -> Outcome<()> {
                    attention(&q, &k, &v, heads, scale, false, &limits)?;
                    Ok(())
                };
                Ok((4. * (b * queries * keys * heads * size) as f64, Box::new(run)))
            }
            ("gn", &[b, channels, pixels, silu]) => {
                let norm = GroupNorm::load(&self.weights(&[channels], channels)?, 32, channels, 1e-5)?;
                let x = self.noise(&[b, channels, pixels])?;
                let run = move || -> Outcome<()> {
                    if silu == 1 {
                        norm.forward_silu(&x)?
                    } else {
                        norm.forward(&x)?
                    };
                    Ok(())
                };
                Ok((0., Box::new(run)))
            }
            ("ln", &[rows, size]) => {
                let norm = LayerNorm::load(&self.weights(&[size], size)?, size, 1e-5)?;
                let x = self.noise(&[rows, size])?;
                let run = move || -> Outcome<()> {
                    norm.forward(&x)?;
                    Ok(())
                };
                Ok((0., Box::new(run)))
            }
            _ => Err(format!("{kind} {sizes:?} is no op").into()),
        }
    }

    /// A file with `weight` and `bias` in f16, mapped; the name is gone at once, the content with the last layer.
    fn weights(&self, shape: &[usize], bias: usize) -> Outcome<Weights> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("model.safetensors");
        let weight = (noise(shape)? * 0.02)?.to_dtype(DType::F16)?;
        let tensors = HashMap::from([("weight", weight), ("bias", noise(&[bias])?.to_dtype(DType::F16)?)]);
        candle_core::safetensors::save(&tensors, &path)?;
        Ok(Weights::open("op", &[Blob::File(path)], &self.device, self.dtype, None)?)
    }

    fn noise(&self, shape: &[usize]) -> Result<Tensor, candle_core::Error> {
        noise(shape)?.to_dtype(self.dtype)?.to_device(&self.device)
    }
}

/// Sines of growing steps: as good as noise for timing, and the same each time.
fn noise(shape: &[usize]) -> Result<Tensor, candle_core::Error> {
    let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (i as f32 * 1.7).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Of this process, all threads together.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "reading the clock of the process")]
    // Sound: `time` is a valid place to write to.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}
