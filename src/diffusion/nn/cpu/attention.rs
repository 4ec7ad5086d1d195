//! Attention without a score matrix: blocks of queries meet blocks of keys, and the softmax is kept up as they pass.
//!
//! Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao et al., "FlashAttention", 2022.
//! Queries are the lanes, so that maxima, sums and rescaling need no work across lanes, and keys and values are
//! read where they stand.
#![allow(clippy::inline_always, reason = "see `simd`")]

use rayon::prelude::*;

use super::math::exp;
use super::scratch::scratch;
use super::simd::{Kernel, Level, MAX_LANES, MAX_WIDTH, ROWS, Simd, tile, transpose};

/// Keys of a block: its scores stay in the first-level cache.
const KEYS: usize = 128;
/// Lower than every score, and finite.
const LOWEST: f32 = -1e30;

/// `softmax(q kᵀ · scale) v`, head by head.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// `[batch, queries, heads · size]`.
    pub q: &'a [f32],
    /// `[batch, keys, heads · size]`.
    pub k: &'a [f32],
    /// `[batch, keys, heads · size]`.
    pub v: &'a [f32],
    /// Rows of `q`.
    pub queries: usize,
    /// Rows of `k` and `v`.
    pub keys: usize,
    /// Heads.
    pub heads: usize,
    /// Size of a head.
    pub size: usize,
    /// Factor of the scores.
    pub scale: f32,
    /// Whether a query sees only the keys up to its own place.
    pub causal: bool,
}

impl Attention<'_> {
    /// Writes `[batch, queries, heads · size]`.
    pub fn forward(&self, level: Level, out: &mut [f32]) {
        let inner = self.heads * self.size;
        let width = level.width();
        for (image, out) in out.chunks_exact_mut(self.queries * inner).enumerate() {
            out.par_chunks_mut(width * inner).enumerate().for_each(|(i, out)| {
                level.run(Block { attention: self, image, first: i * width, out });
            });
        }
    }
}

/// A block of queries, all heads.
struct Block<'a> {
    attention: &'a Attention<'a>,
    image: usize,
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let at = self.attention;
        let (inner, size) = (at.heads * at.size, at.size);
        let count = self.out.len() / inner;
        let width = count.next_multiple_of(S::LANES);
        let q = &at.q[(self.image * at.queries + self.first) * inner..][..count * inner];
        let k = &at.k[self.image * at.keys * inner..][..at.keys * inner];
        let v = &at.v[self.image * at.keys * inner..][..at.keys * inner];
        let mut workspace =
            scratch(2 * size * width + KEYS * width + size * MAX_LANES + MAX_LANES * MAX_LANES);
        let (queries, rest) = workspace.split_at_mut(size * width);
        let (sums, rest) = rest.split_at_mut(size * width);
        let (scores, rest) = rest.split_at_mut(KEYS * width);
        for head in 0..at.heads {
            pack_queries(s, &q[head * size..], inner, (count, size), at.scale, queries, rest);
            let totals =
                one_head(s, &self, queries, &k[head * size..], &v[head * size..], scores, sums, width);
            write_out(s, sums, &totals, width, (count, size), &mut self.out[head * size..], inner);
        }
    }
}

/// `[size, width]` from `count` rows of `q`, times `scale`.
#[inline(always)]
fn pack_queries<S: Simd>(
    s: S,
    q: &[f32],
    stride: usize,
    (count, size): (usize, usize),
    scale: f32,
    to: &mut [f32],
    rest: &mut [f32],
) {
    let width = to.len() / size;
    let row = size.next_multiple_of(S::LANES);
    let mut block = [[0.; MAX_LANES]; MAX_LANES];
    for column in (0..width).step_by(S::LANES) {
        for lane in 0..S::LANES {
            let to = &mut rest[lane * row..][..row];
            to.fill(0.);
            if column + lane < count {
                let from = &q[(column + lane) * stride..][..size];
                to.iter_mut().zip(from).for_each(|(to, q)| *to = q * scale);
            }
        }
        for start in (0..size).step_by(S::LANES) {
            transpose(s, &rest[start..], row, &mut block);
            for (i, lanes) in block[..S::LANES.min(size - start)].iter().enumerate() {
                to[(start + i) * width + column..][..S::LANES].copy_from_slice(&lanes[..S::LANES]);
            }
        }
    }
}

