//! Two-dimensional convolution.

use candle_core::Tensor;

use super::OpLimits;
use crate::diffusion::error::Result;
use crate::diffusion::weights::Weights;

/// A square convolution with bias over `[b, c, h, w]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// Reads `weight` `[outputs, inputs, kernel, kernel]` and `bias` `[outputs]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let weight = weights.get((outputs, inputs, kernel, kernel), "weight")?;
        let bias = weights.get(outputs, "bias")?.reshape((1, outputs, 1, 1))?;
        Ok(Self { weight, bias, stride, padding })
    }

    /// `[b, inputs, h, w]` to `[b, outputs, h', w']`.
    ///
    /// # Errors
    /// When the shape does not fit or the device has no memory left.
    pub fn forward(&self, x: &Tensor, _limits: &OpLimits) -> Result<Tensor> {
        let y = x.conv2d(&self.weight, self.padding, self.stride, 1, 1)?;
        Ok(y.broadcast_add(&self.bias)?)
    }
}
