//! Every op on the GPU against the same op on the CPU, at odd shapes. Built with the feature `cuda` only, and then
//! there must be a GPU: `cargo test --features cuda gpu_ops`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor};
use tintype::checkpoint::Blob;
use tintype::diffusion::device::{self, DeviceChoice};
use tintype::diffusion::nn::{
    Conv2d, GroupNorm, LayerNorm, Linear, OpLimits, Replay, attention, geglu, profile,
};
use tintype::diffusion::pipeline::{Measures, Pipeline, PipelineConfig};
use tintype::diffusion::rng::TorchGenerator;
use tintype::diffusion::weights::Weights;
use tintype::engine::local::gpu_probe;
use tintype::request::GenerateRequest;
use tintype::store::{ResolveOptions, resolve};
use tintype::telemetry::Mark;

/// The largest difference that each dtype may have, in units of the largest value.
const DTYPES: [(DType, f32); 3] = [(DType::F32, 2e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)];

fn gpu() -> Device {
    device::open(DeviceChoice::Cuda).expect("these tests are for a machine with an NVIDIA GPU").device
}

fn noise(shape: &[usize], seed: u64) -> Tensor {
    let values = TorchGenerator::manual_seed(seed).randn(shape.iter().product());
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A layer's weights on disk in `dtype`, opened on the CPU in f32 and on the GPU in `dtype`.
fn layer(shapes: &[(&str, &[usize])], dtype: DType, gpu: &Device) -> (tempfile::TempDir, Weights, Weights) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layer.safetensors");
    let tensors: HashMap<String, Tensor> = shapes
        .iter()
        .enumerate()
        .map(|(i, (name, shape))| {
            let scale = 1. / (shape[1..].iter().product::<usize>() as f64).sqrt();
            ((*name).to_owned(), (noise(shape, 100 + i as u64) * scale).unwrap().to_dtype(dtype).unwrap())
        })
        .collect();
    candle_core::safetensors::save(&tensors, &file).unwrap();
    let open =
        |device, dtype| Weights::open("layer", &[Blob::File(file.clone())], device, dtype, None).unwrap();
    let (cpu, gpu) = (open(&Device::Cpu, DType::F32), open(gpu, dtype));
    (folder, cpu, gpu)
}

/// The input as `dtype` rounds it, on both devices.
fn input(shape: &[usize], seed: u64, dtype: DType, gpu: &Device) -> (Tensor, Tensor) {
    let rounded = noise(shape, seed).to_dtype(dtype).unwrap();
    (rounded.to_dtype(DType::F32).unwrap(), rounded.to_device(gpu).unwrap())
}

fn check(what: &str, tolerance: f32, cpu: &Tensor, gpu: &Tensor) {
    assert_eq!(cpu.dims(), gpu.dims(), "{what}");
    let values =
        |x: &Tensor| x.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (cpu, gpu) = (values(cpu), values(gpu));
    let scale = cpu.iter().fold(0f32, |scale, value| scale.max(value.abs()));
    let worst = cpu
        .iter()
        .zip(&gpu)
        .map(|(a, b)| (a - b).abs())
        .fold(0f32, |worst, off| if off.is_nan() { f32::INFINITY } else { worst.max(off) });
    assert!(worst <= tolerance * scale, "{what}: {worst} of {scale}");
}

#[test]
fn convolutions() {
    let gpu = gpu();
    for (dtype, tolerance) in DTYPES {
        for (b, inputs, outputs, h, w, kernel, stride, padding) in [
            (2, 24, 40, 16, 8, 3, 1, 1),
            (1, 5, 7, 13, 11, 3, 1, 1),
            (2, 16, 8, 9, 16, 3, 2, 1),
            (1, 8, 16, 17, 17, 3, 2, 0),
            (2, 9, 13, 7, 5, 1, 1, 0),
            (1, 64, 64, 8, 8, 1, 1, 0),
            (1, 3, 6, 10, 12, 5, 1, 2),
        ] {
            let (_folder, cpu_weights, gpu_weights) =
                layer(&[("weight", &[outputs, inputs, kernel, kernel]), ("bias", &[outputs])], dtype, &gpu);
            let load = |weights| Conv2d::load(weights, inputs, outputs, kernel, stride, padding).unwrap();
            let (cpu_conv, gpu_conv) = (load(&cpu_weights), load(&gpu_weights));
            let (x, gx) = input(&[b, inputs, h, w], 1, dtype, &gpu);
            let (shift, gshift) = input(&[b, outputs], 2, dtype, &gpu);
            for conv_bytes in [1, 4096, 1 << 28] {
                let limits = OpLimits { conv_bytes, ..OpLimits::default() };
                let what = format!(
                    "{dtype:?} {b}x{inputs}->{outputs} {h}x{w} k{kernel}s{stride}p{padding} {conv_bytes}"
                );
                let y = cpu_conv.forward(&x, &limits).unwrap();
                check(&what, tolerance, &y, &gpu_conv.forward(&gx, &limits).unwrap());
                let (residual, gresidual) = input(y.dims(), 3, dtype, &gpu);
                let sum = cpu_conv.forward_add(&x, &residual, &limits).unwrap();
                check(&what, tolerance, &sum, &gpu_conv.forward_add(&gx, &gresidual, &limits).unwrap());
                for rows in [1, b] {
                    let (shift, gshift) =
                        (shift.narrow(0, 0, rows).unwrap(), gshift.narrow(0, 0, rows).unwrap());
                    let y = cpu_conv.forward_shifted(&x, &shift, &limits).unwrap();
                    check(&what, tolerance, &y, &gpu_conv.forward_shifted(&gx, &gshift, &limits).unwrap());
                }
                let size = (2 * h, 2 * w);
                let y = cpu_conv.forward_upsampled(&x, size, &limits).unwrap();
                check(&what, tolerance, &y, &gpu_conv.forward_upsampled(&gx, size, &limits).unwrap());
            }
        }
    }
}

