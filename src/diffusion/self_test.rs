//! The self-test: every op against plain loops, and whole pictures on two devices, with the embedded model's weights.
//!
//! What a person runs to learn whether this build computes right on this machine. Plain data out.

mod ops;
mod reference;

use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Device};

use self::ops::{OPS, Op, Ops};
use super::device::{self, DTypeChoice, DeviceChoice, OpenedDevice, device_name};
use super::error::Result;
use super::pipeline::{Measures, Pipeline, PipelineConfig};
use super::weights::Weights;
use crate::checkpoint::Checkpoint;
use crate::request::{GenerateParams, GenerateRequest, ImageSize, Picture, Seed};

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
    /// Why it is not the device that was hoped for.
    pub notice: Option<String>,
}

impl SelfTest {
    /// Opens the device and reads the model's JSON.
    ///
    /// # Errors
    /// When the device cannot be had or the model is broken.
    pub fn new(checkpoint: Checkpoint, device: DeviceChoice, dtype: DTypeChoice) -> Result<Self> {
        let OpenedDevice { device, notice } = device::open(device)?;
        let dtype = dtype.resolve(&device);
        Ok(Self { config: Arc::new(PipelineConfig::read(checkpoint)?), device, dtype, notice })
    }

    /// `cpu`, `cuda` or `metal`.
    pub fn device_name(&self) -> &'static str {
        device_name(&self.device)
    }

    /// The same test on the CPU in f32: what others are compared with.
    pub fn on_cpu(&self) -> Self {
        Self { config: Arc::clone(&self.config), device: Device::Cpu, dtype: DType::F32, notice: None }
    }

    /// Every op that models are made of.
    ///
    /// # Errors
    /// When the model's weights cannot be read.
    pub fn ops(&self) -> Result<Vec<OpCheck>> {
        let blobs = self.config.checkpoint().weights.get("unet").map_or(&[][..], Vec::as_slice);
        let ops = Ops {
            layers: Weights::open("unet", blobs, &self.device, self.dtype, None)?,
            values: Weights::open("unet", blobs, &Device::Cpu, DType::F32, None)?,
            device: self.device.clone(),
            dtype: self.dtype,
        };
        let tolerance = if self.dtype == DType::F32 { F32_TOLERANCE } else { HALF_TOLERANCE };
        let check = |(name, op): &(&'static str, Op)| {
            let (difference, error) = match op(&ops) {
                Ok(difference) => (difference, None),
                Err(error) => (f64::NAN, Some(error.to_string())),
            };
            OpCheck { name, difference, tolerance, error }
        };
        Ok(OPS.iter().map(check).collect())
    }

    /// The model's weights on the device.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn pipeline(&self) -> Result<Pipeline> {
        Pipeline::load(Arc::clone(&self.config), &self.device, self.dtype, None)
    }

    /// One picture, always the same, after a step that is thrown away; `None` is the model's own size.
    ///
    /// # Errors
    /// When the device fails.
    pub fn picture(
        &self,
        pipeline: &Pipeline,
        measures: &Measures,
        size: Option<ImageSize>,
    ) -> Result<PictureRun> {
        let params = self.params(size)?;
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

    fn params(&self, size: Option<ImageSize>) -> Result<GenerateParams> {
        let request = GenerateRequest {
            prompt: "a red circle".into(),
            steps: Some(STEPS),
            scheduler: Some("ddim".into()),
            seed: Some(Seed::Fixed(7)),
            width: size.map(|size| size.width),
            height: size.map(|size| size.height),
            ..GenerateRequest::default()
        };
        self.config.resolve(&request, 7)
    }
}
