//! Products with learned matrices, transposed while their panels are packed.
#![allow(clippy::inline_always, reason = "see `simd`")]

use rayon::prelude::*;

use super::conv::{BiasOfRow, WeightRows};
use super::floats::Floats;
use super::gemm::{Columns, DenseRows, Finish, Rows, gemm};
use super::math::gelu;
use super::scratch::scratch;
use super::simd::{Kernel, Level, MAX_LANES, MAX_WIDTH, Simd, transpose};

/// Up to this many rows a dot product for each output is faster than packing.
const FEW_ROWS: usize = 4;

/// `y = x Wᵀ + b`.
#[derive(Clone, Copy)]
pub struct Linear<'a> {
    /// Length of a row of `x`.
    pub inputs: usize,
    /// Length of a row of `y`.
    pub outputs: usize,
    /// `[outputs, inputs]`.
    pub weight: Floats<'a>,
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
}

impl Linear<'_> {
    /// Writes `[rows, outputs]`; `residual`, of the same shape, is added.
    pub fn forward(&self, level: Level, x: &[f32], residual: Option<&[f32]>, out: &mut [f32]) {
        let rows = x.len() / self.inputs;
        if rows <= FEW_ROWS {
            return self.dots(level, x, residual, out);
        }
        let size = (rows, self.outputs, self.inputs);
        let finish = BiasOfColumn { bias: self.bias, residual, n: self.outputs };
        let (x, columns) = (DenseRows { data: x, k: self.inputs }, Transposed { linear: self, gate: 0 });
        gemm(level, size, &x, &columns, &finish, out);
    }

    /// diffusers' GEGLU, `[rows, outputs / 2]`: the first half of `y` times the GELU of the second.
    pub fn forward_geglu(&self, level: Level, x: &[f32], out: &mut [f32]) {
        let size = (x.len() / self.inputs, self.outputs, self.inputs);
        let gate = self.outputs / 2;
        let (x, columns) = (DenseRows { data: x, k: self.inputs }, Transposed { linear: self, gate });
        gemm(level, size, &x, &columns, &Geglu { bias: self.bias, gate }, out);
    }

    /// Takes `x` as `[batch, inputs, pixels]` and writes `[batch, pixels, outputs]`.
    pub fn forward_from_pixels(&self, level: Level, x: &[f32], pixels: usize, out: &mut [f32]) {
        let size = (pixels, self.outputs, self.inputs);
        let columns = Transposed { linear: self, gate: 0 };
        let finish = BiasOfColumn { bias: self.bias, residual: None, n: self.outputs };
        let images = x.chunks_exact(pixels * self.inputs).zip(out.chunks_exact_mut(pixels * self.outputs));
        for (x, out) in images {
            gemm(level, size, &PixelRows { level, x, pixels, k: self.inputs }, &columns, &finish, out);
        }
    }

    /// Takes `x` as `[batch, pixels, inputs]` and writes `[batch, outputs, pixels]`, to which `residual`, of the same
    /// shape, is added.
    pub fn forward_to_pixels(
        &self,
        level: Level,
        x: &[f32],
        pixels: usize,
        residual: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let size = (self.outputs, pixels, self.inputs);
        let rows = WeightRows { weight: self.weight, k: self.inputs };
        let no_bias = if self.bias.is_none() { vec![0.; self.outputs] } else { vec![] };
        let bias = self.bias.unwrap_or(&no_bias);
        let image_floats = pixels * self.outputs;
        for (image, out) in out.chunks_exact_mut(image_floats).enumerate() {
            // The picture takes the place of the weight: its rows are the pixels.
            let x = &x[image * pixels * self.inputs..][..pixels * self.inputs];
            let x = Linear { inputs: self.inputs, outputs: pixels, weight: Floats::F32(x), bias: None };
            let residual = residual.map(|r| &r[image * image_floats..][..image_floats]);
            let finish = BiasOfRow { bias, residual, n: pixels };
            gemm(level, size, &rows, &Transposed { linear: &x, gate: 0 }, &finish, out);
        }
    }

    fn dots(&self, level: Level, x: &[f32], residual: Option<&[f32]>, out: &mut [f32]) {
        const AT_ONCE: usize = 64;
        let rows = x.len() / self.inputs;
        let mut results = scratch(rows * self.outputs);
        results.par_chunks_mut(AT_ONCE * rows).enumerate().for_each(|(i, to)| {
            level.run(Dots { linear: self, x, rows, first: i * AT_ONCE, to });
        });
        for (row, out) in out.chunks_exact_mut(self.outputs).enumerate() {
            for (column, out) in out.iter_mut().enumerate() {
                let bias = self.bias.map_or(0., |b| b[column]);
                let residual = residual.map_or(0., |r| r[row * self.outputs + column]);
                *out = results[column * rows + row] + bias + residual;
            }
        }
    }
}

