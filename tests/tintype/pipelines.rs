//! Whole pictures against diffusers' own pipelines, with tiny random checkpoints of every family.
//!
//! Goldens and fixtures: `scripts/goldens.py fixtures models`. Random UNets let latents grow to a σ of 30, so latents
//! are compared in units of their σ.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use tintype::diffusion::device::{self, DeviceChoice};
use tintype::diffusion::pipeline::{Measures, Pipeline, PipelineConfig};
use tintype::request::{GenerateRequest, ImageSize, Picture, Seed};
use tintype::store::{ResolveOptions, resolve};

/// Bound of the latents after every step, in units of their σ, and of the picture in -1…1.
const TOLERANCE: f32 = 1e-4;

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn pipeline_of(folder: &str) -> Pipeline {
    let folder = tests_dir().join("fixtures/pipelines").join(folder);
    let checkpoint =
        resolve(folder.to_str(), &ResolveOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    let config = Arc::new(PipelineConfig::read(checkpoint).unwrap());
    Pipeline::load(config, &device(), DType::F32, None).unwrap()
}

/// The CPU; the GPU where these tests are built for one, since the goldens are the same.
fn device() -> Device {
    let choice = if cfg!(feature = "cuda") { DeviceChoice::Cuda } else { DeviceChoice::Cpu };
    device::open(choice).unwrap().device
}

fn request(case: &Value) -> GenerateRequest {
    let count = |key: &str| case[key].as_u64().map(|n| u32::try_from(n).unwrap());
    GenerateRequest {
        prompt: case["prompt"].as_str().unwrap().into(),
        negative_prompt: case["negative_prompt"].as_str().map(Into::into),
        scheduler: case["scheduler"].as_str().map(Into::into),
        steps: count("steps"),
        guidance_scale: case["guidance_scale"].as_f64(),
        eta: case["eta"].as_f64(),
        seed: case["seed"].as_u64().map(Seed::Fixed),
        width: count("width"),
        height: count("height"),
        image: case["strength"].as_f64().map(|_| "init.png".into()),
        strength: case["strength"].as_f64(),
        clip_skip: count("clip_skip"),
        ..GenerateRequest::default()
    }
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn check(name: &str, case: &Value, golden: &HashMap<String, Tensor>, pipeline: &Pipeline) {
    let measures = Measures::default();
    let params = pipeline.config.resolve(&request(case), 0).unwrap();
    let image = golden.get("init_image").map(|image| Picture { size: params.size, rgb: bytes(image).into() });
    let embeds = pipeline.encode_prompt(&params, &measures).unwrap();
    let start = pipeline.start(&params, image.as_ref(), &measures).unwrap();
    let mut step = 0;
    let expected = &golden["latents"];
    let worst = std::cell::Cell::new(0f32);
    let latents = pipeline
        .denoise(&params, &embeds, start, &measures, &mut |report| {
            let golden = floats(&expected.get(step).unwrap());
            let sigma = (golden.iter().map(|v| v * v).sum::<f32>() / golden.len() as f32).sqrt();
            let difference = golden.iter().zip(report.latents).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
            worst.set(worst.get().max(difference / sigma));
            step += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(step, expected.dim(0).unwrap(), "{name}: steps");
    assert!(worst.get() < TOLERANCE, "{name}: latents differ by {} σ", worst.get());

    let picture = pipeline.decode(&latents, params.size, &measures).unwrap();
    let rgb = bytes(&golden["rgb"]);
    assert_eq!(picture.size, params.size, "{name}");
    let off: Vec<u8> = rgb.iter().zip(picture.rgb.iter()).map(|(a, b)| a.abs_diff(*b)).collect();
    assert!(off.iter().all(|d| *d <= 1), "{name}: a byte is off by {}", off.iter().max().unwrap());
    let rounded = off.iter().filter(|d| **d > 0).count();
    assert!(rounded * 1000 < off.len(), "{name}: {rounded} of {} bytes round the other way", off.len());
    println!("{name}: latents within {:.1e} σ, {rounded} bytes off by one", worst.get());
}

/// Every golden of one fixture; how many there are, so that none goes missing.
fn check_all(fixture: &str, expected: usize) {
    let pipeline = pipeline_of(fixture);
    let mut count = 0;
    for entry in std::fs::read_dir(tests_dir().join("golden/pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if case["pipeline"] == fixture {
            let golden =
                candle_core::safetensors::load(path.with_extension("safetensors"), &Device::Cpu).unwrap();
            check(name, &case, &golden, &pipeline);
            count += 1;
        }
    }
    assert_eq!(count, expected, "goldens of {fixture}");
}

#[test]
fn stable_diffusion_1_is_diffusers() {
    check_all("sd15", 12);
}

#[test]
fn stable_diffusion_2_is_diffusers() {
    check_all("sd2", 3);
}

#[test]
fn sdxl_is_diffusers() {
    check_all("sdxl", 5);
}

#[test]
fn lcm_is_diffusers() {
    check_all("lcm", 2);
}

#[test]
fn guidance_in_turn_is_guidance_at_once() {
    for fixture in ["sd15", "sdxl"] {
        let pipeline = pipeline_of(fixture);
        let request = GenerateRequest {
            prompt: "a lighthouse at night".into(),
            negative_prompt: Some("fog".into()),
            steps: Some(3),
            guidance_scale: Some(5.),
            ..GenerateRequest::default()
        };
        let params = pipeline.config.resolve(&request, 11).unwrap();
        let at_once = pipeline.generate(&params, &Measures::default()).unwrap();
        let in_turn =
            pipeline.generate(&params, &Measures { guidance_in_turn: true, ..Measures::default() }).unwrap();
        let worst = at_once.rgb.iter().zip(in_turn.rgb.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 1, "{fixture}: {worst}");
    }
}

#[test]
fn what_the_model_cannot_do_is_said_with_what_it_can() {
    let pipeline = pipeline_of("sd15");
    let resolve = |request: GenerateRequest| pipeline.config.resolve(&request, 0);
    let size = |width, height| GenerateRequest {
        prompt: "a fox".into(),
        width: Some(width),
        height: Some(height),
        ..GenerateRequest::default()
    };
    let multiple = pipeline.config.profile.size_multiple();
    let odd = resolve(size(64 + 1, 64)).unwrap_err().to_string();
    assert!(odd.contains(&format!("multiples of {multiple}")) && odd.contains("type 64x64"), "{odd}");
    assert!(resolve(size(0, 64)).is_err() && resolve(size(64, 1 << 20)).is_err());
    let steps = GenerateRequest { steps: Some(5000), ..size(64, 64) };
    assert!(resolve(steps).unwrap_err().to_string().contains("5000 steps"));
    let scheduler = GenerateRequest { scheduler: Some("eular".into()), ..size(64, 64) };
    assert!(resolve(scheduler).unwrap_err().to_string().contains("did you mean `euler`"));
    assert_eq!(resolve(size(64, 96)).unwrap().size, ImageSize::new(64, 96));
}