/// Leaves `Σ e^score v` in `sums`, `[size, width]`, and returns `Σ e^score` of each query.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two views and two workspaces of one loop")]
fn one_head<S: Simd>(
    s: S,
    block: &Block,
    queries: &[f32],
    k: &[f32],
    v: &[f32],
    scores: &mut [f32],
    sums: &mut [f32],
    width: usize,
) -> [f32; MAX_WIDTH] {
    let at = block.attention;
    let (inner, size) = (at.heads * at.size, at.size);
    let vectors = width / S::LANES;
    let mut maxima = [LOWEST; MAX_WIDTH];
    let mut totals = [0.; MAX_WIDTH];
    let seen = if at.causal { at.keys.min(block.first + block.out.len() / inner) } else { at.keys };
    for first in (0..seen).step_by(KEYS) {
        let count = KEYS.min(seen - first);
        for row in (0..count).step_by(ROWS) {
            let (rows, out) = (ROWS.min(count - row), &mut scores[row * width..]);
            tile(s, size, &k[(first + row) * inner..], (inner, 1), rows, queries, vectors, out, width, false);
        }
        if at.causal {
            for key in first..first + count {
                // Queries before this key do not see it.
                let hidden = key.saturating_sub(block.first).min(width);
                scores[(key - first) * width..][..hidden].fill(LOWEST);
            }
        }
        for lane in (0..width).step_by(S::LANES) {
            soften(
                s,
                &mut scores[lane..count * width],
                width,
                lane,
                &mut maxima,
                &mut totals,
                sums,
                first == 0,
            );
        }
        for row in (0..size).step_by(ROWS) {
            let (rows, out) = (ROWS.min(size - row), &mut sums[row * width..]);
            let v = &v[first * inner + row..];
            tile(s, count, v, (1, inner), rows, scores, vectors, out, width, first > 0);
        }
    }
    totals
}

/// Scores of one vector of queries become `e^(score − maximum)`; what was summed before is scaled to the new maximum.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "state of the running softmax")]
fn soften<S: Simd>(
    s: S,
    scores: &mut [f32],
    width: usize,
    lane: usize,
    maxima: &mut [f32; MAX_WIDTH],
    totals: &mut [f32; MAX_WIDTH],
    sums: &mut [f32],
    first: bool,
) {
    let before = s.load(&maxima[lane..]);
    let mut maximum = before;
    for row in scores.chunks(width) {
        maximum = s.max(maximum, s.load(row));
    }
    let mut total = s.splat(0.);
    for row in scores.chunks_mut(width) {
        let e = exp(s, s.sub(s.load(row), maximum));
        total = s.add(total, e);
        s.store(row, e);
    }
    if !first {
        let factor = exp(s, s.sub(before, maximum));
        total = s.mul_add(s.load(&totals[lane..]), factor, total);
        for row in sums.chunks_exact_mut(width) {
            let scaled = s.mul(s.load(&row[lane..]), factor);
            s.store(&mut row[lane..], scaled);
        }
    }
    s.store(&mut maxima[lane..], maximum);
    s.store(&mut totals[lane..], total);
}

/// Rows of the result from `sums / totals`.
#[inline(always)]
fn write_out<S: Simd>(
    s: S,
    sums: &[f32],
    totals: &[f32; MAX_WIDTH],
    width: usize,
    (count, size): (usize, usize),
    out: &mut [f32],
    stride: usize,
) {
    let mut block = [[0.; MAX_LANES]; MAX_LANES];
    for column in (0..count).step_by(S::LANES) {
        let lanes = S::LANES.min(count - column);
        if size < S::LANES {
            for query in column..column + lanes {
                for i in 0..size {
                    out[query * stride + i] = sums[i * width + query] / totals[query];
                }
            }
            continue;
        }
        for start in (0..size).step_by(S::LANES) {
            // The last vector may overlap the one before.
            let start = start.min(size - S::LANES);
            transpose(s, &sums[start * width + column..], width, &mut block);
            for (query, row) in block[..lanes].iter().enumerate() {
                let inverse = s.splat(1. / totals[column + query]);
                let row = s.mul(s.load(row), inverse);
                s.store(&mut out[(column + query) * stride + start..], row);
            }
        }
    }
}