struct Dots<'a> {
    linear: &'a Linear<'a>,
    x: &'a [f32],
    rows: usize,
    first: usize,
    /// `[outputs, rows]`.
    to: &'a mut [f32],
}

impl Kernel for Dots<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let k = self.linear.inputs;
        let mut weight = scratch(k);
        for (i, to) in self.to.chunks_exact_mut(self.rows).enumerate() {
            self.linear.weight.widen_with(s, (self.first + i) * k, &mut weight);
            for (x, to) in self.x.chunks_exact(k).zip(to) {
                let mut sums = [s.splat(0.); 4];
                let (mut x, mut w) = (x.chunks_exact(4 * S::LANES), weight.chunks_exact(4 * S::LANES));
                for (x, w) in (&mut x).zip(&mut w) {
                    for (j, sum) in sums.iter_mut().enumerate() {
                        *sum = s.mul_add(s.load(&x[j * S::LANES..]), s.load(&w[j * S::LANES..]), *sum);
                    }
                }
                let rest: f32 = x.remainder().iter().zip(w.remainder()).map(|(x, w)| x * w).sum();
                *to = s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3]))) + rest;
            }
        }
    }
}

/// The pixels of `[k, pixels]` as rows.
struct PixelRows<'a> {
    level: Level,
    x: &'a [f32],
    pixels: usize,
    k: usize,
}

impl Rows for PixelRows<'_> {
    fn rows<'a>(&'a self, first: usize, count: usize, buffer: &'a mut [f32]) -> (&'a [f32], usize) {
        self.level.run(Turn { rows: self, first, count, to: buffer });
        (buffer, self.k)
    }
    fn buffer(&self, count: usize) -> usize {
        count * self.k
    }
}

struct Turn<'a> {
    rows: &'a PixelRows<'a>,
    first: usize,
    count: usize,
    /// `[count, k]`.
    to: &'a mut [f32],
}

impl Kernel for Turn<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let PixelRows { x, pixels, k, .. } = *self.rows;
        let mut block = [[0.; MAX_LANES]; MAX_LANES];
        for start in (0..k).step_by(S::LANES) {
            for pixel in (0..self.count).step_by(S::LANES) {
                let (depth, count) = (S::LANES.min(k - start), S::LANES.min(self.count - pixel));
                let at = start * pixels + self.first + pixel;
                if depth == S::LANES && count == S::LANES {
                    transpose(s, &x[at..], pixels, &mut block);
                    for (i, row) in block[..S::LANES].iter().enumerate() {
                        self.to[(pixel + i) * k + start..][..S::LANES].copy_from_slice(&row[..S::LANES]);
                    }
                } else {
                    for (i, j) in (0..count).flat_map(|i| (0..depth).map(move |j| (i, j))) {
                        self.to[(pixel + i) * k + start + j] = x[at + j * pixels + i];
                    }
                }
            }
        }
    }
}

/// `Wᵀ`. With a `gate`, half of a panel's columns are columns of values and half those that many further on.
struct Transposed<'a> {
    linear: &'a Linear<'a>,
    gate: usize,
}

impl Transposed<'_> {
    /// The output that column `i` of `count` in the panel that starts at `first` belongs to.
    #[inline(always)]
    fn output(&self, first: usize, count: usize, i: usize) -> usize {
        if self.gate == 0 {
            first + i
        } else if i < count / 2 {
            first / 2 + i
        } else {
            self.gate + first / 2 + i - count / 2
        }
    }
}