#[test]
fn norms() {
    let gpu = gpu();
    for (dtype, tolerance) in DTYPES {
        for (b, channels, groups, h, w) in [
            (2, 64, 32, 8, 8),
            (1, 30, 5, 7, 3),
            (2, 32, 32, 65, 64),
            (1, 8, 2, 256, 257),
            (1, 16, 4, 128, 256),
        ] {
            let (_folder, cpu_weights, gpu_weights) =
                layer(&[("weight", &[channels]), ("bias", &[channels])], dtype, &gpu);
            let load = |weights| GroupNorm::load(weights, groups, channels, 1e-5).unwrap();
            let (cpu_norm, gpu_norm) = (load(&cpu_weights), load(&gpu_weights));
            let (x, gx) = input(&[b, channels, h, w], 4, dtype, &gpu);
            // Far from zero: what a difference of large sums would lose.
            let far = |x: &Tensor| (x + 30.).unwrap();
            let (x, gx) = (far(&x).to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap(), far(&gx));
            let what = format!("{dtype:?} group norm {b}x{channels} {h}x{w}");
            check(&what, tolerance * 8., &cpu_norm.forward(&x).unwrap(), &gpu_norm.forward(&gx).unwrap());
            check(
                &what,
                tolerance * 8.,
                &cpu_norm.forward_silu(&x).unwrap(),
                &gpu_norm.forward_silu(&gx).unwrap(),
            );
        }
        for (rows, size) in [(5, 320), (77, 768), (3, 1280), (9, 36), (2, 4096)] {
            let (_folder, cpu_weights, gpu_weights) =
                layer(&[("weight", &[size]), ("bias", &[size])], dtype, &gpu);
            let (cpu_norm, gpu_norm) = (
                LayerNorm::load(&cpu_weights, size, 1e-5).unwrap(),
                LayerNorm::load(&gpu_weights, size, 1e-5).unwrap(),
            );
            let (x, gx) = input(&[2, rows, size], 5, dtype, &gpu);
            let what = format!("{dtype:?} layer norm {rows}x{size}");
            check(&what, tolerance, &cpu_norm.forward(&x).unwrap(), &gpu_norm.forward(&gx).unwrap());
        }
    }
}

#[test]
fn linear_layers() {
    let gpu = gpu();
    for (dtype, tolerance) in DTYPES {
        for (inputs, outputs, h, w) in [(320, 640, 8, 8), (24, 10, 7, 5), (64, 64, 3, 16), (7, 30, 1, 1)] {
            let (_folder, cpu_weights, gpu_weights) =
                layer(&[("weight", &[outputs, inputs]), ("bias", &[outputs])], dtype, &gpu);
            let load = |weights| Linear::load(weights, inputs, outputs).unwrap();
            let (cpu, on_gpu) = (load(&cpu_weights), load(&gpu_weights));
            let (x, gx) = input(&[2, h * w, inputs], 6, dtype, &gpu);
            let (residual, gresidual) = input(&[2, h * w, outputs], 7, dtype, &gpu);
            let what = format!("{dtype:?} linear {inputs}->{outputs}");
            check(&what, tolerance, &cpu.forward(&x).unwrap(), &on_gpu.forward(&gx).unwrap());
            let sum = cpu.forward_add(&x, &residual).unwrap();
            check(&what, tolerance, &sum, &on_gpu.forward_add(&gx, &gresidual).unwrap());
            check(&what, tolerance, &cpu.forward_geglu(&x).unwrap(), &on_gpu.forward_geglu(&gx).unwrap());
            let (pixels, gpixels) = input(&[2, inputs, h, w], 8, dtype, &gpu);
            let rows = cpu.forward_from_pixels(&pixels).unwrap();
            check(&what, tolerance, &rows, &on_gpu.forward_from_pixels(&gpixels).unwrap());
            let (residual, gresidual) = input(&[2, outputs, h, w], 9, dtype, &gpu);
            let pixels = cpu.forward_to_pixels_add(&x, &residual).unwrap();
            check(&what, tolerance, &pixels, &on_gpu.forward_to_pixels_add(&gx, &gresidual).unwrap());
        }
        let (x, gx) = input(&[3, 5, 50], 10, dtype, &gpu);
        check("geglu", tolerance, &geglu(&x).unwrap(), &geglu(&gx).unwrap());
    }
}

