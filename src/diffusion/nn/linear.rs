//! Matrix products with learned weights.

use candle_core::{Module, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use super::param::{CpuValues, Params, cpu_tensor, unfit};
use super::{Heads, cpu, geglu, metal, profile};
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::weights::{Stored, Weights};

/// `y = x Wᵀ + b` over the last dimension.
#[derive(Clone, Debug)]
pub struct Linear {
    params: Params<Stored>,
    inputs: usize,
    outputs: usize,
}

impl Linear {
    /// Reads `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        let params = Params::<Stored>::load(weights, (outputs, inputs), Some(outputs))?;
        Ok(Self { params, inputs, outputs })
    }

    /// Reads `weight` `[outputs, inputs]`; there is no bias.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load_no_bias(weights: &Weights, inputs: usize, outputs: usize) -> Result<Self> {
        Ok(Self { params: Params::<Stored>::load(weights, (outputs, inputs), None)?, inputs, outputs })
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
        let mut params = Params::<Stored>::load(weights, (outputs, inputs, 1, 1), Some(outputs))?;
        if let Params::Device { weight, .. } = &mut params {
            *weight = weight.reshape((outputs, inputs))?;
        }
        Ok(Self { params, inputs, outputs })
    }

    /// A projection of `inputs` values to queries, keys or values: reads `weight` `[heads, inputs]` and, if there is
    /// one, `bias` `[heads]`. Has as many outputs as the heads have values on the device.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load_to_heads(weights: &Weights, inputs: usize, heads: &Heads, bias: bool) -> Result<Self> {
        let width = heads.count * heads.size;
        let outputs = heads.width();
        if outputs == width {
            let bias = bias.then_some(width);
            return Ok(Self {
                params: Params::<Stored>::load(weights, (width, inputs), bias)?,
                inputs,
                outputs,
            });
        }
        let weight = weights.get_arranged((width, inputs), "weight", |x| heads.pad_rows(&x))?;
        let bias = bias.then(|| weights.get_arranged(width, "bias", |x| heads.pad_rows(&x))).transpose()?;
        Ok(Self { params: Params::Device { weight, bias }, inputs, outputs })
    }

    /// The projection from the heads: reads `weight` `[outputs, heads]` and `bias` `[outputs]`. Takes as many inputs
    /// as the heads have values on the device.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load_from_heads(weights: &Weights, heads: &Heads, outputs: usize) -> Result<Self> {
        let (width, inputs) = (heads.count * heads.size, heads.width());
        if inputs == width {
            return Self::load(weights, width, outputs);
        }
        let weight = weights.get_arranged((outputs, width), "weight", |x| heads.pad_columns(&x))?;
        let bias = Some(weights.get(outputs, "bias")?);
        Ok(Self { params: Params::Device { weight, bias }, inputs, outputs })
    }

    /// `[.., inputs]` to `[.., outputs]`.
    ///
    /// # Errors
    /// When the last dimension is not `inputs` or the device has no memory left.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let _span = profile::op("linear", x, || self.spelled(x))?;
        match &self.params {
            Params::Cpu { weight, bias } => self.on_cpu(weight, bias.as_deref(), x, None),
            #[cfg(feature = "cuda")]
            Params::Device { weight, bias } if cuda::takes(x) => {
                cuda::Linear { weight, bias: bias.as_ref() }.forward(x, None)
            }
            Params::Device { weight, bias } if metal::takes(x) => {
                metal::linear(x, weight, bias.as_ref(), None)
            }
            Params::Device { weight, bias } => {
                Ok(candle_nn::Linear::new(weight.clone(), bias.clone()).forward(x)?)
            }
        }
    }

    /// `linear(x) + residual` in one pass where there is one; `residual` is `[.., outputs]`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let _span = profile::op("linear", x, || self.spelled(x))?;
        match &self.params {
            Params::Cpu { weight, bias } => self.on_cpu(weight, bias.as_deref(), x, Some(residual)),
            #[cfg(feature = "cuda")]
            Params::Device { weight, bias } if cuda::takes(x) => {
                cuda::Linear { weight, bias: bias.as_ref() }.forward(x, Some(residual))
            }
            Params::Device { weight, bias } if metal::takes(x) => {
                metal::linear(x, weight, bias.as_ref(), Some(residual))
            }
            Params::Device { .. } => Ok((self.forward(x)? + residual)?),
        }
    }

    /// [`geglu`]`(linear(x))`, `[.., outputs / 2]`, without the wide tensor in between where that can be.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_geglu(&self, x: &Tensor) -> Result<Tensor> {
        let _span = profile::op("linear + geglu", x, || self.spelled(x))?;
        #[cfg(feature = "cuda")]
        if let (Params::Device { weight, bias }, true) = (&self.params, cuda::takes(x)) {
            return cuda::Linear { weight, bias: bias.as_ref() }.forward_geglu(x);
        }
        if let (Params::Device { weight, bias }, true) = (&self.params, metal::takes(x)) {
            return metal::linear_geglu(x, weight, bias.as_ref());
        }
        let Params::Cpu { weight, bias } = &self.params else { return geglu(&self.forward(x)?) };
        let x = x.contiguous()?;
        let shape = self.shape_of_result(&x, self.outputs / 2)?;
        let values = CpuValues::of(&x, OP)?;
        cpu_tensor(shape, |out| {
            self.cpu_linear(weight, bias.as_deref()).forward_geglu(cpu::Level::best(), &values, out);
        })
    }

    /// The pixels of `[b, inputs, h, w]` as rows: `[b, h · w, outputs]`.
    ///
    /// # Errors
    /// When the channels are not `inputs` or the device has no memory left.
    pub fn forward_from_pixels(&self, x: &Tensor) -> Result<Tensor> {
        let _span = profile::op("linear", x, || self.spelled(x))?;
        let (b, c, h, w) = x.dims4()?;
        #[cfg(feature = "cuda")]
        if let (Params::Device { weight, bias }, true) = (&self.params, cuda::takes(x)) {
            return cuda::Linear { weight, bias: bias.as_ref() }.forward_from_pixels(x);
        }
        if let (Params::Device { weight, bias }, true) = (&self.params, metal::takes(x)) {
            return metal::linear_from_pixels(x, weight, bias.as_ref());
        }
        let Params::Cpu { weight, bias } = &self.params else {
            return self.forward(&x.reshape((b, c, h * w))?.transpose(1, 2)?.contiguous()?);
        };
        let x = x.contiguous()?;
        if c != self.inputs {
            return Err(unfit(OP, &x));
        }
        let values = CpuValues::of(&x, OP)?;
        cpu_tensor((b, h * w, self.outputs), |out| {
            let linear = self.cpu_linear(weight, bias.as_deref());
            linear.forward_from_pixels(cpu::Level::best(), &values, h * w, out);
        })
    }

    /// `[b, h · w, inputs]` as pixels again, added to `residual`: `[b, outputs, h, w]`.
    ///
    /// # Errors
    /// When a shape does not fit or the device has no memory left.
    pub fn forward_to_pixels_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let _span = profile::op("linear", x, || self.spelled(x))?;
        let (b, c, h, w) = residual.dims4()?;
        #[cfg(feature = "cuda")]
        if let (Params::Device { weight, bias }, true) = (&self.params, cuda::takes(x)) {
            return cuda::Linear { weight, bias: bias.as_ref() }.forward_to_pixels_add(x, residual);
        }
        if let (Params::Device { weight, bias }, true) = (&self.params, metal::takes(x)) {
            return metal::linear_to_pixels_add(x, weight, bias.as_ref(), residual);
        }
        let Params::Cpu { weight, bias } = &self.params else {
            return Ok((self.forward(x)?.transpose(1, 2)?.reshape((b, c, h, w))? + residual)?);
        };
        let (x, residual) = (x.contiguous()?, residual.contiguous()?);
        if x.dims() != [b, h * w, self.inputs] || c != self.outputs {
            return Err(unfit(OP, &x));
        }
        let (values, added) = (CpuValues::of(&x, OP)?, CpuValues::of(&residual, OP)?);
        cpu_tensor((b, c, h, w), |out| {
            let linear = self.cpu_linear(weight, bias.as_deref());
            linear.forward_to_pixels(cpu::Level::best(), &values, h * w, Some(&added), out);
        })
    }

    /// Input and output, for the profile.
    fn spelled(&self, x: &Tensor) -> String {
        format!("{} → {}", profile::sizes(x), self.outputs)
    }

    fn on_cpu(
        &self,
        weight: &Stored,
        bias: Option<&[f32]>,
        x: &Tensor,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (x, residual) = (x.contiguous()?, residual.map(Tensor::contiguous).transpose()?);
        let shape = self.shape_of_result(&x, self.outputs)?;
        if let Some(residual) = residual.as_ref().filter(|r| r.dims() != shape) {
            return Err(unfit(OP, residual));
        }
        let values = CpuValues::of(&x, OP)?;
        let residual = residual.as_ref().map(|r| CpuValues::of(r, OP)).transpose()?;
        cpu_tensor(shape, |out| {
            self.cpu_linear(weight, bias).forward(cpu::Level::best(), &values, residual.as_deref(), out);
        })
    }

    fn cpu_linear<'a>(&self, weight: &'a Stored, bias: Option<&'a [f32]>) -> cpu::Linear<'a> {
        cpu::Linear { inputs: self.inputs, outputs: self.outputs, weight: weight.floats(), bias }
    }

    fn shape_of_result(&self, x: &Tensor, outputs: usize) -> Result<Vec<usize>> {
        let mut shape = x.dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last == self.inputs => *last = outputs,
            _ => return Err(unfit(OP, x)),
        }
        Ok(shape)
    }
}

