//! Noise against torch, schedulers against diffusers: whole trajectories with a made-up model.
//!
//! Goldens: `scripts/goldens.py rng schedulers`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tintype::diffusion::rng::TorchGenerator;
use tintype::diffusion::schedulers::{SCHEDULERS, SchedulerOptions, create};

/// How far a sample may be off, as a share of its largest value. `--nocapture` prints what is reached: 3e-6 but for…
const TOLERANCE: f32 = 1e-5;
/// … runs that begin at a sigma of 4096 (zero terminal SNR): from there diffusers' own float32 loses 2e-5, as
/// running it in float64 shows.
const LARGE_SIGMA_TOLERANCE: f32 = 1e-4;
/// Values of a sample in the goldens.
const LEN: usize = 64;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(path)).unwrap()).unwrap()
}

fn tensors(path: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(golden(path), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn noise_is_torchs_to_the_bit() {
    for (seed, expected) in json("rng/digests.json").as_object().unwrap() {
        let seed: u64 = seed.parse().unwrap();
        let mut digest = Sha256::new();
        for n in 16..4100 {
            for value in TorchGenerator::manual_seed(seed).randn(n) {
                digest.update(value.to_le_bytes());
            }
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected.as_str().unwrap(), "seed {seed}");
    }
}

#[test]
fn short_and_mixed_calls_are_torchs() {
    for (name, expected) in tensors("rng/randn.safetensors") {
        let (seed, kind) = name.split_once('.').unwrap();
        let seed = seed.parse().unwrap();
        let mut one = TorchGenerator::manual_seed(seed);
        let drawn: Vec<f32> = if kind == "short" {
            (1..16).flat_map(|n| TorchGenerator::manual_seed(seed).randn(n)).collect()
        } else {
            [3, 5, 16, 1, 2, 100, 7, 64, 1, 1, 17, 15, 16, 1]
                .into_iter()
                .flat_map(|n| {
                    // through its state each time: a generator that was put aside goes on where it stood
                    one = TorchGenerator::from_state(&one.state());
                    one.randn(n)
                })
                .collect()
        };
        let expected = values(&expected);
        assert_eq!(drawn.len(), expected.len(), "{name}");
        for (i, (ours, theirs)) in drawn.iter().zip(&expected).enumerate() {
            // the platform's double-precision sine may differ by a bit, which float32 hardly ever shows
            assert!((ours - theirs).abs() <= 3e-7, "{name}[{i}]: {ours} is not {theirs}");
        }
    }
}

/// The made-up model of tools/goldens/schedulers.py.
fn model(sample: &[f32], timestep: f64) -> Vec<f32> {
    let value = |(j, &x): (usize, &f32)| (0.5 * f64::from(x) + 0.002 * timestep + 0.1 * j as f64).sin() * 0.9;
    sample.iter().enumerate().map(|pair| value(pair) as f32).collect()
}

/// The largest difference of `ours` from `theirs`, as a share of the largest value there.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let scale = theirs.iter().fold(1f32, |max, value| max.max(value.abs()));
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs() / scale)
        .fold(0.0, |max, d| if d <= max { max } else { d })
}

fn options(case: &Value) -> SchedulerOptions {
    SchedulerOptions {
        eta: case["eta"].as_f64().unwrap_or(0.0),
        strength: case["strength"].as_f64(),
        strength_shortens_schedule: case["strength_shortens_schedule"].as_bool().unwrap_or(false),
        original_inference_steps: case["original_inference_steps"].as_u64().map(|n| n as usize),
        mu: case["mu"].as_f64(),
        ..SchedulerOptions::default()
    }
}

/// Runs a case from its first sample to its last; returns the largest difference from diffusers, or what is wrong.
fn follow(name: &str, n: usize, case: &Value, golden: &HashMap<String, Tensor>) -> Result<f32, String> {
    let config = serde_json::to_vec(&case["config"]).unwrap();
    let steps = case["steps"].as_u64().unwrap() as usize;
    let mut scheduler = create(None, &config, steps, &options(case)).map_err(|error| error.to_string())?;
    if scheduler.name().info.name != name {
        return Err(format!("is called {}", scheduler.name()));
    }
    let timesteps: Vec<f64> = golden[&format!("{n}.timesteps")].to_vec1().unwrap();
    let near = |(ours, theirs): (&f64, &f64)| (ours - theirs).abs() <= 1e-5 * theirs.abs().max(1.0);
    if scheduler.timesteps().len() != timesteps.len()
        || !scheduler.timesteps().iter().zip(&timesteps).all(near)
    {
        return Err(format!("timesteps\n  {:?} are not\n  {timesteps:?}", scheduler.timesteps()));
    }

    let samples: Vec<Vec<f32>> = golden[&format!("{n}.samples")].to_vec2().unwrap();
    let originals: Option<Vec<Vec<f32>>> =
        golden.get(&format!("{n}.originals")).map(|t| t.to_vec2().unwrap());
    let mut generator = TorchGenerator::manual_seed(case["seed"].as_u64().unwrap_or(0));
    let noise = generator.randn(LEN);
    let begin = scheduler.begin_index();
    let mut sample: Vec<f32> = if case["strength"].is_null() {
        noise.iter().map(|&value| (f64::from(value) * scheduler.init_noise_sigma()) as f32).collect()
    } else {
        let original: Vec<f32> = (0..LEN).map(|j| (0.3 * j as f32).cos()).collect();
        scheduler.add_noise(&original, &noise, begin)
    };
    let mut worst = difference(&sample, &samples[0]);
    let tolerance = if scheduler.init_noise_sigma() > 1e3 { LARGE_SIGMA_TOLERANCE } else { TOLERANCE };
    if scheduler.timesteps().len() - begin != samples.len() - 1 {
        return Err(format!("begins at {begin}"));
    }
    for (i, expected) in (begin..).zip(&samples[1..]) {
        let output = model(&scheduler.scale_model_input(&sample, i), timesteps[i]);
        let step = scheduler.step(i, &output, &sample, &mut |n| generator.randn(n)).unwrap();
        sample = step.prev_sample;
        worst = worst.max(difference(&sample, expected));
        if let Some(originals) = &originals {
            worst = worst.max(difference(&step.pred_original_sample, &originals[i - begin]));
        }
        if worst > tolerance {
            return Err(format!("call {i} is off by {worst}"));
        }
    }
    Ok(worst)
}

#[test]
fn trajectories_are_diffusers() {
    let mut wrong = Vec::new();
    for name in SCHEDULERS.iter().map(|info| info.name) {
        let cases = json(&format!("schedulers/{name}.json"));
        let golden = tensors(&format!("schedulers/{name}.safetensors"));
        let mut worst = 0f32;
        for (n, case) in cases.as_array().unwrap().iter().enumerate() {
            match follow(name, n, case, &golden) {
                Ok(difference) => worst = worst.max(difference),
                Err(what) => wrong.push(format!("{name} {case}: {what}")),
            }
        }
        println!("{name}: {} cases, off by at most {worst:e}", cases.as_array().unwrap().len());
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}
