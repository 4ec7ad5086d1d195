//! Matrix products with learned weights, the bias and the residual laid down first so that they are added in f32.

use candle_core::{Shape, Tensor};

use super::Argument::{Address as At, Long};
use super::gemm::Matrix;
use super::{Launcher, count};
use crate::diffusion::error::Result;
use crate::diffusion::nn::param::unfit;

const OP: &str = "a linear layer";
const THREADS: usize = 256;

/// `x Wᵀ + b`.
pub struct Linear<'a> {
    /// `[outputs, inputs]`.
    pub weight: &'a Tensor,
    /// `[outputs]`.
    pub bias: Option<&'a Tensor>,
}

impl Linear<'_> {
    /// `[.., inputs]` to `[.., outputs]`, plus `residual` of that shape.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let x = &x.contiguous()?;
        let cuda = Launcher::like(x, OP)?;
        let (outputs, rows, shape) = self.shape(x)?;
        let residual = residual.map(Tensor::contiguous).transpose()?;
        if let Some(residual) = residual.as_ref().filter(|r| r.dims() != shape.dims()) {
            return Err(unfit(OP, residual));
        }
        let y = cuda.uninitialised(shape)?;
        let to = cuda.address(&y)?;
        let added = self.lay_down(&cuda, to, rows, residual.as_ref())?;
        self.product(&cuda, x, rows, to, added)?;
        debug_assert_eq!(y.elem_count(), rows * outputs);
        Ok(y)
    }

    /// `[.., inputs]` to `[.., outputs / 2]`: the first half of the outputs times the GELU of the second.
    pub fn forward_geglu(&self, x: &Tensor) -> Result<Tensor> {
        let x = &x.contiguous()?;
        let cuda = Launcher::like(x, OP)?;
        let (outputs, rows, shape) = self.shape(x)?;
        let both = cuda.uninitialised(shape)?;
        let both_at = cuda.address(&both)?;
        self.product(&cuda, x, rows, both_at, false)?;
        let half = outputs / 2;
        let y = cuda.uninitialised(with_last(x, half))?;
        let (bias, to) = (cuda.optional(self.bias)?, cuda.address(&y)?);
        let (wide, name) = cuda.width(half, &[both_at, bias, to]);
        let grid = [(rows * half / wide).div_ceil(THREADS), 1, 1];
        let arguments = [At(both_at), At(bias), At(to), count(half), Long((rows * half) as u64)];
        cuda.launch(&format!("geglu_{name}"), grid, THREADS, &arguments)?;
        Ok(y)
    }

    /// The pixels of `[b, inputs, h, w]` as rows: `[b, h · w, outputs]`.
    pub fn forward_from_pixels(&self, x: &Tensor) -> Result<Tensor> {
        let x = &x.contiguous()?;
        let cuda = Launcher::like(x, OP)?;
        let (batch, inputs, height, width) = x.dims4()?;
        let (outputs, expected) = self.weight.dims2()?;
        if inputs != expected {
            return Err(unfit(OP, x));
        }
        let pixels = height * width;
        let y = cuda.uninitialised((batch, pixels, outputs))?;
        let to = cuda.address(&y)?;
        let add = self.lay_down(&cuda, to, batch * pixels, None)?;
        let pictures = Matrix::packed(cuda.address(x)?, pixels).step(inputs * pixels).transpose();
        let weights = Matrix::packed(cuda.address(self.weight)?, inputs).transpose();
        let sums = Matrix::packed(to, outputs).step(pixels * outputs);
        cuda.product([pixels, outputs, inputs], pictures, weights, sums, batch, add)?;
        Ok(y)
    }

    /// `[b, h · w, inputs]` as pixels again, added to `residual`: `[b, outputs, h, w]`.
    pub fn forward_to_pixels_add(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let (x, residual) = (&x.contiguous()?, &residual.contiguous()?);
        let cuda = Launcher::like(x, OP)?;
        let (batch, outputs, height, width) = residual.dims4()?;
        let pixels = height * width;
        let (expected, inputs) = self.weight.dims2()?;
        if x.dims() != [batch, pixels, inputs] || outputs != expected {
            return Err(unfit(OP, x));
        }
        let y = cuda.uninitialised(residual.shape())?;
        let (bias, added, to) = (cuda.optional(self.bias)?, cuda.address(residual)?, cuda.address(&y)?);
        let (wide, name) = cuda.width(pixels, &[added, to]);
        let arguments = [At(bias), At(0), At(added), At(to), count(outputs), count(pixels), count(1)];
        let grid = [(pixels / wide).div_ceil(THREADS), batch * outputs, 1];
        cuda.launch(&format!("add_to_planes_{name}"), grid, THREADS, &arguments)?;
        let rows = Matrix::packed(cuda.address(x)?, inputs).step(pixels * inputs).transpose();
        let weights = Matrix::packed(cuda.address(self.weight)?, inputs);
        let sums = Matrix::packed(to, pixels).step(outputs * pixels);
        cuda.product([outputs, pixels, inputs], weights, rows, sums, batch, true)?;
        Ok(y)
    }

    /// Outputs, rows of `x`, and the shape of the result.
    fn shape(&self, x: &Tensor) -> Result<(usize, usize, Shape)> {
        let (outputs, inputs) = self.weight.dims2()?;
        if x.dims().last() != Some(&inputs) || inputs == 0 {
            return Err(unfit(OP, x));
        }
        Ok((outputs, x.elem_count() / inputs, with_last(x, outputs)))
    }

    /// Writes bias and residual to the rows at `to`; whether there was anything to write.
    fn lay_down(&self, cuda: &Launcher<'_>, to: u64, rows: usize, residual: Option<&Tensor>) -> Result<bool> {
        let (bias, added) = (cuda.optional(self.bias)?, cuda.optional(residual)?);
        if (bias, added) == (0, 0) {
            return Ok(false);
        }
        let outputs = self.weight.dim(0)?;
        let (wide, name) = cuda.width(outputs, &[bias, added, to]);
        let grid = [(rows * outputs / wide).div_ceil(THREADS), 1, 1];
        let arguments = [At(bias), At(added), At(to), count(outputs), Long((rows * outputs) as u64)];
        cuda.launch(&format!("add_to_rows_{name}"), grid, THREADS, &arguments)?;
        Ok(true)
    }

    fn product(&self, cuda: &Launcher<'_>, x: &Tensor, rows: usize, to: u64, add: bool) -> Result<()> {
        let (outputs, inputs) = self.weight.dims2()?;
        let weights = Matrix::packed(cuda.address(self.weight)?, inputs).transpose();
        let sums = Matrix::packed(to, outputs);
        let x = Matrix::packed(cuda.address(x)?, inputs);
        cuda.product([rows, outputs, inputs], x, weights, sums, 1, add)
    }
}

/// The shape of `x` with another last dimension.
fn with_last(x: &Tensor, last: usize) -> Shape {
    let mut dims = x.dims().to_vec();
    if let Some(size) = dims.last_mut() {
        *size = last;
    }
    dims.into()
}
