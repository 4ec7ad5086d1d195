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
/// Panels of queries that meet a block of keys while it is in the second-level cache.
const PANELS: usize = 4;
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
        let tasks = 4 * rayon::current_num_threads();
        let panels = (self.queries / (tasks * level.width())).clamp(1, PANELS);
        let rows = panels * level.width();
        let (mut k, mut v) = (scratch(self.keys * inner), scratch(self.keys * inner));
        for (image, out) in out.chunks_exact_mut(self.queries * inner).enumerate() {
            let range = image * self.keys * inner..(image + 1) * self.keys * inner;
            let (k, v) = (self.by_head(&self.k[range.clone()], &mut k), self.by_head(&self.v[range], &mut v));
            out.par_chunks_mut(rows * inner).enumerate().for_each(|(i, out)| {
                level.run(Block { attention: self, image, k, v, first: i * rows, out });
            });
        }
    }

    /// One picture's `[keys, heads · size]` as `[heads, keys, size]`: a head's rows then follow each other, which
    /// the caches need, since every block of queries reads them all.
    fn by_head<'a>(&self, x: &'a [f32], buffer: &'a mut [f32]) -> &'a [f32] {
        if self.heads == 1 {
            return x;
        }
        buffer.par_chunks_exact_mut(self.keys * self.size).enumerate().for_each(|(head, to)| {
            let rows = x.chunks_exact(self.heads * self.size);
            for (row, to) in rows.zip(to.chunks_exact_mut(self.size)) {
                to.copy_from_slice(&row[head * self.size..][..self.size]);
            }
        });
        buffer
    }
}

/// A block of queries, all heads.
struct Block<'a> {
    attention: &'a Attention<'a>,
    image: usize,
    /// `[heads, keys, size]`.
    k: &'a [f32],
    /// `[heads, keys, size]`.
    v: &'a [f32],
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let at = self.attention;
        let (inner, size) = (at.heads * at.size, at.size);
        let queries = self.out.len() / inner;
        let q = &at.q[(self.image * at.queries + self.first) * inner..][..queries * inner];
        let panel_floats = 2 * size * S::WIDTH;
        let mut workspace = scratch(PANELS * panel_floats + KEYS * S::WIDTH);
        let (spaces, scores) = workspace.split_at_mut(PANELS * panel_floats);
        for head in 0..at.heads {
            let mut panels = Vec::with_capacity(PANELS);
            for (i, space) in spaces.chunks_exact_mut(panel_floats).enumerate() {
                let first = i * S::WIDTH;
                if first < queries {
                    let place = (self.first + first, S::WIDTH.min(queries - first));
                    panels.push(Panel::new(s, at, place, &q[first * inner + head * size..], space));
                }
            }
            self.one_head(s, head, &mut panels, scores);
            for (i, panel) in panels.iter().enumerate() {
                panel.write_out(s, size, &mut self.out[i * S::WIDTH * inner + head * size..], inner);
            }
        }
    }
}

impl Block<'_> {
    /// Lets every panel see all keys of one head, a block of keys at a time.
    #[inline(always)]
    fn one_head<S: Simd>(&self, s: S, head: usize, panels: &mut [Panel<'_>], scores: &mut [f32]) {
        let Attention { keys, size, causal, .. } = *self.attention;
        let head = head * keys * size..(head + 1) * keys * size;
        let (k, v) = (&self.k[head.clone()], &self.v[head]);
        for first in (0..keys).step_by(KEYS) {
            for panel in &mut *panels {
                // A causal panel sees nothing behind its last query.
                let seen = if causal { keys.min(panel.first + panel.count) } else { keys };
                if first < seen {
                    let rows = first * size..(first + KEYS.min(seen - first)) * size;
                    panel.see(s, &k[rows.clone()], &v[rows], first, (size, causal), scores);
                }
            }
        }
    }
}

/// As many queries as a panel has columns, of one head, and what they have seen so far.
struct Panel<'a> {
    /// Place of the first query in the picture.
    first: usize,
    count: usize,
    /// `count` in whole vectors.
    width: usize,
    /// `[size, width]`, scaled.
    queries: &'a mut [f32],
    /// `Σ e^(score − maximum) v`, `[size, width]`.
    sums: &'a mut [f32],
    /// The largest score of each query.
    maxima: [f32; MAX_WIDTH],
    /// `Σ e^(score − maximum)` of each query.
    totals: [f32; MAX_WIDTH],
}

