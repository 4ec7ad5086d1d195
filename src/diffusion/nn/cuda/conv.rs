//! Convolution: the patches of a band of output rows, written once and coalesced, times the weights.

use candle_core::Tensor;

use super::Argument::{Address as At, Counts};
use super::gemm::Matrix;
use super::{Launcher, count};
use crate::diffusion::error::Result;
use crate::diffusion::nn::Backend;
use crate::diffusion::nn::param::unfit;

const OP: &str = "a convolution";
const THREADS: usize = 128;

/// A square convolution and what is added to it.
pub struct Conv<'a> {
    /// `[outputs, inputs, kernel, kernel]`.
    pub weight: &'a Tensor,
    /// `[outputs]`.
    pub bias: Option<&'a Tensor>,
    /// `[b or 1, outputs]`, the same for all pixels.
    pub shift: Option<&'a Tensor>,
    /// `[b, outputs, h', w']`.
    pub residual: Option<&'a Tensor>,
    pub stride: usize,
    pub padding: usize,
    /// The picture's pixels count twice in each direction.
    pub upsample: bool,
    /// Bytes for the patches of one band.
    pub workspace: usize,
}

impl Conv<'_> {
    /// `[b, inputs, h, w]` to `[b, outputs, h', w']`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = &x.contiguous()?;
        let cuda = Launcher::like(x, OP)?;
        let (batch, inputs, height, width) = x.dims4()?;
        let (outputs, channels, kernel, _) = self.weight.dims4()?;
        let scale = 1 + usize::from(self.upsample);
        let size =
            |n: usize| ((n * scale + 2 * self.padding).checked_sub(kernel)).map(|n| n / self.stride + 1);
        let (Some(rows), Some(columns)) = (size(height), size(width)) else { return Err(unfit(OP, x)) };
        if channels != inputs || x.elem_count() == 0 {
            return Err(unfit(OP, x));
        }
        let pixels = rows * columns;
        let y = self.start(&cuda, [batch, outputs, rows, columns])?;
        let add = self.bias.is_some() || self.shift.is_some() || self.residual.is_some();
        let weight = cuda.address(&self.weight.contiguous()?)?;
        let (from, to) = (cuda.address(x)?, cuda.address(&y)?);
        let depth = inputs * kernel * kernel;
        let weights = Matrix::packed(weight, depth);
        if (kernel, self.stride, self.padding, self.upsample) == (1, 1, 0, false) {
            let pictures = Matrix::packed(from, pixels).step(inputs * pixels);
            let sums = Matrix::packed(to, pixels).step(outputs * pixels);
            cuda.product([outputs, pixels, inputs], weights, pictures, sums, batch, add)?;
            return Ok(y);
        }
        let at_once =
            Backend::Cuda.rows_at_once(batch * depth * columns, cuda.size(), self.workspace).min(rows);
        let patches = cuda.uninitialised((batch, depth, at_once * columns))?;
        let patches_at = cuda.address(&patches)?;
        for first in (0..rows).step_by(at_once) {
            let band = at_once.min(rows - first) * columns;
            let (wide, width_name) = cuda.width(columns, &[from, patches_at]);
            // A run of the picture must be as even as a run of the result for the wide kernel to read it.
            let (wide, width_name) =
                if width.is_multiple_of(wide) { (wide, width_name) } else { (1, "each") };
            let upsample = usize::from(self.upsample);
            let geometry = [inputs, height, width, upsample, columns, first, band].map(|n| n as u32);
            let mut arguments = vec![At(from), At(patches_at), Counts(geometry)];
            let name = if (kernel, self.stride, self.padding) == (3, 1, 1) {
                format!("patches_3x3_{width_name}")
            } else {
                arguments.extend([count(kernel), count(self.stride), count(self.padding)]);
                format!("patches_{width_name}")
            };
            let grid = [(band / wide).div_ceil(THREADS), inputs, batch];
            cuda.launch(&name, grid, THREADS, &arguments)?;
            let columns_of_band = Matrix::packed(patches_at, band).step(depth * band);
            let sums = Matrix {
                at: to + (first * columns * cuda.size()) as u64,
                row: pixels,
                step: outputs * pixels,
                transposed: false,
            };
            cuda.product([outputs, band, depth], weights, columns_of_band, sums, batch, add)?;
        }
        Ok(y)
    }

    /// The result with what is added to the convolution already in it.
    fn start(&self, cuda: &Launcher<'_>, shape: [usize; 4]) -> Result<Tensor> {
        let [batch, outputs, rows, columns] = shape;
        let y = cuda.uninitialised((batch, outputs, rows, columns))?;
        let residual = self.residual.map(Tensor::contiguous).transpose()?;
        if let Some(residual) = residual.as_ref().filter(|r| r.dims() != shape) {
            return Err(unfit(OP, residual));
        }
        let shift = self.shift.map(Tensor::contiguous).transpose()?;
        let shift_rows = match &shift {
            Some(shift) if shift.dims() == [batch, outputs] || shift.dims() == [1, outputs] => {
                shift.dim(0)?
            }
            Some(shift) => return Err(unfit(OP, shift)),
            None => 1,
        };
        let bias = cuda.optional(self.bias)?;
        let (shift, added) = (cuda.optional(shift.as_ref())?, cuda.optional(residual.as_ref())?);
        if (bias, shift, added) == (0, 0, 0) {
            return Ok(y);
        }
        let (to, pixels) = (cuda.address(&y)?, rows * columns);
        let (wide, name) = cuda.width(pixels, &[added, to]);
        let arguments =
            [At(bias), At(shift), At(added), At(to), count(outputs), count(pixels), count(shift_rows)];
        let grid = [(pixels / wide).div_ceil(THREADS), batch * outputs, 1];
        cuda.launch(&format!("add_to_planes_{name}"), grid, THREADS, &arguments)?;
        Ok(y)
    }
}