impl Columns for Transposed<'_> {
    #[inline(always)]
    fn pack<S: Simd>(&self, s: S, first: usize, count: usize, width: usize, panel: &mut [f32]) {
        const PIECE: usize = 128;
        let k = self.linear.inputs;
        // Rows of weights, a piece at a time; past the end, since whole vectors are read.
        let mut rows = [0.; MAX_LANES * PIECE];
        let mut block = [[0.; MAX_LANES]; MAX_LANES];
        for column in (0..width).step_by(S::LANES) {
            for start in (0..k).step_by(PIECE) {
                let len = PIECE.min(k - start);
                for lane in 0..S::LANES {
                    let to = &mut rows[lane * PIECE..][..len];
                    if column + lane < count {
                        let output = self.output(first, count, column + lane);
                        self.linear.weight.widen_with(s, output * k + start, to);
                    } else {
                        to.fill(0.);
                    }
                }
                for at in (0..len).step_by(S::LANES) {
                    transpose(s, &rows[at..], PIECE, &mut block);
                    for (i, lanes) in block[..S::LANES.min(len - at)].iter().enumerate() {
                        let to = &mut panel[(start + at + i) * width + column..];
                        to[..S::LANES].copy_from_slice(&lanes[..S::LANES]);
                    }
                }
            }
        }
    }
}

/// `sums + bias[column] (+ residual)`.
struct BiasOfColumn<'a> {
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    n: usize,
}

impl Finish for BiasOfColumn<'_> {
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, row: usize, column: usize, sums: &[f32], out: &mut [f32]) {
        let bias = self.bias.map(|bias| &bias[column..][..out.len()]);
        let residual = self.residual.map(|residual| &residual[row * self.n + column..][..out.len()]);
        add_up(s, sums, bias, residual, out);
    }
}

/// `out = sums + a + b`, where there is an `a` and a `b`; all of one length.
#[inline(always)]
fn add_up<S: Simd>(s: S, sums: &[f32], a: Option<&[f32]>, b: Option<&[f32]>, out: &mut [f32]) {
    if out.len() < S::LANES {
        for (i, to) in out.iter_mut().enumerate() {
            *to = sums[i] + a.map_or(0., |a| a[i]) + b.map_or(0., |b| b[i]);
        }
        return;
    }
    for at in (0..out.len()).step_by(S::LANES) {
        // The last vector may overlap the one before.
        let at = at.min(out.len() - S::LANES);
        let mut sum = s.load(&sums[at..]);
        if let Some(a) = a {
            sum = s.add(sum, s.load(&a[at..]));
        }
        if let Some(b) = b {
            sum = s.add(sum, s.load(&b[at..]));
        }
        s.store(&mut out[at..], sum);
    }
}

struct Geglu<'a> {
    bias: Option<&'a [f32]>,
    gate: usize,
}

impl Finish for Geglu<'_> {
    const FOLD: usize = 2;

    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, _: usize, column: usize, sums: &[f32], out: &mut [f32]) {
        let half = out.len();
        let column = column / 2;
        let biases = self.bias.map(|bias| (&bias[column..][..half], &bias[self.gate + column..][..half]));
        let (value_bias, gate_bias) = biases.unzip();
        let (mut values, mut gates) = ([0.; MAX_WIDTH], [0.; MAX_WIDTH]);
        add_up(s, &sums[..half], value_bias, None, &mut values[..half]);
        add_up(s, &sums[half..2 * half], gate_bias, None, &mut gates[..half]);
        if half < S::LANES {
            // What lies past the panel's columns is never written back.
            let product = s.mul(s.load(&values), gelu(s, s.load(&gates)));
            s.store(&mut values, product);
            out.copy_from_slice(&values[..half]);
            return;
        }
        for at in (0..half).step_by(S::LANES) {
            let at = at.min(half - S::LANES);
            let product = s.mul(s.load(&values[at..]), gelu(s, s.load(&gates[at..])));
            s.store(&mut out[at..], product);
        }
    }
}
