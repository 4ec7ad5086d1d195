//! Group and layer normalisation with f64 sums, SiLU fused.
#![allow(clippy::inline_always, reason = "see `simd`")]

use rayon::prelude::*;

use super::math::{Elementwise, each, swish};
use super::simd::{Kernel, Level, Simd};

/// A group normalisation of `[batch, channels, pixels]`.
#[derive(Clone, Copy)]
pub struct GroupNorm<'a> {
    /// Groups of channels.
    pub groups: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels of a channel.
    pub pixels: usize,
    /// Added to the variance.
    pub eps: f64,
    /// `[channels]`.
    pub weight: &'a [f32],
    /// `[channels]`.
    pub bias: &'a [f32],
    /// Whether SiLU follows.
    pub silu: bool,
}

impl GroupNorm<'_> {
    /// Writes the normalised `x`.
    pub fn forward(&self, level: Level, x: &[f32], out: &mut [f32]) {
        let size = self.channels / self.groups * self.pixels;
        out.par_chunks_mut(size).zip(x.par_chunks(size)).enumerate().for_each(|(i, (out, x))| {
            level.run(Group { norm: self, group: i % self.groups, x, out });
        });
    }
}

struct Group<'a> {
    norm: &'a GroupNorm<'a>,
    group: usize,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Group<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let norm = self.norm;
        let (mean, variance) = moments(s, self.x);
        let scale = 1. / (variance + norm.eps).sqrt();
        let first = self.group * (norm.channels / norm.groups);
        let channels = self.x.chunks_exact(norm.pixels).zip(self.out.chunks_exact_mut(norm.pixels));
        for (i, (x, out)) in channels.enumerate() {
            let factor = scale * f64::from(norm.weight[first + i]);
            // What the mean loses in f32 goes into the offset.
            let near = mean as f32;
            let offset = f64::from(norm.bias[first + i]) + (f64::from(near) - mean) * factor;
            let f = Affine { mean: near, factor: factor as f32, offset: offset as f32, silu: norm.silu };
            each(s, f, x, out);
        }
    }
}

/// Mean and variance (of the whole, not a sample's): short sums in f32 around a near mean, long ones in f64.
#[inline(always)]
pub fn moments<S: Simd>(s: S, x: &[f32]) -> (f64, f64) {
    // Squares of differences to a number near the mean lose nothing when the mean is large.
    let near = x[..x.len().min(64)].iter().sum::<f32>() / x.len().min(64) as f32;
    let pivot = s.splat(near);
    let (mut sum, mut squares) = (0f64, 0f64);
    for piece in x.chunks(32 * S::LANES) {
        let mut sums = [s.splat(0.); 2];
        let mut products = [s.splat(0.); 2];
        let mut pairs = piece.chunks_exact(2 * S::LANES);
        for pair in &mut pairs {
            for i in 0..2 {
                let d = s.sub(s.load(&pair[i * S::LANES..]), pivot);
                sums[i] = s.add(sums[i], d);
                products[i] = s.mul_add(d, d, products[i]);
            }
        }
        for x in pairs.remainder() {
            let d = f64::from(x - near);
            sum += d;
            squares += d * d;
        }
        sum += f64::from(s.sum(s.add(sums[0], sums[1])));
        squares += f64::from(s.sum(s.add(products[0], products[1])));
    }
    let n = x.len() as f64;
    let mean = sum / n;
    (f64::from(near) + mean, (squares / n - mean * mean).max(0.))
}

/// `(x − mean) · factor + offset`, then SiLU.
#[derive(Clone, Copy)]
struct Affine {
    mean: f32,
    factor: f32,
    offset: f32,
    silu: bool,
}

impl Elementwise for Affine {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::V) -> S::V {
        // Subtracting first keeps the small differences of values far from zero.
        let y = s.mul_add(s.sub(x, s.splat(self.mean)), s.splat(self.factor), s.splat(self.offset));
        if self.silu { swish(s, y, 1.) } else { y }
    }
}

/// A layer normalisation of `[rows, size]`.
#[derive(Clone, Copy)]
pub struct LayerNorm<'a> {
    /// Added to the variance.
    pub eps: f64,
    /// `[size]`.
    pub weight: &'a [f32],
    /// `[size]`.
    pub bias: &'a [f32],
}

impl LayerNorm<'_> {
    /// Writes the normalised `x`.
    pub fn forward(&self, level: Level, x: &[f32], out: &mut [f32]) {
        let size = self.weight.len();
        let at_once = (16384 / size).max(1) * size;
        out.par_chunks_mut(at_once).zip(x.par_chunks(at_once)).for_each(|(out, x)| {
            level.run(Layers { norm: self, x, out });
        });
    }
}

struct Layers<'a> {
    norm: &'a LayerNorm<'a>,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Layers<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let LayerNorm { eps, weight, bias } = *self.norm;
        let size = weight.len();
        for (x, out) in self.x.chunks_exact(size).zip(self.out.chunks_exact_mut(size)) {
            let (mean, variance) = moments(s, x);
            let scale = 1. / (variance + eps).sqrt();
            let (mean, factor) = (mean as f32, scale as f32);
            let (v_mean, v_factor) = (s.splat(mean), s.splat(factor));
            let mut at = 0;
            while at + S::LANES <= size {
                let y = s.mul(s.sub(s.load(&x[at..]), v_mean), v_factor);
                s.store(&mut out[at..], s.mul_add(y, s.load(&weight[at..]), s.load(&bias[at..])));
                at += S::LANES;
            }
            for i in at..size {
                out[i] = (x[i] - mean) * factor * weight[i] + bias[i];
            }
        }
    }
}