impl<'a> Panel<'a> {
    /// `count` rows of `q`, which lie `stride` apart, from place `first` on; `space` holds two panels.
    #[inline(always)]
    fn new<S: Simd>(
        s: S,
        at: &Attention,
        (first, count): (usize, usize),
        q: &[f32],
        space: &'a mut [f32],
    ) -> Self {
        let size = at.size;
        let width = count.next_multiple_of(S::LANES);
        let (queries, sums) = space[..2 * size * width].split_at_mut(size * width);
        let row = size.next_multiple_of(S::LANES);
        let mut rows = scratch(S::LANES * row);
        let mut block = [[0.; MAX_LANES]; MAX_LANES];
        for column in (0..width).step_by(S::LANES) {
            rows.fill(0.);
            for (lane, to) in rows.chunks_exact_mut(row).enumerate().take(count - column.min(count)) {
                let from = &q[(column + lane) * at.heads * size..][..size];
                to.iter_mut().zip(from).for_each(|(to, q)| *to = q * at.scale);
            }
            for start in (0..size).step_by(S::LANES) {
                transpose(s, &rows[start..], row, &mut block);
                for (i, lanes) in block[..S::LANES.min(size - start)].iter().enumerate() {
                    queries[(start + i) * width + column..][..S::LANES].copy_from_slice(&lanes[..S::LANES]);
                }
            }
        }
        Self { first, count, width, queries, sums, maxima: [LOWEST; MAX_WIDTH], totals: [0.; MAX_WIDTH] }
    }

    /// Takes in a block of keys and values, `[keys, size]`, the first of which has place `first`.
    #[inline(always)]
    fn see<S: Simd>(
        &mut self,
        s: S,
        k: &[f32],
        v: &[f32],
        first: usize,
        (size, causal): (usize, bool),
        scores: &mut [f32],
    ) {
        let (width, vectors) = (self.width, self.width / S::LANES);
        let count = k.len() / size;
        for row in (0..count).step_by(ROWS) {
            let (rows, out) = (ROWS.min(count - row), &mut scores[row * width..]);
            tile(s, size, &k[row * size..], (size, 1), rows, self.queries, vectors, out, width, false);
        }
        if causal {
            for (key, scores) in scores.chunks_exact_mut(width).take(count).enumerate() {
                // Queries before this key do not see it.
                let hidden = (first + key).saturating_sub(self.first).min(width);
                scores[..hidden].fill(LOWEST);
            }
        }
        for lane in (0..width).step_by(S::LANES) {
            self.soften(s, &mut scores[lane..count * width], lane, first == 0);
        }
        for row in (0..size).step_by(ROWS) {
            let (rows, out) = (ROWS.min(size - row), &mut self.sums[row * width..]);
            tile(s, count, &v[row..], (1, size), rows, scores, vectors, out, width, first > 0);
        }
    }

    /// Scores of the vector of queries from `lane` on become `e^(score − maximum)`; what was summed before is scaled to
    /// the new maximum.
    #[inline(always)]
    fn soften<S: Simd>(&mut self, s: S, scores: &mut [f32], lane: usize, is_first: bool) {
        let before = s.load(&self.maxima[lane..]);
        let mut maximum = before;
        for row in scores.chunks(self.width) {
            maximum = s.max(maximum, s.load(row));
        }
        let mut total = s.splat(0.);
        for row in scores.chunks_mut(self.width) {
            let e = exp(s, s.sub(s.load(row), maximum));
            total = s.add(total, e);
            s.store(row, e);
        }
        if !is_first {
            let factor = exp(s, s.sub(before, maximum));
            total = s.mul_add(s.load(&self.totals[lane..]), factor, total);
            for row in self.sums.chunks_exact_mut(self.width) {
                let scaled = s.mul(s.load(&row[lane..]), factor);
                s.store(&mut row[lane..], scaled);
            }
        }
        s.store(&mut self.maxima[lane..], maximum);
        s.store(&mut self.totals[lane..], total);
    }

    /// Writes the rows of the result, `stride` apart.
    #[inline(always)]
    fn write_out<S: Simd>(&self, s: S, size: usize, out: &mut [f32], stride: usize) {
        let (width, sums, totals) = (self.width, &*self.sums, &self.totals);
        let mut block = [[0.; MAX_LANES]; MAX_LANES];
        for column in (0..self.count).step_by(S::LANES) {
            let lanes = S::LANES.min(self.count - column);
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
}
