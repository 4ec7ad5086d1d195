//! What is put together here, run on the CPU by the kernels' twins against plain definitions.

use candle_core::{D, DType, Device, Tensor};

use super::attention::over_heads;
use super::conv::rows_at_once;
use super::heads::fused;
use super::{Conv, GroupNorm, Heads, geglu, linear, linear_from_pixels, linear_geglu, linear_to_pixels_add};
use crate::checkpoint::Blob;
use crate::diffusion::nn::{self, Linear, OpLimits};
use crate::diffusion::weights::Weights;

#[cfg(target_os = "linux")]
mod msl;

fn random(shape: &[usize], seed: u64) -> Tensor {
    let count = shape.iter().product();
    let values = crate::diffusion::rng::TorchGenerator::manual_seed(seed).randn(count);
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The largest difference, in units of the largest value.
fn off(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let largest =
        |x: &Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_vec0::<f32>().unwrap();
    largest(&(a - b).unwrap()) / largest(b)
}

#[test]
fn a_convolution_is_candles_however_it_is_cut() {
    for (i, (kernel, stride, padding, h, w)) in
        [(3, 1, 1, 7, 5), (3, 2, 1, 9, 6), (3, 2, 0, 8, 7), (1, 1, 0, 3, 4), (5, 1, 2, 6, 6), (1, 2, 0, 5, 5)]
            .into_iter()
            .enumerate()
    {
        let seed = 10 * i as u64;
        let x = random(&[2, 6, h, w], seed);
        let (weight, bias) = (random(&[4, 6, kernel, kernel], seed + 1), random(&[4], seed + 2));
        let conv = Conv { weight: &weight, bias: Some(&bias), stride, padding };
        let plain = x.conv2d(&weight, padding, stride, 1, 1).unwrap();
        let plain = plain.broadcast_add(&bias.reshape((1, 4, 1, 1)).unwrap()).unwrap();
        let residual = random(plain.dims(), seed + 3);
        for budget in [1, 2000, usize::MAX] {
            let y = conv.forward(&x, None, None, None, budget).unwrap();
            assert!(off(&y, &plain) < 1e-6, "{kernel} {stride} {padding} {budget}");
            let y = conv.forward(&x, None, None, Some(&residual), budget).unwrap();
            assert!(off(&y, &(&plain + &residual).unwrap()) < 1e-6);
            for rows in [1, 2] {
                let shift = random(&[rows, 4], seed + 4);
                let y = conv.forward(&x, None, Some(&shift), None, budget).unwrap();
                let shift = shift.reshape((rows, 4, 1, 1)).unwrap();
                assert!(off(&y, &plain.broadcast_add(&shift).unwrap()) < 1e-6);
            }
            let (up_h, up_w) = (2 * h - 1, 2 * w);
            let y = conv.forward(&x, Some((up_h, up_w)), None, None, budget).unwrap();
            let large = x.upsample_nearest2d(up_h, up_w).unwrap();
            let plain = large.conv2d(&weight, padding, stride, 1, 1).unwrap();
            assert!(off(&y, &plain.broadcast_add(&bias.reshape((1, 4, 1, 1)).unwrap()).unwrap()) < 1e-6);
        }
    }
}

#[test]
fn a_workspace_stays_below_its_budget_when_candle_rounds_it_up() {
    for row in [1, 1000, 320 * 9 * 64, 512 * 9 * 512] {
        for budget in [1 << 20, 100 << 20, 256 << 20, (256 << 20) - 1, 3 << 30] {
            let rows = rows_at_once(row, 2, budget);
            let bytes = (rows * row * 2).next_power_of_two();
            assert!(bytes <= budget || rows == 1, "{rows} rows of {row}: {bytes} of {budget}");
            assert!(((rows + 1) * row * 2).next_power_of_two() > budget, "{rows} rows of {row} are too few");
        }
        assert!(rows_at_once(row, 2, usize::MAX) * row <= 1 << 31, "kernels count in 32 bits");
    }
}

#[test]
fn products_read_and_write_pixels_in_place() {
    let (weight, bias) = (random(&[5, 8], 1), random(&[5], 2));
    let plain = |x: &Tensor| -> Tensor {
        let y = x.reshape(((), 8)).unwrap().matmul(&weight.t().unwrap()).unwrap();
        let mut shape = x.dims().to_vec();
        *shape.last_mut().unwrap() = 5;
        y.broadcast_add(&bias).unwrap().reshape(shape).unwrap()
    };
    let x = random(&[2, 7, 8], 3);
    let residual = random(&[2, 7, 5], 4);
    assert!(off(&linear(&x, &weight, Some(&bias), None).unwrap(), &plain(&x)) < 1e-6);
    let sum = (plain(&x) + &residual).unwrap();
    assert!(off(&linear(&x, &weight, Some(&bias), Some(&residual)).unwrap(), &sum) < 1e-6);
    let row = random(&[1, 8], 5);
    assert!(off(&linear(&row, &weight, Some(&bias), None).unwrap(), &plain(&row)) < 1e-6);

    let pixels = random(&[2, 8, 3, 4], 6);
    let rows = pixels.flatten_from(2).unwrap().transpose(1, 2).unwrap().contiguous().unwrap();
    assert!(off(&linear_from_pixels(&pixels, &weight, Some(&bias)).unwrap(), &plain(&rows)) < 1e-6);
    let residual = random(&[2, 5, 3, 4], 7);
    let back = plain(&rows).transpose(1, 2).unwrap().reshape((2, 5, 3, 4)).unwrap();
    let sum = (back + &residual).unwrap();
    assert!(off(&linear_to_pixels_add(&rows, &weight, Some(&bias), &residual).unwrap(), &sum) < 1e-6);
    assert!(off(&geglu(&x, None).unwrap(), &nn::geglu(&x).unwrap()) < 1e-6);
    assert!(geglu(&random(&[2, 5], 8), None).is_err());
    let (weight, bias) = (random(&[6, 8], 9), random(&[6], 10));
    let wide = linear(&x, &weight, Some(&bias), None).unwrap();
    let gated = linear_geglu(&x, &weight, Some(&bias)).unwrap();
    assert!(off(&gated, &nn::geglu(&wide).unwrap()) < 1e-6);
}

#[test]
fn a_group_norm_is_its_definition() {
    let (x, weight, bias) = (random(&[2, 6, 5, 3], 1), random(&[6], 2), random(&[6], 3));
    let x = ((x * 3.).unwrap() + 100.).unwrap();
    let groups = x.reshape((2, 3, 30)).unwrap();
    let centred = groups.broadcast_sub(&groups.mean_keepdim(2).unwrap()).unwrap();
    let variance = centred.sqr().unwrap().mean_keepdim(2).unwrap();
    let normed = centred.broadcast_div(&(variance + 1e-5).unwrap().sqrt().unwrap()).unwrap();
    let of = |x: &Tensor| x.reshape((1, 6, 1, 1)).unwrap();
    let plain = normed.reshape((2, 6, 5, 3)).unwrap().broadcast_mul(&of(&weight)).unwrap();
    let plain = plain.broadcast_add(&of(&bias)).unwrap();
    for silu in [false, true] {
        let y = GroupNorm { groups: 3, eps: 1e-5, silu }.forward(&x, &weight, &bias).unwrap();
        let plain = if silu { candle_nn::ops::silu(&plain).unwrap() } else { plain.clone() };
        assert!(off(&y, &plain) < 1e-5, "{}", off(&y, &plain));
    }
}

#[test]
fn heads_get_the_next_size_that_there_is_a_kernel_for() {
    for (size, f32, f16) in [
        (16, Some(32), Some(32)),
        (40, Some(64), Some(64)),
        (64, Some(64), Some(64)),
        (80, Some(80), Some(80)),
        (128, Some(128), Some(128)),
        (160, None, Some(256)),
        (512, None, Some(512)),
        (513, None, None),
    ] {
        assert_eq!((fused(size, DType::F32), fused(size, DType::F16)), (f32, f16), "{size}");
    }
    let heads = Heads::new(8, 320, Device::Cpu.location(), DType::F16);
    assert_eq!((heads.size, heads.padded, heads.scale()), (40, 40, 1. / 40f64.sqrt()));
}

/// Bytes of a threadgroup that candle's fused attention declares (`scaled_dot_product_attention.metal`, its tiles from
/// `sdpa.rs`): a block of queries, and one of keys or values, each row with 16 bytes more.
fn threadgroup_bytes(size: usize, dtype: DType) -> usize {
    let (queries, keys) = match size {
        512 => (8, 8),
        128.. => (32, 16),
        _ => (32, 32),
    };
    let pad = 16 / dtype.size_in_bytes();
    let values = queries * (size + pad) + ((keys + pad) * size).max(keys * (size + pad));
    values * dtype.size_in_bytes()
}

#[test]
fn fused_heads_fit_into_a_threadgroups_memory_in_every_dtype() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let sizes = (1..=512).filter(|size| fused(*size, dtype) == Some(*size));
        let bytes: Vec<_> = sizes.map(|size| (size, threadgroup_bytes(size, dtype))).collect();
        assert!(bytes.iter().all(|(_, bytes)| *bytes <= 32 << 10), "{dtype:?}: {bytes:?}");
    }
    assert!(threadgroup_bytes(256, DType::F32) > 32 << 10, "which is why 160 stays 160 in f32");
}