#[test]
fn attentions() {
    let gpu = gpu();
    for (dtype, tolerance) in DTYPES {
        for (heads, n, m, size, causal) in [
            (8, 256, 256, 40, false),
            (2, 65, 77, 40, false),
            (3, 100, 130, 64, false),
            (12, 77, 77, 64, true),
            (4, 33, 21, 16, false),
            (2, 50, 33, 80, false),
            (2, 70, 65, 128, false),
            (2, 70, 65, 160, false),
            (2, 9, 31, 24, false),
            (1, 144, 144, 512, false),
        ] {
            let (q, gq) = input(&[2, n, heads * size], 11, dtype, &gpu);
            let (k, gk) = input(&[2, m, heads * size], 12, dtype, &gpu);
            let (v, gv) = input(&[2, m, heads * size], 13, dtype, &gpu);
            let scale = 1. / (size as f64).sqrt();
            for attention_bytes in [1, 1 << 28] {
                for upcast_attention in [false, true] {
                    let limits = OpLimits { attention_bytes, upcast_attention, ..OpLimits::default() };
                    let cpu = attention(&q, &k, &v, heads, scale, causal, &limits).unwrap();
                    let on_gpu = attention(&gq, &gk, &gv, heads, scale, causal, &limits).unwrap();
                    check(&format!("{dtype:?} {heads}x{n}x{m} of {size}"), tolerance, &cpu, &on_gpu);
                }
            }
        }
    }
}

#[test]
fn replays_compute_what_was_asked_now() {
    let gpu = gpu();
    let (_folder, cpu_weights, gpu_weights) =
        layer(&[("weight", &[48, 64]), ("bias", &[48])], DType::F16, &gpu);
    let load = |weights| Linear::load(weights, 64, 48).unwrap();
    let (cpu, on_gpu) = (load(&cpu_weights), load(&gpu_weights));
    let both = |inputs: &[Tensor]| Ok(vec![on_gpu.forward_geglu(&inputs[0])?, on_gpu.forward(&inputs[0])?]);
    let mut replay = Replay::default();
    for call in 0..6 {
        let (x, gx) = input(&[2, 9, 64], 20 + call, DType::F16, &gpu);
        let results = replay.run(&[gx], both).unwrap();
        check(&format!("call {call}"), 4e-3, &cpu.forward_geglu(&x).unwrap(), &results[0]);
        check(&format!("call {call}"), 4e-3, &cpu.forward(&x).unwrap(), &results[1]);
    }
    // Another shape is computed afresh.
    let (x, gx) = input(&[1, 3, 64], 30, DType::F16, &gpu);
    let results = replay.run(&[gx], both).unwrap();
    check("another shape", 4e-3, &cpu.forward_geglu(&x).unwrap(), &results[0]);
}

#[test]
fn memory_is_read_while_a_graph_is_recorded() {
    let gpu = gpu();
    let (_folder, _, weights) = layer(&[("weight", &[64, 64]), ("bias", &[64])], DType::F16, &gpu);
    let linear = Linear::load(&weights, 64, 64).unwrap();
    let (_, gx) = input(&[2, 9, 64], 40, DType::F16, &gpu);
    let done = AtomicBool::new(false);
    let probe = gpu_probe(&gpu).unwrap();
    let many = |inputs: &[Tensor]| {
        let y = (0..100).try_fold(inputs[0].clone(), |y, _| linear.forward(&y))?;
        Ok(vec![y, linear.forward(&inputs[0])?])
    };
    let expected = many(std::slice::from_ref(&gx)).unwrap();
    let mut recorded = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                probe(Mark::Keep);
            }
        });
        for _ in 0..20 {
            let mut replay = Replay::default();
            for _ in 0..4 {
                let results = replay.run(std::slice::from_ref(&gx), many);
                for (result, expected) in results.unwrap().iter().zip(&expected) {
                    check("while memory is read", 0., expected, result);
                }
            }
            recorded += u32::from(replay.is_recorded());
        }
        done.store(true, Ordering::Relaxed);
    });
    // Other tests do to the GPU what no session does meanwhile, and may break off one or the other.
    assert!(recorded > 10, "{recorded} of 20");
}

/// A profile is taken of ops that are launched one by one; without one, most of these calls launch graphs.
#[test]
fn the_deep_cache_is_the_same_with_graphs_and_without() {
    let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
    let checkpoint = resolve(None, &options, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    let config = Arc::new(PipelineConfig::read(checkpoint).unwrap());
    let pipeline = Pipeline::load(config, &gpu(), DType::F32, None).unwrap();
    for deep_cache in [2, 3] {
        let request = GenerateRequest {
            prompt: "a red circle on a white background".into(),
            steps: Some(14),
            deep_cache: Some(deep_cache),
            ..GenerateRequest::default()
        };
        let params = pipeline.config.resolve(&request, 3).unwrap();
        let with = pipeline.generate(&params, &Measures::default()).unwrap();
        profile::start();
        let without = pipeline.generate(&params, &Measures::default()).unwrap();
        assert!(!profile::stop().is_empty());
        assert!(with == without, "every {deep_cache}");
    }
}
