//! Each op on the device under test and by its definition, with layers of the embedded UNet.

use candle_core::{DType, Device, Tensor};

use super::reference as plain;
use crate::diffusion::error::Result;
use crate::diffusion::nn::{
    Activation, Conv2d, Embedding, GroupNorm, LayerNorm, Linear, OpLimits, attention, geglu, upsample_nearest,
};
use crate::diffusion::rng::TorchGenerator;
use crate::diffusion::weights::Weights;

/// Tries one op and returns the largest difference, in units of the largest value.
pub(super) type Op = fn(&Ops) -> Result<f64>;

const DEFAULT: OpLimits =
    OpLimits { attention_bytes: 256 << 20, conv_bytes: 256 << 20, upcast_attention: false };
/// As little at a time as can be.
const LEAST: OpLimits = OpLimits { attention_bytes: 1, conv_bytes: 1, upcast_attention: false };
const UPCAST: OpLimits = OpLimits { upcast_attention: true, ..DEFAULT };

/// Every op that models are made of.
pub(super) const OPS: &[(&str, Op)] = &[
    ("conv 3×3", |ops| ops.conv("conv_in", (4, 64), (3, 1, 1), &DEFAULT)),
    ("conv 3×3 in bands", |ops| ops.conv("conv_in", (4, 64), (3, 1, 1), &LEAST)),
    ("conv 3×3 stride 2", |ops| {
        ops.conv("down_blocks.0.downsamplers.0.conv", (64, 64), (3, 2, 1), &DEFAULT)
    }),
    ("conv 1×1", |ops| ops.conv("down_blocks.2.resnets.0.conv_shortcut", (64, 96), (1, 1, 0), &DEFAULT)),
    ("conv 3×3 + residual", Ops::conv_add),
    ("conv 3×3 + shift", Ops::conv_shifted),
    ("conv 3×3, upsampled", |ops| ops.conv_upsampled((7, 6), (14, 12))),
    ("conv 3×3, odd upsampled", |ops| ops.conv_upsampled((7, 6), (13, 11))),
    ("upsample", Ops::upsample),
    ("group norm", |ops| ops.group_norm(false)),
    ("group norm + silu", |ops| ops.group_norm(true)),
    ("layer norm", Ops::layer_norm),
    ("linear", |ops| ops.linear(9, false)),
    ("linear, many rows", |ops| ops.linear(300, false)),
    ("linear + residual", |ops| ops.linear(9, true)),
    ("linear without bias", Ops::linear_no_bias),
    ("linear from pixels", Ops::pixel_rows),
    ("linear to pixels", Ops::row_pixels),
    ("linear + geglu", Ops::linear_geglu),
    ("geglu", Ops::geglu),
    ("embedding", Ops::embedding),
    ("attention", |ops| ops.attention((2, 4, 16), (33, 21), &DEFAULT)),
    ("attention, heads of 40", |ops| ops.attention((2, 8, 40), (65, 65), &DEFAULT)),
    ("attention, heads of 64", |ops| ops.attention((2, 5, 64), (65, 77), &DEFAULT)),
    ("attention, heads of 160", |ops| ops.attention((1, 8, 160), (16, 77), &DEFAULT)),
    ("attention, one of 512", |ops| ops.attention((1, 1, 512), (70, 70), &DEFAULT)),
    ("attention in slices", |ops| ops.attention((1, 4, 16), (33, 21), &LEAST)),
    ("attention in f32", |ops| ops.attention((1, 4, 16), (33, 21), &UPCAST)),
    ("attention, causal", Ops::causal),
    ("silu", |ops| ops.activation(Activation::Silu, plain::silu)),
    ("gelu", |ops| ops.activation(Activation::Gelu, plain::gelu)),
    ("quick gelu", |ops| ops.activation(Activation::QuickGelu, plain::quick_gelu)),
    ("relu", |ops| ops.activation(Activation::Relu, |x| x.max(0.))),
    ("mish", |ops| ops.activation(Activation::Mish, plain::mish)),
];