const OP: &str = "a linear layer";

/// A table of vectors.
#[derive(Clone, Debug)]
pub struct Embedding {
    table: Table,
    size: usize,
}

#[derive(Clone, Debug)]
enum Table {
    Stored(Stored),
    Tensor(candle_nn::Embedding),
}

impl Embedding {
    /// Reads `weight` `[count, size]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(weights: &Weights, count: usize, size: usize) -> Result<Self> {
        let table = if weights.keeps_stored() {
            Table::Stored(weights.stored((count, size), "weight")?)
        } else {
            Table::Tensor(candle_nn::Embedding::new(weights.get((count, size), "weight")?, size))
        };
        Ok(Self { table, size })
    }

    /// u32 ids `[..]` to vectors `[.., size]`.
    ///
    /// # Errors
    /// When an id is not in the table.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let _span = profile::op("embedding", ids, || profile::sizes(ids))?;
        match &self.table {
            #[cfg(feature = "cuda")]
            Table::Tensor(table) if cuda::takes(table.embeddings()) => {
                cuda::table_rows(table.embeddings(), ids)
            }
            Table::Tensor(table) => Ok(table.forward(ids)?),
            Table::Stored(table) => {
                let rows = ids.flatten_all()?.to_vec1::<u32>()?;
                let table = table.floats();
                if let Some(id) = rows.iter().find(|id| **id as usize >= table.len() / self.size) {
                    let text = format!("id {id} is not in a table of {}", table.len() / self.size);
                    return Err(DiffusionError::Tensor(candle_core::Error::Msg(text)));
                }
                let shape: Vec<usize> = ids.dims().iter().copied().chain([self.size]).collect();
                cpu_tensor(shape, |out| {
                    for (id, row) in rows.iter().zip(out.chunks_exact_mut(self.size)) {
                        table.widen(*id as usize * self.size, row);
                    }
                })
            }
        }
    }
}
