//! Learned parameters and tensors as the ops take them: stored values on the CPU, tensors on every other device.

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Device, Shape, Storage, StorageRef, Tensor};

use super::Backend;
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::weights::{Stored, Weights};

/// A layer's weight and bias, `W` being how the CPU's op takes the weight.
#[derive(Clone, Debug)]
pub(super) enum Params<W> {
    /// For the CPU's ops.
    Cpu { weight: W, bias: Option<Vec<f32>> },
    /// On the model's device in the model's dtype.
    Device { weight: Tensor, bias: Option<Tensor> },
}

impl Params<Stored> {
    /// Reads `weight` of this shape, and `bias` of that length where there is to be one.
    pub fn load(weights: &Weights, shape: impl Into<Shape>, bias: Option<usize>) -> Result<Self> {
        if weights.keeps_stored() {
            let bias = bias.map(|size| Ok::<_, DiffusionError>(weights.stored(size, "bias")?.to_vec()));
            return Ok(Self::Cpu { weight: weights.stored(shape, "weight")?, bias: bias.transpose()? });
        }
        let bias = bias.map(|size| weights.get(size, "bias")).transpose()?;
        Ok(Self::Device { weight: weights.get(shape, "weight")?, bias })
    }
}

impl Params<Vec<f32>> {
    /// Reads `weight` and `bias`, both of this length.
    pub fn load(weights: &Weights, size: usize) -> Result<Self> {
        Ok(match Params::<Stored>::load(weights, size, Some(size))? {
            Params::Cpu { weight, bias } => Self::Cpu { weight: weight.to_vec(), bias },
            Params::Device { weight, bias } => Self::Device { weight, bias },
        })
    }
}

/// The values of a contiguous f32 tensor on the CPU.
pub(super) struct CpuValues<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> CpuValues<'a> {
    /// The values of `x`, an input of `op`.
    ///
    /// # Errors
    /// When it is not contiguous, not f32, or not on the CPU.
    pub fn of(x: &'a Tensor, op: &str) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => Ok(Self { storage, range: start..end }),
            _ => Err(unfit(op, x)),
        }
    }
}

impl Deref for CpuValues<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => &[],
        }
    }
}

/// Whether the CPU's ops can take `x` (made contiguous).
pub(super) fn is_cpu_f32(x: &Tensor) -> bool {
    Backend::of(x) == Backend::Cpu
}

/// A tensor on the CPU that `fill` writes.
pub(super) fn cpu_tensor(shape: impl Into<Shape>, fill: impl FnOnce(&mut [f32])) -> Result<Tensor> {
    let shape = shape.into();
    let mut values = vec![0.; shape.elem_count()];
    fill(&mut values);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// `op` was given a tensor that it cannot take.
pub(super) fn unfit(op: &str, x: &Tensor) -> DiffusionError {
    let text = format!("{op} cannot take {:?} {:?} on {:?}", x.dtype(), x.shape(), x.device().location());
    DiffusionError::Tensor(candle_core::Error::Msg(text))
}
