//! The layers on the CPU against candle's own ops, through safetensors files of every dtype.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Module, Tensor};
use tintype::checkpoint::Blob;
use tintype::diffusion::nn::{
    Activation, Conv2d, Embedding, GroupNorm, LayerNorm, Linear, OpLimits, attention, geglu, upsample_nearest,
};
use tintype::diffusion::weights::Weights;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Uniform in −1 … 1, the same each time.
fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(7919).wrapping_add(1);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.
        })
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("as many values as the shape has places")
}

/// A file with `weight` and `bias` in `dtype`, opened, and what is in it in f32.
struct File {
    _folder: tempfile::TempDir,
    weights: Weights,
    weight: Tensor,
    bias: Tensor,
}

impl File {
    fn new(weight: &[usize], bias: usize, dtype: DType) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("model.safetensors");
        let (weight, bias) = (noise(weight, 11).to_dtype(dtype)?, noise(&[bias], 12).to_dtype(dtype)?);
        let tensors = HashMap::from([("weight", weight.clone()), ("bias", bias.clone())]);
        candle_core::safetensors::save(&tensors, &path)?;
        let weights = Weights::open("test", &[Blob::File(path)], &Device::Cpu, DType::F32, None)?;
        let (weight, bias) = (weight.to_dtype(DType::F32)?, bias.to_dtype(DType::F32)?);
        Ok(Self { _folder: folder, weights, weight, bias })
    }
}

/// Asserts that the largest difference is below `tolerance` parts of the largest value.
fn assert_close(what: &str, a: &Tensor, b: &Tensor, tolerance: f32) -> Outcome {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let size = b.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
    let differences = (a - b)?.abs()?.flatten_all()?.to_vec1::<f32>()?;
    let worst = differences.into_iter().fold(0f32, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) });
    assert!(worst <= tolerance * size, "{what}: {:.2e}", worst / size);
    Ok(())
}

const DTYPES: [DType; 4] = [DType::F32, DType::F16, DType::BF16, DType::F64];

#[test]
fn convolutions() -> Outcome {
    let limits = OpLimits::default();
    for dtype in DTYPES {
        for (kernel, stride, padding) in [(1, 1, 0), (3, 1, 1), (3, 2, 1), (3, 2, 0)] {
            let file = File::new(&[10, 6, kernel, kernel], 10, dtype)?;
            let conv = Conv2d::load(&file.weights, 6, 10, kernel, stride, padding)?;
            let bias = file.bias.reshape((1, 10, 1, 1))?;
            let reference = |x: &Tensor| -> Result<Tensor, candle_core::Error> {
                x.conv2d(&file.weight, padding, stride, 1, 1)?.broadcast_add(&bias)
            };
            let x = noise(&[2, 6, 14, 22], 1);
            let what = format!("{kernel}×{kernel} by {stride} in {dtype:?}");
            let expected = reference(&x)?;
            assert_close(&what, &conv.forward(&x, &limits)?, &expected, 1e-5)?;
            // A view that is not contiguous, and one that starts in the middle.
            let turned = x.transpose(2, 3)?;
            let expected_turned = reference(&turned.contiguous()?)?;
            assert_close(&what, &conv.forward(&turned, &limits)?, &expected_turned, 1e-5)?;
            let second = x.narrow(0, 1, 1)?;
            assert_close(&what, &conv.forward(&second, &limits)?, &expected.narrow(0, 1, 1)?, 1e-5)?;
            let residual = noise(expected.dims(), 2);
            let sum = conv.forward_add(&x, &residual, &limits)?;
            assert_close(&what, &sum, &(&expected + &residual)?, 1e-5)?;
            for rows in [1, 2] {
                let shift = noise(&[rows, 10], 7);
                let expected = expected.broadcast_add(&shift.unsqueeze(2)?.unsqueeze(3)?)?;
                assert_close(&what, &conv.forward_shifted(&x, &shift, &limits)?, &expected, 1e-5)?;
            }
            for size in [(28, 44), (27, 41)] {
                let upsampled = conv.forward_upsampled(&x, size, &limits)?;
                assert_close(&what, &upsampled, &reference(&upsample_nearest(&x, size.0, size.1)?)?, 1e-5)?;
            }
            assert!(conv.forward(&noise(&[1, 7, 8, 8], 1), &limits).is_err(), "too many channels");
            assert!(conv.forward_add(&x, &noise(&[2, 10, 3, 3], 1), &limits).is_err(), "another shape");
        }
    }
    Ok(())
}

