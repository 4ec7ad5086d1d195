//! The self-test: every op against plain loops, and whole pictures on two devices, with the embedded model's weights.
//!
//! What a person runs to learn whether this build computes right on this machine. Plain data out.

mod reference;

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use self::reference as plain;
use super::device::{self, DTypeChoice, DeviceChoice, device_name};
use super::error::Result;
use super::nn::{Activation, Conv2d, GroupNorm, LayerNorm, Linear, OpLimits, attention};
use super::pipeline::{Measures, Pipeline, PipelineConfig};
use super::rng::TorchGenerator;
use super::weights::Weights;
use crate::checkpoint::Checkpoint;
use crate::request::{GenerateParams, GenerateRequest, Picture, Seed};

/// How far f32 may be off, in units of the largest value of the reference.
const F32_TOLERANCE: f64 = 2e-5;
/// The same for 16-bit floats.
const HALF_TOLERANCE: f64 = 2e-2;
/// Steps of a picture.
const STEPS: u32 = 8;

/// One op against its reference.
#[derive(Clone, Debug, serde::Serialize)]
pub struct OpCheck {
    /// What was computed.
    pub name: &'static str,
    /// Largest difference, in units of the reference's largest value.
    pub difference: f64,
    /// What it may be.
    pub tolerance: f64,
    /// What kept it from being computed.
    pub error: Option<String>,
}

impl OpCheck {
    /// Whether the op computes right.
    pub fn passed(&self) -> bool {
        self.error.is_none() && self.difference <= self.tolerance
    }
}

/// One picture that was made.
pub struct PictureRun {
    /// The picture.
    pub picture: Picture,
    /// Seconds of each step.
    pub steps: Vec<f64>,
    /// Seconds of the step that was thrown away before them.
    pub warm_up: f64,
}

/// A device under test.
pub struct SelfTest {
    config: Arc<PipelineConfig>,
    /// The device.
    pub device: Device,
    /// What models have on it.
    pub dtype: DType,
}

impl SelfTest {
    /// Opens the device and reads the model's JSON.
    ///
    /// # Errors
    /// When the device cannot be had or the model is broken.
    pub fn new(checkpoint: Checkpoint, device: DeviceChoice, dtype: DTypeChoice) -> Result<Self> {
        let device = device::open(device)?.device;
        let dtype = dtype.resolve(&device);
        Ok(Self { config: Arc::new(PipelineConfig::read(checkpoint)?), device, dtype })
    }