#[test]
fn the_fused_kernel_gets_heads_with_two_queries_at_least() {
    let (heads, size) = (3, 4);
    for rows in [1, 2, 5] {
        let (q, k) = (random(&[2, rows, heads * size], 1), random(&[2, 7, heads * size], 2));
        let v = random(&[2, 7, heads * size], 3);
        let kernel = |q: &Tensor, k: &Tensor, v: &Tensor| {
            assert_eq!((q.dims(), k.dims()), (&[2, heads, rows.max(2), size][..], &[2, heads, 7, size][..]));
            assert!(
                [q, k, v].iter().all(|x| x.stride()[3] == 1),
                "as candle's kernel expects without asking"
            );
            let scores = (q.contiguous()?.matmul(&k.t()?.contiguous()?)? * 0.3)?;
            candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v.contiguous()?)
        };
        let y = over_heads(&q, &k, &v, heads, DType::F32, kernel).unwrap();
        let plain = nn::attention(&q, &k, &v, heads, 0.3, false, &OpLimits::default()).unwrap();
        assert!(off(&y, &plain) < 1e-6, "{rows}: {}", off(&y, &plain));
    }
}

#[test]
fn a_kernel_is_not_asked_to_count_beyond_32_bits_or_to_read_another_dtype() {
    let add = super::add::Add { bias: None, shift: None, residual: None, channels: 1, inner: 1 };
    assert!(add.dispatch((1 << 32) - 1).is_ok());
    let error = add.dispatch(1 << 32).unwrap_err().to_string();
    assert!(error.contains("more than a kernel can count"), "{error}");
    let (x, other) = (random(&[2, 6], 1), random(&[6], 2).to_dtype(DType::F16).unwrap());
    assert!(geglu(&x, Some(&other)).is_err());
    assert!(linear(&x, &random(&[6, 6], 3), Some(&other), None).is_err());
    let norm = GroupNorm { groups: 3, eps: 1e-5, silu: false };
    assert!(norm.forward(&x, &other, &other).is_err());
}