#[test]
fn linear_layers() -> Outcome {
    for dtype in DTYPES {
        let file = File::new(&[24, 18], 24, dtype)?;
        let linear = Linear::load(&file.weights, 18, 24)?;
        let reference = candle_nn::Linear::new(file.weight.clone(), Some(file.bias.clone()));
        for shape in [vec![18], vec![2, 18], vec![2, 77, 18], vec![1, 3, 5, 18]] {
            let x = noise(&shape, 1);
            let rows = x.reshape(((), 18))?;
            let mut wide = shape.clone();
            wide[shape.len() - 1] = 24;
            let expected = reference.forward(&rows)?.reshape(wide.clone())?;
            let what = format!("{shape:?} in {dtype:?}");
            assert_close(&what, &linear.forward(&x)?, &expected, 1e-5)?;
            let residual = noise(&wide, 3);
            assert_close(&what, &linear.forward_add(&x, &residual)?, &(&expected + &residual)?, 1e-5)?;
            assert_close(&what, &linear.forward_geglu(&x)?, &geglu(&expected)?, 1e-5)?;
        }
        let turned = noise(&[18, 9], 4).t()?;
        assert_close("turned", &linear.forward(&turned)?, &reference.forward(&turned.contiguous()?)?, 1e-5)?;
        assert!(linear.forward(&noise(&[2, 17], 1)).is_err());
        let plain = Linear::load_no_bias(&file.weights, 18, 24)?;
        let expected = turned.matmul(&file.weight.t()?)?;
        assert_close("no bias", &plain.forward(&turned)?, &expected, 1e-5)?;
    }
    Ok(())
}

#[test]
fn linear_layers_over_pixels() -> Outcome {
    for (inputs, outputs, h, w) in [(18, 24, 5, 7), (40, 33, 20, 16), (320, 64, 3, 3)] {
        let file = File::new(&[outputs, inputs, 1, 1], outputs, DType::F16)?;
        let linear = Linear::load_pointwise(&file.weights, inputs, outputs)?;
        let weight = file.weight.reshape((outputs, inputs))?;
        let reference = candle_nn::Linear::new(weight, Some(file.bias.clone()));
        let x = noise(&[2, inputs, h, w], 1);
        let rows = x.reshape((2, inputs, h * w))?.transpose(1, 2)?.contiguous()?;
        let expected = reference.forward(&rows)?;
        assert_close("from pixels", &linear.forward_from_pixels(&x)?, &expected, 1e-5)?;
        let residual = noise(&[2, outputs, h, w], 2);
        let pixels = expected.transpose(1, 2)?.reshape((2, outputs, h, w))?;
        let sum = linear.forward_to_pixels_add(&rows, &residual)?;
        assert_close("to pixels", &sum, &(pixels + &residual)?, 1e-5)?;
    }
    Ok(())
}

#[test]
fn embeddings() -> Outcome {
    for dtype in DTYPES {
        let file = File::new(&[50, 7], 1, dtype)?;
        let embedding = Embedding::load(&file.weights, 50, 7)?;
        let ids = Tensor::new(&[[49u32, 0, 3], [7, 7, 1]], &Device::Cpu)?;
        let expected = candle_nn::Embedding::new(file.weight.clone(), 7).forward(&ids)?;
        assert_close("embedding", &embedding.forward(&ids)?, &expected, 0.)?;
        assert!(embedding.forward(&Tensor::new(&[50u32], &Device::Cpu)?).is_err());
    }
    Ok(())
}