    /// `cpu`, `cuda` or `metal`.
    pub fn device_name(&self) -> &'static str {
        device_name(&self.device)
    }

    /// The same test on the CPU in f32: what others are compared with.
    pub fn on_cpu(&self) -> Self {
        Self { config: Arc::clone(&self.config), device: Device::Cpu, dtype: DType::F32 }
    }

    /// Every op that models are made of.
    ///
    /// # Errors
    /// When the model's weights cannot be read.
    pub fn ops(&self) -> Result<Vec<OpCheck>> {
        type Op = fn(&Ops<'_>) -> Result<f64>;
        let blobs = self.config.checkpoint().weights.get("unet").map_or(&[][..], Vec::as_slice);
        let ops = Ops {
            layers: Weights::open("unet", blobs, &self.device, self.dtype, None)?,
            values: Weights::open("unet", blobs, &Device::Cpu, DType::F32, None)?,
            device: &self.device,
            dtype: self.dtype,
        };
        let tolerance = if self.dtype == DType::F32 { F32_TOLERANCE } else { HALF_TOLERANCE };
        let all: [(&'static str, Op); 13] = [
            ("conv 3×3", |ops| ops.conv("conv_in", (4, 64), (3, 1, 1), &OpLimits::default())),
            ("conv 3×3 in bands", |ops| {
                ops.conv("conv_in", (4, 64), (3, 1, 1), &OpLimits { conv_bytes: 1, ..OpLimits::default() })
            }),
            ("conv 3×3 stride 2", |ops| {
                ops.conv("down_blocks.0.downsamplers.0.conv", (64, 64), (3, 2, 1), &OpLimits::default())
            }),
            ("conv 1×1", |ops| {
                ops.conv("down_blocks.2.resnets.0.conv_shortcut", (64, 96), (1, 1, 0), &OpLimits::default())
            }),
            ("group norm", |ops| ops.group_norm(false)),
            ("group norm + silu", |ops| ops.group_norm(true)),
            ("layer norm", |ops| ops.layer_norm()),
            ("linear", |ops| ops.linear()),
            ("attention", |ops| ops.attention(&OpLimits::default())),
            ("attention in slices", |ops| {
                ops.attention(&OpLimits { attention_bytes: 1, ..OpLimits::default() })
            }),
            ("silu", |ops| ops.activation(Activation::Silu)),
            ("gelu", |ops| ops.activation(Activation::Gelu)),
            ("quick gelu", |ops| ops.activation(Activation::QuickGelu)),
        ];
        Ok(all
            .into_iter()
            .map(|(name, op)| match op(&ops) {
                Ok(difference) => OpCheck { name, difference, tolerance, error: None },
                Err(error) => {
                    OpCheck { name, difference: f64::NAN, tolerance, error: Some(error.to_string()) }
                }
            })
            .collect())
    }

    /// The model's weights on the device.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn pipeline(&self) -> Result<Pipeline> {
        Pipeline::load(Arc::clone(&self.config), &self.device, self.dtype, None)
    }

    /// One picture, always the same, after a step that is thrown away.
    ///
    /// # Errors
    /// When the device fails.
    pub fn picture(&self, pipeline: &Pipeline, measures: &Measures) -> Result<PictureRun> {
        let params = self.params()?;
        let embeds = pipeline.encode_prompt(&params, measures)?;
        let start = std::time::Instant::now();
        pipeline.warm_up(&params, &embeds, measures)?;
        let warm_up = start.elapsed().as_secs_f64();
        let start = pipeline.start(&params, None, measures)?;
        let mut steps = Vec::new();
        let latents = pipeline.denoise(&params, &embeds, start, measures, &mut |report| {
            steps.push(report.seconds);
            ControlFlow::Continue(())
        })?;
        let picture = pipeline.decode(&latents, params.size, measures)?;
        Ok(PictureRun { picture, steps, warm_up })
    }

    fn params(&self) -> Result<GenerateParams> {
        let request = GenerateRequest {
            prompt: "a red circle".into(),
            steps: Some(STEPS),
            scheduler: Some("ddim".into()),
            seed: Some(Seed::Fixed(7)),
            ..GenerateRequest::default()
        };
        self.config.resolve(&request, 7)
    }
}

/// Layers of the embedded UNet, on the device and as plain numbers.
struct Ops<'a> {
    layers: Weights,
    values: Weights,
    device: &'a Device,
    dtype: DType,
}

const BLOCK: &str = "down_blocks.1.attentions.0.transformer_blocks.0";

impl Ops<'_> {
    /// Numbers that are the same on every machine, and the tensor of them on the device. 16-bit floats are made
    /// before the reference sees them: only the op is on trial.
    fn input(&self, shape: &[usize], seed: u64) -> Result<(Vec<f32>, Tensor)> {
        let values = TorchGenerator::manual_seed(seed).randn(shape.iter().product());
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype)?;
        let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        Ok((values, tensor.to_device(self.device)?))
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

    fn linear(&self) -> Result<f64> {
        let layer = format!("{BLOCK}.attn1.to_out.0");
        let linear = Linear::load(&self.layers.pp(&layer), 64, 64)?;
        let (x, tensor) = self.input(&[1, 9, 64], 4)?;
        let (weight, bias) = (self.value(&layer, "weight", &[64, 64])?, self.value(&layer, "bias", &[64])?);
        difference(&linear.forward(&tensor)?, &plain::linear(&x, &weight, &bias))
    }

    fn attention(&self, limits: &OpLimits) -> Result<f64> {
        let (heads, size) = (4, 16);
        let (q, qs) = self.input(&[1, 33, heads * size], 5)?;
        let (k, ks) = self.input(&[1, 21, heads * size], 6)?;
        let (v, vs) = self.input(&[1, 21, heads * size], 7)?;
        let result = attention(&qs, &ks, &vs, heads, 0.25, false, limits)?;
        difference(&result, &plain::attention(&q, &k, &v, heads, size, 0.25))
    }

    fn activation(&self, activation: Activation) -> Result<f64> {
        let (x, tensor) = self.input(&[1, 301], 8)?;
        let f = match activation {
            Activation::Gelu => plain::gelu,
            Activation::QuickGelu => plain::quick_gelu,
            _ => plain::silu,
        };
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
