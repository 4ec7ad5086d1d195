//! Timesteps, sizes and guidance as vectors.
//!
//! Source: diffusers 0.42.1, `models/embeddings.py`. The sines are computed here on the host from f32 angles, as
//! torch does on its side, and cast to the model's dtype afterwards: an angle near 1000 does not fit in f16.

use candle_core::{Device, Tensor};

use crate::diffusion::error::Result;
use crate::diffusion::nn::{Activation, Linear, add};
use crate::diffusion::weights::Weights;

const MAX_PERIOD: f64 = 10_000.;

/// How numbers become sinusoids.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timesteps {
    pub channels: usize,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
}

impl Timesteps {
    /// One row of `channels` values for each number, in f32.
    pub fn rows(self, numbers: &[f64]) -> Vec<f32> {
        let mut rows = Vec::with_capacity(numbers.len() * self.channels);
        for number in numbers {
            self.push_row(*number as f32, &mut rows);
        }
        rows
    }

    fn push_row(self, number: f32, rows: &mut Vec<f32>) {
        let half = self.channels / 2;
        let divisor = (half as f64 - self.freq_shift) as f32;
        let exponents = (0..half).map(|i| -(MAX_PERIOD.ln() as f32) * i as f32 / divisor);
        let (sines, cosines) = sines_and_cosines(number, exponents);
        let (first, second) = if self.flip_sin_to_cos { (cosines, sines) } else { (sines, cosines) };
        rows.extend(first.into_iter().chain(second));
        if self.channels % 2 == 1 {
            rows.push(0.);
        }
    }
}

/// Of the f32 angles `number · e^exponent`. Exponents must be rounded in the order that diffusers rounds them:
/// angles go up to thousands, so a last bit there shows in the sine.
fn sines_and_cosines(number: f32, exponents: impl Iterator<Item = f32>) -> (Vec<f32>, Vec<f32>) {
    exponents
        .map(|exponent| f64::from(number * f64::from(exponent).exp() as f32))
        .map(|angle| (angle.sin() as f32, angle.cos() as f32))
        .unzip()
}

/// Two linear layers with an activation between.
#[derive(Clone, Debug)]
pub(super) struct TimestepEmbedding {
    linear_1: Linear,
    cond_proj: Option<Linear>,
    act: Activation,
    linear_2: Linear,
    post_act: Option<Activation>,
}

impl TimestepEmbedding {
    pub fn load(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        act: Activation,
        post_act: Option<Activation>,
        cond_proj_dim: Option<usize>,
    ) -> Result<Self> {
        let cond_proj = cond_proj_dim.map(|dim| Linear::load_no_bias(&weights.pp("cond_proj"), dim, inputs));
        Ok(Self {
            linear_1: Linear::load(&weights.pp("linear_1"), inputs, outputs)?,
            cond_proj: cond_proj.transpose()?,
            act,
            linear_2: Linear::load(&weights.pp("linear_2"), outputs, outputs)?,
            post_act,
        })
    }

    /// `[b, inputs]`, and `[b, cond_proj_dim]` where the model takes it, to `[b, outputs]`.
    pub fn forward(&self, sample: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let sample = match (&self.cond_proj, condition) {
            (Some(proj), Some(condition)) => add(sample, &proj.forward(condition)?)?,
            _ => sample.clone(),
        };
        let hidden = self.act.forward(&self.linear_1.forward(&sample)?)?;
        let out = self.linear_2.forward(&hidden)?;
        self.post_act.map_or(Ok(out.clone()), |act| act.forward(&out))
    }
}

/// LCM's guidance embedding of `w = guidance_scale - 1`: `[1, dim]`, f32.
///
/// Source: `LatentConsistencyModelPipeline.get_guidance_scale_embedding`; `dim` is the UNet's
/// `time_cond_proj_dim`.
///
/// # Errors
/// When the device has no memory left.
pub fn guidance_scale_embedding(w: f64, dim: usize, device: &Device) -> Result<Tensor> {
    let half = dim / 2;
    let step = MAX_PERIOD.ln() as f32 / (half as f32 - 1.);
    let (mut row, cosines) = sines_and_cosines((w * 1000.) as f32, (0..half).map(|i| i as f32 * -step));
    row.extend(cosines);
    row.resize(dim, 0.);
    Ok(Tensor::from_vec(row, (1, dim), &Device::Cpu)?.to_device(device)?)
}