#[test]
fn norms() -> Outcome {
    for dtype in DTYPES {
        let file = File::new(&[12], 12, dtype)?;
        let norm = GroupNorm::load(&file.weights, 4, 12, 1e-5)?;
        let reference = candle_nn::GroupNorm::new(file.weight.clone(), file.bias.clone(), 12, 4, 1e-5)?;
        for x in [noise(&[2, 12, 5, 7], 1), noise(&[2, 12, 7, 5], 1).transpose(2, 3)?] {
            let expected = reference.forward(&x.contiguous()?)?;
            assert_close("group norm", &norm.forward(&x)?, &expected, 1e-5)?;
            assert_close("with SiLU", &norm.forward_silu(&x)?, &expected.silu()?, 1e-5)?;
        }
        assert!(norm.forward(&noise(&[2, 8, 4, 4], 1)).is_err());
        let norm = LayerNorm::load(&file.weights, 12, 1e-5)?;
        let reference = candle_nn::LayerNorm::new(file.weight.clone(), file.bias.clone(), 1e-5);
        let x = noise(&[3, 5, 12], 2);
        assert_close("layer norm", &norm.forward(&x)?, &reference.forward(&x)?, 1e-5)?;
        assert!(norm.forward(&noise(&[3, 11], 2)).is_err());
    }
    Ok(())
}

#[test]
fn attention_of_views() -> Outcome {
    // One projection for q, k and v, cut along its last dimension: none of the parts is contiguous.
    let (heads, size, n) = (3, 8, 21);
    let parts = noise(&[2, n, 3 * heads * size], 5).chunk(3, D::Minus1)?;
    let out = attention(&parts[0], &parts[1], &parts[2], heads, 0.3, false, &OpLimits::default())?;
    let split = |x: &Tensor| x.reshape((2, n, heads, size))?.transpose(1, 2)?.contiguous();
    let (q, k, v) = (split(&parts[0])?, split(&parts[1])?, split(&parts[2])?);
    let scores = (q.matmul(&k.transpose(2, 3)?)? * 0.3)?;
    let expected = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
    let expected = expected.transpose(1, 2)?.reshape((2, n, heads * size))?;
    assert_close("attention", &out, &expected, 1e-5)?;
    assert!(attention(&parts[0], &parts[1], &parts[2], 5, 0.3, false, &OpLimits::default()).is_err());
    Ok(())
}

#[test]
fn activations() -> Outcome {
    let x = (noise(&[3, 40, 7], 6) * 8.)?.transpose(0, 1)?;
    let sigmoid = |x: &Tensor| candle_nn::ops::sigmoid(x);
    let quick = (&x * sigmoid(&(&x * 1.702)?)?)?;
    for (activation, expected) in [
        (Activation::Silu, x.silu()?),
        (Activation::Gelu, x.gelu_erf()?),
        (Activation::QuickGelu, quick),
        (Activation::Relu, x.relu()?),
    ] {
        assert_close(&format!("{activation:?}"), &activation.forward(&x)?, &expected, 1e-6)?;
    }
    Ok(())
}

#[test]
fn sliced_attention_is_whole_attention() -> Outcome {
    // f64 goes the way of the GPUs, which slice; f32 goes the CPU's own way, which does not.
    let (heads, size, n, m) = (4, 40, 96, 77);
    let (q, k, v) =
        (noise(&[2, n, heads * size], 1), noise(&[2, m, heads * size], 2), noise(&[2, m, heads * size], 3));
    let wide = |x: &Tensor| x.to_dtype(DType::F64);
    let (wide_q, wide_k, wide_v) = (wide(&q)?, wide(&k)?, wide(&v)?);
    let scale = 1. / (size as f64).sqrt();
    let sliced = |attention_bytes| -> Result<Tensor, Box<dyn std::error::Error>> {
        let limits = OpLimits { attention_bytes, ..OpLimits::default() };
        Ok(attention(&wide_q, &wide_k, &wide_v, heads, scale, false, &limits)?.to_dtype(DType::F32)?)
    };
    let head = n * m * 8;
    let whole = sliced(usize::MAX)?;
    let fused = attention(&q, &k, &v, heads, scale, false, &OpLimits::default())?;
    assert_close("the CPU's own against whole", &fused, &whole, 1e-5)?;
    for (what, bytes) in
        [("three heads", 3 * head), ("one head", head), ("seven rows", 7 * m * 8), ("one row", 1)]
    {
        assert_close(what, &sliced(bytes)?, &whole, 1e-6)?;
        assert_close(what, &sliced(bytes)?, &fused, 1e-5)?;
    }
    Ok(())
}
