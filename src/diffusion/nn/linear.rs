//! Matrix products with learned weights.

use candle_core::{Module, Tensor};

use crate::diffusion::error::Result;
use crate::diffusion::weights::Weights;

/// `y = x Wᵀ + b` over the last dimension.
#[derive(Clone, Debug)]
pub struct Linear(candle_nn::Linear);

impl Linear {
    /// Reads `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        let bias = weights.get(outputs, "bias")?;
        Ok(Self(candle_nn::Linear::new(weights.get((outputs, inputs), "weight")?, Some(bias))))
    }

    /// Reads `weight` `[outputs, inputs]`; there is no bias.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load_no_bias(weights: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self(candle_nn::Linear::new(weights.get((outputs, inputs), "weight")?, None)))
    }

    /// Like [`Self::load`] from the `[outputs, inputs]` of a linear layer or the `[outputs, inputs, 1, 1]` of a
    /// 1×1 convolution, which is the same over the channels of each pixel.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load_pointwise(weights: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        if weights.rank("weight") != Some(4) {
            return Self::load(weights, inputs, outputs);
        }
        let weight = weights.get((outputs, inputs, 1, 1), "weight")?.reshape((outputs, inputs))?;
        Ok(Self(candle_nn::Linear::new(weight, Some(weights.get(outputs, "bias")?))))
    }

    /// `[.., inputs]` to `[.., outputs]`.
    ///
    /// # Errors
    /// When the last dimension is not `inputs` or the device has no memory left.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.0.forward(x)?)
    }
}

/// A table of vectors.
#[derive(Clone, Debug)]
pub struct Embedding(candle_nn::Embedding);

impl Embedding {
    /// Reads `weight` `[count, size]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, count: usize, size: usize) -> Result<Self> {
        Ok(Self(candle_nn::Embedding::new(weights.get((count, size), "weight")?, size)))
    }

    /// u32 ids `[..]` to vectors `[.., size]`.
    ///
    /// # Errors
    /// When an id is not in the table.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(self.0.forward(ids)?)
    }
}
