//! Convolution as one matrix product whose result is in the order of pictures.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::add::{Added, add};
use super::floats;
use crate::diffusion::error::Result;

/// Elements of one tensor that candle's kernels can count.
const MOST_ELEMENTS: usize = 1 << 31;

/// A convolution over `[b, inputs, h, w]`.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// `[outputs, inputs, kernel, kernel]`.
    pub weight: &'a Tensor,
    /// `[outputs]`.
    pub bias: Option<&'a Tensor>,
    pub stride: usize,
    pub padding: usize,
}

impl Conv<'_> {
    /// Of `x`, first enlarged to `enlarged` (height, width) if that is given: `[b, outputs, h', w']`, plus `shift`
    /// `[b or 1, outputs]` and `residual` of the result's shape. The workspace stays below `budget` bytes, or as near
    /// as one row comes.
    pub fn forward(
        &self,
        x: &Tensor,
        enlarged: Option<(usize, usize)>,
        shift: Option<&Tensor>,
        residual: Option<&Tensor>,
        budget: usize,
    ) -> Result<Tensor> {
        let (b, c, h, w) = x.dims4()?;
        let (outputs, inputs, kernel, _) = self.weight.dims4()?;
        if c != inputs {
            return Err(crate::diffusion::nn::param::unfit("a convolution", x));
        }
        let (up_height, up_width) = enlarged.unwrap_or((h, w));
        let size = |n: usize| (n + 2 * self.padding).saturating_sub(kernel) / self.stride + 1;
        let (rows, columns) = (size(up_height), size(up_width));
        let taps = inputs * kernel * kernel;
        let weight = self.weight.reshape((1, outputs, taps))?.broadcast_as((b, outputs, taps))?;
        let y = if (kernel, self.stride, self.padding) == (1, 1, 0) && enlarged.is_none() {
            weight.matmul(&x.contiguous()?.reshape((b, c, h * w))?)?
        } else {
            let x = x.contiguous()?;
            let at_once = rows_at_once(b * columns * taps, x.dtype().size_in_bytes(), budget).min(rows);
            let mut bands = Vec::new();
            for first_row in (0..rows).step_by(at_once) {
                let rows = at_once.min(rows - first_row);
                let im2col = Im2col {
                    kernel,
                    stride: self.stride,
                    padding: self.padding,
                    up_height,
                    up_width,
                    first_row,
                    rows,
                    columns,
                };
                bands.push(weight.matmul(&x.apply_op1_no_bwd(&im2col)?)?);
            }
            if bands.len() == 1 { bands.remove(0) } else { Tensor::cat(&bands, 2)? }
        };
        let added = Added { bias: self.bias, shift, residual };
        Ok(add(&y, outputs, rows * columns, &added)?.reshape((b, outputs, rows, columns))?)
    }
}

/// Output rows whose workspace fits. candle rounds every buffer up to a power of two, so what must fit is the power of
/// two: a budget that is none counts as the next one below.
pub fn rows_at_once(values_a_row: usize, value_bytes: usize, budget: usize) -> usize {
    let budget = if budget.is_power_of_two() { budget } else { (budget / 2 + 1).next_power_of_two() };
    let by_budget = budget / (values_a_row * value_bytes).max(1);
    by_budget.min(MOST_ELEMENTS / values_a_row.max(1)).max(1)
}

/// `[b, c, h, w]` to `[b, c · kernel², rows · columns]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Im2col {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub up_height: usize,
    pub up_width: usize,
    pub first_row: usize,
    pub rows: usize,
    pub columns: usize,
}

#[cfg(any(test, all(target_os = "macos", feature = "metal")))]
impl Im2col {
    pub(super) fn dispatch(&self, layout: &Layout) -> candle_core::Result<(super::Dispatch, Shape)> {
        let (b, c, h, w) = layout.shape().dims4()?;
        let (taps, pixels) = (self.kernel * self.kernel, self.rows * self.columns);
        let params = [
            c,
            h,
            w,
            self.up_height,
            self.up_width,
            self.kernel,
            self.stride,
            self.padding,
            self.first_row,
            self.rows,
            self.columns,
        ];
        let grid = [pixels.div_ceil(super::THREADS), c * taps, b];
        let dispatch = super::Dispatch::new("im2col", &params, grid, b * c * taps * pixels)?;
        Ok((dispatch, Shape::from((b, c * taps, pixels))))
    }
}

impl CustomOp1 for Im2col {
    fn name(&self) -> &'static str {
        "im2col"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (b, c, h, w) = layout.shape().dims4()?;
        let x = floats(x, layout)?;
        let (taps, pixels) = (self.kernel * self.kernel, self.rows * self.columns);
        let mut y = vec![0f32; b * c * taps * pixels];
        for (at, y) in y.iter_mut().enumerate() {
            let (plane, tap, pixel) = (at / pixels / taps, at / pixels % taps, at % pixels);
            let row = (self.first_row + pixel / self.columns) * self.stride + tap / self.kernel;
            let column = pixel % self.columns * self.stride + tap % self.kernel;
            let (Some(row), Some(column)) = (row.checked_sub(self.padding), column.checked_sub(self.padding))
            else {
                continue;
            };
            if row < self.up_height && column < self.up_width {
                let (row, column) = (row * h / self.up_height, column * w / self.up_width);
                *y = x[(plane * h + row) * w + column];
            }
        }
        Ok((CpuStorage::F32(y), Shape::from((b, c * taps, pixels))))
    }

    #[cfg(all(target_os = "macos", feature = "metal"))]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        layout: &Layout,
    ) -> candle_core::Result<(candle_core::MetalStorage, Shape)> {
        use super::launch::{Input, launch};

        let (dispatch, shape) = self.dispatch(layout)?;
        let y = launch(include_str!("im2col.metal"), &dispatch, &[Input::new(x, layout)], None)?;
        Ok((y, shape))
    }
}
