//! Attention heads in sizes that candle's fused attention has kernels for.

use candle_core::{DType, DeviceLocation, Tensor};

use crate::diffusion::error::Result;
use crate::diffusion::nn::Backend;

/// Head sizes of candle's fused attention on Metal.
const FUSED: [usize; 6] = [32, 64, 72, 80, 96, 128];
/// More of them in 16-bit floats: in f32 their blocks do not fit into a threadgroup's memory. (candle 0.11.1 refuses
/// f32 at 512 only; at 256 the GPU refuses to make the kernel.)
const FUSED_HALF: [usize; 2] = [256, 512];

/// The heads of an attention: how many, of what size in the checkpoint, and of what size on the device.
///
/// Where they differ, the projections are padded with zeros when they are read: queries and keys get more zeros to
/// multiply, values and the output's columns more zeros to add, and nothing of it shows in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Heads.
    pub count: usize,
    /// Size of one in the checkpoint: what the scale is made from.
    pub size: usize,
    /// Size of one on the device.
    pub padded: usize,
}

impl Heads {
    /// `width` values in `count` heads, as such a device wants them.
    pub fn new(count: usize, width: usize, location: DeviceLocation, dtype: DType) -> Self {
        let size = width / count.max(1);
        let padded = match Backend::new(location, dtype) {
            Backend::Metal => fused(size, dtype).unwrap_or(size),
            _ => size,
        };
        Self { count, size, padded }
    }

    /// Values of all heads on the device.
    pub fn width(&self) -> usize {
        self.count * self.padded
    }

    /// `1 / √size`.
    pub fn scale(&self) -> f64 {
        1. / (self.size as f64).sqrt()
    }

    /// The weight `[count · size, ..]` or bias `[count · size]` of a projection to queries, keys or values.
    pub(in crate::diffusion::nn) fn pad_rows(&self, x: &Tensor) -> Result<Tensor> {
        if self.padded == self.size {
            return Ok(x.clone());
        }
        let rest = x.elem_count() / (self.count * self.size);
        let mut shape = x.dims().to_vec();
        shape[0] = self.width();
        let heads = x.reshape((self.count, self.size, rest))?;
        Ok(heads.pad_with_zeros(1, 0, self.padded - self.size)?.reshape(shape)?)
    }

    /// The weight `[outputs, count · size]` of the projection from the heads.
    pub(in crate::diffusion::nn) fn pad_columns(&self, x: &Tensor) -> Result<Tensor> {
        if self.padded == self.size {
            return Ok(x.clone());
        }
        let (outputs, _) = x.dims2()?;
        let heads = x.reshape((outputs, self.count, self.size))?;
        Ok(heads.pad_with_zeros(2, 0, self.padded - self.size)?.reshape((outputs, self.width()))?)
    }
}

/// The smallest size of at least `size` that has a fused kernel in f16.
pub fn fused_head_size(size: usize) -> Option<usize> {
    fused(size, DType::F16)
}

/// The smallest size of at least `size` that has a fused kernel in `dtype`.
pub(in crate::diffusion::nn) fn fused(size: usize, dtype: DType) -> Option<usize> {
    let half = FUSED_HALF.into_iter().filter(|_| dtype != DType::F32);
    FUSED.into_iter().chain(half).find(|fused| *fused >= size)
}