/// An attention with its projections, read from a file as a checkpoint has them.
fn project_and_attend(weights: &Weights, heads: &Heads, x: &Tensor, text: &Tensor) -> Tensor {
    let width = heads.count * heads.size;
    let to = |name: &str, inputs: usize| {
        Linear::load_to_heads(&weights.pp(name), inputs, heads, name == "to_q").unwrap()
    };
    let (to_q, to_k, to_v) = (to("to_q", width), to("to_k", 12), to("to_v", 12));
    let to_out = Linear::load_from_heads(&weights.pp("to_out"), heads, width).unwrap();
    weights.finish().unwrap();
    let (q, k, v) = (to_q.forward(x).unwrap(), to_k.forward(text).unwrap(), to_v.forward(text).unwrap());
    assert_eq!(q.dim(D::Minus1).unwrap(), heads.width());
    let limits = OpLimits::default();
    let y = nn::attention(&q, &k, &v, heads.count, heads.scale(), false, &limits).unwrap();
    to_out.forward_add(&y, x).unwrap()
}

#[test]
fn padded_heads_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (count, size, padded) in [(8, 40, 64), (2, 160, 256), (4, 16, 32), (4, 24, 32)] {
        let width = count * size;
        let scaled = |shape: &[usize], seed| (random(shape, seed) / (shape[1] as f64).sqrt()).unwrap();
        let tensors = std::collections::HashMap::from([
            ("to_q.weight", scaled(&[width, width], 1)),
            ("to_q.bias", random(&[width], 2)),
            ("to_k.weight", scaled(&[width, 12], 3)),
            ("to_v.weight", scaled(&[width, 12], 4)),
            ("to_out.weight", scaled(&[width, width], 5)),
            ("to_out.bias", random(&[width], 6)),
        ]);
        let path = folder.path().join(format!("{width}.safetensors"));
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let run = |padded: usize| {
            let blobs = [Blob::File(path.clone())];
            let weights = Weights::open("unet", &blobs, &Device::Cpu, DType::F32, None).unwrap();
            let (x, text) = (random(&[2, 9, width], 7), random(&[2, 5, 12], 8));
            project_and_attend(&weights, &Heads { count, size, padded }, &x, &text)
        };
        let (plain, wide) = (run(size), run(padded));
        assert!(off(&wide, &plain) < 1e-6, "{size}: {}", off(&wide, &plain));
    }
}
