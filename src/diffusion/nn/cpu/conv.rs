//! Convolutions as matrix products: 1×1 directly, all others from columns gathered panel by panel.
#![allow(clippy::inline_always, reason = "see `simd`")]

use super::floats::Floats;
use super::gemm::{Columns, DenseColumns, Finish, Rows, gemm};
use super::simd::{Level, Simd};

/// A convolution with a square kernel.
#[derive(Clone, Copy)]
pub struct Conv<'a> {
    /// Pictures.
    pub batch: usize,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Kernel rows and columns.
    pub kernel: usize,
    /// Pixels from one place of the kernel to the next.
    pub stride: usize,
    /// Rows and columns of zeros around the picture.
    pub padding: usize,
    /// `[batch, inputs, height, width]`.
    pub x: &'a [f32],
    /// `[outputs, inputs, kernel, kernel]`.
    pub weight: Floats<'a>,
    /// `[outputs]`, or `[batch, outputs]`.
    pub bias: &'a [f32],
    /// Added to the result; of its shape.
    pub residual: Option<&'a [f32]>,
}

impl Conv<'_> {
    /// Output rows and columns.
    pub fn output_size(&self) -> (usize, usize) {
        let of = |n: usize| (n + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1;
        (of(self.height), of(self.width))
    }

    /// The biases of one picture.
    pub fn bias_of(&self, image: usize) -> &[f32] {
        if self.bias.len() == self.outputs {
            self.bias
        } else {
            &self.bias[image * self.outputs..][..self.outputs]
        }
    }

    /// Writes `[batch, outputs, height', width']`.
    pub fn forward(&self, level: Level, out: &mut [f32]) {
        let (height, width) = self.output_size();
        let pixels = height * width;
        let depth = self.inputs * self.kernel * self.kernel;
        let size = (self.outputs, pixels, depth);
        let rows = WeightRows { weight: self.weight, k: depth };
        for image in 0..self.batch {
            let x = &self.x[image * self.inputs * self.height * self.width..];
            let x = &x[..self.inputs * self.height * self.width];
            let range = image * self.outputs * pixels..(image + 1) * self.outputs * pixels;
            let residual = self.residual.map(|r| &r[range.clone()]);
            let finish = BiasOfRow { bias: self.bias_of(image), residual, n: pixels };
            let out = &mut out[range];
            if self.kernel == 1 && self.stride == 1 && self.padding == 0 {
                gemm(level, size, &rows, &DenseColumns { data: x, n: pixels }, &finish, out);
            } else {
                gemm(level, size, &rows, &Patches { conv: self, x, width }, &finish, out);
            }
        }
    }
}

/// Rows of a weight.
pub struct WeightRows<'a> {
    /// `[m, k]`.
    pub weight: Floats<'a>,
    /// Row length.
    pub k: usize,
}

impl Rows for WeightRows<'_> {
    fn rows<'a>(&'a self, first: usize, count: usize, buffer: &'a mut [f32]) -> (&'a [f32], usize) {
        if let Floats::F32(weight) = self.weight {
            return (&weight[first * self.k..(first + count) * self.k], self.k);
        }
        let buffer = &mut buffer[..count * self.k];
        self.weight.widen(first * self.k, buffer);
        (buffer, self.k)
    }
    fn buffer(&self, count: usize) -> usize {
        if matches!(self.weight, Floats::F32(_)) { 0 } else { count * self.k }
    }
}

/// `sums + bias[row] (+ residual)`.
pub struct BiasOfRow<'a> {
    /// `[m]`.
    pub bias: &'a [f32],
    /// `[m, n]`.
    pub residual: Option<&'a [f32]>,
    /// Row length.
    pub n: usize,
}

impl Finish for BiasOfRow<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&self, _: S, row: usize, column: usize, sums: &[f32], out: &mut [f32]) {
        let bias = self.bias[row];
        if let Some(residual) = self.residual {
            let residual = &residual[row * self.n + column..][..out.len()];
            for ((to, sum), r) in out.iter_mut().zip(sums).zip(residual) {
                *to = sum + bias + r;
            }
        } else {
            for (to, sum) in out.iter_mut().zip(sums) {
                *to = sum + bias;
            }
        }
    }
}

/// The input pixels under the kernel, an output pixel a column.
struct Patches<'a> {
    conv: &'a Conv<'a>,
    /// One picture.
    x: &'a [f32],
    /// Output columns.
    width: usize,
}

impl Columns for Patches<'_> {
    #[inline(always)]
    fn pack<S: Simd>(&self, _: S, first: usize, count: usize, width: usize, panel: &mut [f32]) {
        let conv = self.conv;
        let kernel = conv.kernel;
        for (index, to) in panel.chunks_exact_mut(width).enumerate() {
            let (channel, ky, kx) = (index / (kernel * kernel), index / kernel % kernel, index % kernel);
            let plane = &self.x[channel * conv.height * conv.width..][..conv.height * conv.width];
            to[count..].fill(0.);
            // Output row by output row.
            let mut at = 0;
            while at < count {
                let (oy, ox) = ((first + at) / self.width, (first + at) % self.width);
                let len = (self.width - ox).min(count - at);
                let to = &mut to[at..at + len];
                let y = (oy * conv.stride + ky).wrapping_sub(conv.padding);
                if y < conv.height {
                    copy_row(&plane[y * conv.width..][..conv.width], ox * conv.stride + kx, conv, to);
                } else {
                    to.fill(0.);
                }
                at += len;
            }
        }
    }
}

/// Every `stride`-th pixel from column `start − padding` on, zeros outside.
#[inline(always)]
fn copy_row(row: &[f32], start: usize, conv: &Conv, to: &mut [f32]) {
    // Columns before the picture, then inside it, then behind it.
    let before = conv.padding.saturating_sub(start).div_ceil(conv.stride).min(to.len());
    let first = start + before * conv.stride - conv.padding;
    let inside = row.len().saturating_sub(first).div_ceil(conv.stride).min(to.len() - before);
    to[..before].fill(0.);
    if inside > 0 {
        let source = &row[first..];
        let to = &mut to[before..before + inside];
        if conv.stride == 1 {
            to.copy_from_slice(&source[..inside]);
        } else {
            to.iter_mut().zip(source.iter().step_by(conv.stride)).for_each(|(to, x)| *to = *x);
        }
    }
    to[before + inside..].fill(0.);
}