/// Layers of the embedded UNet, on the device and as plain numbers.
pub(super) struct Ops {
    /// In the dtype under test, on the device.
    pub layers: Weights,
    /// In f32 on the CPU.
    pub values: Weights,
    /// The device.
    pub device: Device,
    /// What models have on it.
    pub dtype: DType,
}

const BLOCK: &str = "down_blocks.1.attentions.0.transformer_blocks.0";

impl Ops {
    /// Numbers that are the same on every machine, and the tensor of them on the device. 16-bit floats are made
    /// before the reference sees them: only the op is on trial.
    fn input(&self, shape: &[usize], seed: u64) -> Result<(Vec<f32>, Tensor)> {
        let values = TorchGenerator::manual_seed(seed).randn(shape.iter().product());
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype)?;
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok((values, tensor.to_device(&self.device)?))
    }

    fn value(&self, layer: &str, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.values.pp(layer).get(shape, name)?.to_dtype(self.dtype)?;
        Ok(tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    }

    fn conv(
        &self,
        layer: &str,
        (inputs, outputs): (usize, usize),
        (kernel, stride, padding): (usize, usize, usize),
        limits: &OpLimits,
    ) -> Result<f64> {
        let conv = Conv2d::load(&self.layers.pp(layer), inputs, outputs, kernel, stride, padding)?;
        let (x, tensor) = self.input(&[1, inputs, 12, 10], 1)?;
        let weight = self.value(layer, "weight", &[outputs, inputs, kernel, kernel])?;
        let bias = self.value(layer, "bias", &[outputs])?;
        let expected = plain::conv(&x, (inputs, 12, 10), &weight, &bias, (kernel, stride, padding));
        difference(&conv.forward(&tensor, limits)?, &expected)
    }

    /// The 3×3 convolution of 64 channels: layer, weight and bias.
    fn square_conv(&self) -> Result<(Conv2d, Vec<f32>, Vec<f32>)> {
        const LAYER: &str = "up_blocks.1.upsamplers.0.conv";
        let conv = Conv2d::load(&self.layers.pp(LAYER), 64, 64, 3, 1, 1)?;
        Ok((conv, self.value(LAYER, "weight", &[64, 64, 3, 3])?, self.value(LAYER, "bias", &[64])?))
    }

    fn conv_add(&self) -> Result<f64> {
        let (conv, weight, bias) = self.square_conv()?;
        let (x, tensor) = self.input(&[1, 64, 9, 11], 14)?;
        let (added, residual) = self.input(&[1, 64, 9, 11], 15)?;
        let expected = plain::conv(&x, (64, 9, 11), &weight, &bias, (3, 1, 1));
        difference(&conv.forward_add(&tensor, &residual, &DEFAULT)?, &plain::sum(&expected, &added))
    }

    fn conv_shifted(&self) -> Result<f64> {
        let (conv, weight, bias) = self.square_conv()?;
        let (x, tensor) = self.input(&[2, 64, 9, 11], 16)?;
        let (shift, shifts) = self.input(&[1, 64], 17)?;
        let bias = plain::sum(&bias.iter().map(|v| f64::from(*v)).collect::<Vec<_>>(), &shift);
        let bias: Vec<f32> = bias.into_iter().map(|v| v as f32).collect();
        let image = |x: &[f32]| plain::conv(x, (64, 9, 11), &weight, &bias, (3, 1, 1));
        let expected: Vec<f64> = x.chunks(64 * 99).flat_map(image).collect();
        difference(&conv.forward_shifted(&tensor, &shifts, &DEFAULT)?, &expected)
    }

    fn conv_upsampled(&self, (h, w): (usize, usize), (height, width): (usize, usize)) -> Result<f64> {
        let (conv, weight, bias) = self.square_conv()?;
        let (x, tensor) = self.input(&[1, 64, h, w], 18)?;
        let large = plain::upsample(&x, (h, w), (height, width));
        let expected = plain::conv(&large, (64, height, width), &weight, &bias, (3, 1, 1));
        difference(&conv.forward_upsampled(&tensor, (height, width), &DEFAULT)?, &expected)
    }

    fn upsample(&self) -> Result<f64> {
        let (x, tensor) = self.input(&[2, 3, 5, 4], 19)?;
        let expected: Vec<f64> = plain::upsample(&x, (5, 4), (11, 8)).into_iter().map(f64::from).collect();
        difference(&upsample_nearest(&tensor, 11, 8)?, &expected)
    }

    fn group_norm(&self, silu: bool) -> Result<f64> {
        let layer = "down_blocks.0.resnets.0.norm1";
        let norm = GroupNorm::load(&self.layers.pp(layer), 16, 64, 1e-5)?;
        let (x, tensor) = self.input(&[1, 64, 6, 5], 2)?;
        let (weight, bias) = (self.value(layer, "weight", &[64])?, self.value(layer, "bias", &[64])?);
        let mut expected = plain::group_norm(&x, 16, 30, &weight, &bias, 1e-5);
        let result = if silu { norm.forward_silu(&tensor)? } else { norm.forward(&tensor)? };
        if silu {
            for value in &mut expected {
                *value = plain::silu(*value);
            }
        }
        difference(&result, &expected)
    }

    fn layer_norm(&self) -> Result<f64> {
        let layer = format!("{BLOCK}.norm1");
        let norm = LayerNorm::load(&self.layers.pp(&layer), 64, 1e-5)?;
        let (x, tensor) = self.input(&[1, 9, 64], 3)?;
        let (weight, bias) = (self.value(&layer, "weight", &[64])?, self.value(&layer, "bias", &[64])?);
        // A layer norm is a group norm of one group whose pixels are rows of their own.
        let expected: Vec<f64> =
            x.chunks(64).flat_map(|row| plain::group_norm(row, 1, 1, &weight, &bias, 1e-5)).collect();
        difference(&norm.forward(&tensor)?, &expected)
    }

    fn linear(&self, rows: usize, residual: bool) -> Result<f64> {
        let layer = format!("{BLOCK}.attn1.to_out.0");
        let linear = Linear::load(&self.layers.pp(&layer), 64, 64)?;
        let (x, tensor) = self.input(&[1, rows, 64], 4)?;
        let (weight, bias) = (self.value(&layer, "weight", &[64, 64])?, self.value(&layer, "bias", &[64])?);
        let expected = plain::linear(&x, &weight, &bias);
        if !residual {
            return difference(&linear.forward(&tensor)?, &expected);
        }
        let (added, other) = self.input(&[1, rows, 64], 5)?;
        difference(&linear.forward_add(&tensor, &other)?, &plain::sum(&expected, &added))
    }

    fn linear_no_bias(&self) -> Result<f64> {
        let layer = format!("{BLOCK}.attn2.to_k");
        let linear = Linear::load_no_bias(&self.layers.pp(&layer), 96, 64)?;
        let (x, tensor) = self.input(&[2, 11, 96], 6)?;
        let weight = self.value(&layer, "weight", &[64, 96])?;
        difference(&linear.forward(&tensor)?, &plain::linear(&x, &weight, &[0.; 64]))
    }

    /// A pointwise layer of 64 channels: layer, weight and bias.
    fn pointwise(&self, name: &str) -> Result<(Linear, Vec<f32>, Vec<f32>)> {
        let layer = format!("down_blocks.1.attentions.0.{name}");
        let linear = Linear::load_pointwise(&self.layers.pp(&layer), 64, 64)?;
        Ok((linear, self.value(&layer, "weight", &[64, 64, 1, 1])?, self.value(&layer, "bias", &[64])?))
    }

    fn pixel_rows(&self) -> Result<f64> {
        let (linear, weight, bias) = self.pointwise("proj_in")?;
        let (x, tensor) = self.input(&[2, 64, 5, 7], 9)?;
        let rows: Vec<f32> = x.chunks(64 * 35).flat_map(|image| plain::transposed(image, 35)).collect();
        difference(&linear.forward_from_pixels(&tensor)?, &plain::linear(&rows, &weight, &bias))
    }

    fn row_pixels(&self) -> Result<f64> {
        let (linear, weight, bias) = self.pointwise("proj_out")?;
        let (x, tensor) = self.input(&[2, 35, 64], 10)?;
        let (added, residual) = self.input(&[2, 64, 5, 7], 11)?;
        let rows = plain::linear(&x, &weight, &bias);
        let pixels: Vec<f64> = rows.chunks(64 * 35).flat_map(|image| plain::transposed(image, 64)).collect();
        difference(&linear.forward_to_pixels_add(&tensor, &residual)?, &plain::sum(&pixels, &added))
    }

    fn linear_geglu(&self) -> Result<f64> {
        let layer = format!("{BLOCK}.ff.net.0.proj");
        let linear = Linear::load(&self.layers.pp(&layer), 64, 512)?;
        let (x, tensor) = self.input(&[1, 10, 64], 12)?;
        let (weight, bias) = (self.value(&layer, "weight", &[512, 64])?, self.value(&layer, "bias", &[512])?);
        difference(&linear.forward_geglu(&tensor)?, &plain::geglu(&plain::linear(&x, &weight, &bias), 512))
    }

    fn geglu(&self) -> Result<f64> {
        let (x, tensor) = self.input(&[2, 7, 54], 13)?;
        let x: Vec<f64> = x.into_iter().map(f64::from).collect();
        difference(&geglu(&tensor)?, &plain::geglu(&x, 54))
    }

    /// Any table will do.
    fn embedding(&self) -> Result<f64> {
        let layer = format!("{BLOCK}.attn1.to_out.0");
        let table = self.value(&layer, "weight", &[64, 64])?;
        let embedding = Embedding::load(&self.layers.pp(&layer), 64, 64)?;
        let ids = [3u32, 0, 63, 3];
        let expected: Vec<f64> =
            ids.iter().flat_map(|id| &table[*id as usize * 64..][..64]).map(|v| f64::from(*v)).collect();
        difference(&embedding.forward(&Tensor::new(&ids, &self.device)?.unsqueeze(0)?)?, &expected)
    }

    fn attention(
        &self,
        (batch, heads, size): (usize, usize, usize),
        (queries, keys): (usize, usize),
        limits: &OpLimits,
    ) -> Result<f64> {
        let (q, qs) = self.input(&[batch, queries, heads * size], 5)?;
        let (k, ks) = self.input(&[batch, keys, heads * size], 6)?;
        let (v, vs) = self.input(&[batch, keys, heads * size], 7)?;
        let scale = 1. / (size as f64).sqrt();
        let result = attention(&qs, &ks, &vs, heads, scale, false, limits)?;
        let rows = |x: &[f32], image: usize, rows: usize| -> Vec<f32> {
            x[image * rows * heads * size..][..rows * heads * size].to_vec()
        };
        let expected: Vec<f64> = (0..batch)
            .flat_map(|image| {
                let (q, k, v) = (rows(&q, image, queries), rows(&k, image, keys), rows(&v, image, keys));
                plain::attention(&q, &k, &v, (heads, size), scale, false)
            })
            .collect();
        difference(&result, &expected)
    }

    fn causal(&self) -> Result<f64> {
        let shape = [1, 77, 64];
        let ((q, qs), (k, ks), (v, vs)) =
            (self.input(&shape, 5)?, self.input(&shape, 6)?, self.input(&shape, 7)?);
        let result = attention(&qs, &ks, &vs, 4, 0.25, true, &DEFAULT)?;
        difference(&result, &plain::attention(&q, &k, &v, (4, 16), 0.25, true))
    }

    fn activation(&self, activation: Activation, f: fn(f64) -> f64) -> Result<f64> {
        let (x, tensor) = self.input(&[1, 301], 8)?;
        let expected: Vec<f64> = x.iter().map(|value| f(f64::from(*value))).collect();
        difference(&activation.forward(&tensor)?, &expected)
    }
}

/// Largest difference in units of the largest expected value; infinite where the result has another size.
fn difference(result: &Tensor, expected: &[f64]) -> Result<f64> {
    let result = result.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    if result.len() != expected.len() {
        return Ok(f64::INFINITY);
    }
    let scale = expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let worst = result.iter().zip(expected).fold(0f64, |worst, (a, b)| {
        let off = (f64::from(*a) - b).abs();
        // `max` would drop a NaN.
        if off.is_nan() { f64::INFINITY } else { worst.max(off) }
    });
    Ok(worst / scale)
}
