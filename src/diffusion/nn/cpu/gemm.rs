//! Matrix products: panels of columns are packed once, blocks of rows are done in parallel, and what follows the
//! product (bias, residual, GEGLU) is done on each row of a tile while it is in the first-level cache.
#![allow(clippy::inline_always, reason = "see `simd`")]

use rayon::prelude::*;

use super::scratch::scratch;
use super::simd::{Kernel, Level, MAX_WIDTH, ROWS, Simd, tile};

/// Floats that the packed panels of one pass may take: they should stay in the last-level cache.
const PANEL_FLOATS: usize = 4 << 20;
/// Up to this many rows it pays to give every thread its own panel and all the rows.
const FEW_ROWS: usize = 192;

/// The left matrix, `[m, k]`.
pub trait Rows: Sync {
    /// Rows `first .. first + count` as f32, and the distance between them. `buffer` holds `count · k` floats.
    fn rows<'a>(&'a self, first: usize, count: usize, buffer: &'a mut [f32]) -> (&'a [f32], usize);
    /// Floats that [`Self::rows`] needs as buffer for `count` rows.
    fn buffer(&self, count: usize) -> usize;
}

/// The right matrix, `[k, n]`.
pub trait Columns: Sync {
    /// Writes columns `first .. first + count` to `panel`, `width` floats for each of the `k` rows, zeros from
    /// `count` on.
    fn pack<S: Simd>(&self, simd: S, first: usize, count: usize, width: usize, panel: &mut [f32]);
}

/// What becomes of the sums.
pub trait Finish: Sync {
    /// How many columns of sums make one column of the result.
    const FOLD: usize = 1;
    /// Turns the sums of columns `column ..` of `row` into `out`, which is `FOLD` times shorter.
    fn finish<S: Simd>(&self, simd: S, row: usize, column: usize, sums: &[f32], out: &mut [f32]);
}

/// `out = finish(rows · columns)`, `out` being `[m, n / FOLD]` without gaps.
pub fn gemm<R: Rows, C: Columns, F: Finish>(
    level: Level,
    (m, n, k): (usize, usize, usize),
    rows: &R,
    columns: &C,
    finish: &F,
    out: &mut [f32],
) {
    if m == 0 || n == 0 {
        return;
    }
    let width = level.width();
    let panels = n.div_ceil(width);
    let threads = rayon::current_num_threads();
    if m <= FEW_ROWS && panels >= threads {
        return by_panels(level, (m, n, k), rows, columns, finish, out);
    }
    let at_once = (PANEL_FLOATS / (k * width)).clamp(1, panels);
    // Many more blocks than threads, so that a thread whose core is busy elsewhere holds up little.
    let block = m.div_ceil(8 * threads).clamp(ROWS, 64).next_multiple_of(ROWS);
    let mut packed = scratch(at_once * k * width);
    for first in (0..panels).step_by(at_once) {
        let count = at_once.min(panels - first);
        let packed = &mut packed[..count * k * width];
        packed.par_chunks_mut(k * width).enumerate().for_each(|(i, panel)| {
            level.run(Pack { columns, n, first: (first + i) * width, panel, k });
        });
        let packed = &*packed;
        out.par_chunks_mut(block * n / F::FOLD).enumerate().for_each(|(i, out)| {
            let first_row = i * block;
            let count = block.min(m - first_row);
            let mut buffer = scratch(rows.buffer(count));
            let (a, a_row) = rows.rows(first_row, count, &mut buffer);
            level.run(Block { k, n, a, a_row, first_row, count, packed, first: first * width, finish, out });
        });
    }
}

/// [`gemm`] for few rows: every thread packs a panel and multiplies all rows with it.
fn by_panels<R: Rows, C: Columns, F: Finish>(
    level: Level,
    (m, n, k): (usize, usize, usize),
    rows: &R,
    columns: &C,
    finish: &F,
    out: &mut [f32],
) {
    let width = level.width();
    let mut buffer = scratch(rows.buffer(m));
    let (a, a_row) = rows.rows(0, m, &mut buffer);
    let panels = n.div_ceil(width);
    let threads = rayon::current_num_threads();
    let folded = width / F::FOLD;
    let at_once = (PANEL_FLOATS / (m * folded)).clamp(threads.min(panels), panels);
    let mut results = scratch(at_once * m * folded);
    for start in (0..panels).step_by(at_once) {
        let count = at_once.min(panels - start);
        results[..count * m * folded].par_chunks_mut(m * folded).enumerate().for_each(|(i, out)| {
            let mut panel = scratch(k * width);
            let first = (start + i) * width;
            level.run(Pack { columns, n, first, panel: &mut panel, k });
            let count = width.min(n - first);
            // The result of a panel stands alone, `count / FOLD` wide; only here are the columns shifted.
            let out = &mut out[..m * count / F::FOLD];
            level.run(Panel { k, a, a_row, m, packed: &panel, first, count, finish, out });
        });
        let results = &*results;
        out.par_chunks_mut(n / F::FOLD).enumerate().for_each(|(row, out)| {
            for (i, out) in out.chunks_mut(folded).skip(start).take(count).enumerate() {
                let at = i * m * folded + row * out.len();
                out.copy_from_slice(&results[at..at + out.len()]);
            }
        });
    }
}

struct Pack<'a, C> {
    columns: &'a C,
    n: usize,
    k: usize,
    first: usize,
    panel: &'a mut [f32],
}

impl<C: Columns> Kernel for Pack<'_, C> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let count = S::WIDTH.min(self.n - self.first);
        let width = count.next_multiple_of(S::LANES);
        self.columns.pack(s, self.first, count, width, &mut self.panel[..self.k * width]);
    }
}

struct Block<'a, F> {
    k: usize,
    n: usize,
    a: &'a [f32],
    a_row: usize,
    first_row: usize,
    count: usize,
    packed: &'a [f32],
    first: usize,
    finish: &'a F,
    out: &'a mut [f32],
}

impl<F: Finish> Kernel for Block<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sums = [0.; ROWS * MAX_WIDTH];
        for (i, panel) in self.packed.chunks(self.k * S::WIDTH).enumerate() {
            let first = self.first + i * S::WIDTH;
            let count = S::WIDTH.min(self.n - first);
            let vectors = count.div_ceil(S::LANES);
            for row in (0..self.count).step_by(ROWS) {
                let rows = ROWS.min(self.count - row);
                let a = &self.a[row * self.a_row..];
                tile(s, self.k, a, (self.a_row, 1), rows, panel, vectors, &mut sums, MAX_WIDTH, false);
                for r in 0..rows {
                    let at = (row + r) * self.n / F::FOLD + first / F::FOLD;
                    let (out, sums) = (&mut self.out[at..at + count / F::FOLD], &sums[r * MAX_WIDTH..]);
                    self.finish.finish(s, self.first_row + row + r, first, &sums[..count], out);
                }
            }
        }
    }
}

struct Panel<'a, F> {
    k: usize,
    a: &'a [f32],
    a_row: usize,
    m: usize,
    packed: &'a [f32],
    first: usize,
    count: usize,
    finish: &'a F,
    out: &'a mut [f32],
}

impl<F: Finish> Kernel for Panel<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut sums = [0.; ROWS * MAX_WIDTH];
        let vectors = self.count.div_ceil(S::LANES);
        for row in (0..self.m).step_by(ROWS) {
            let rows = ROWS.min(self.m - row);
            let a = &self.a[row * self.a_row..];
            tile(s, self.k, a, (self.a_row, 1), rows, self.packed, vectors, &mut sums, MAX_WIDTH, false);
            let width = self.count / F::FOLD;
            for r in 0..rows {
                let out = &mut self.out[(row + r) * width..][..width];
                let sums = &sums[r * MAX_WIDTH..][..self.count];
                self.finish.finish(s, row + r, self.first, sums, out);
            }
        }
    }
}

/// Rows that are f32 in memory already.
pub struct DenseRows<'a> {
    /// `[m, k]`.
    pub data: &'a [f32],
    /// Row length.
    pub k: usize,
}

impl Rows for DenseRows<'_> {
    fn rows<'a>(&'a self, first: usize, count: usize, _: &'a mut [f32]) -> (&'a [f32], usize) {
        (&self.data[first * self.k..(first + count) * self.k], self.k)
    }
    fn buffer(&self, _: usize) -> usize {
        0
    }
}

/// Columns of a row-major matrix.
pub struct DenseColumns<'a> {
    /// `[k, n]`.
    pub data: &'a [f32],
    /// Row length.
    pub n: usize,
}

impl Columns for DenseColumns<'_> {
    #[inline(always)]
    fn pack<S: Simd>(&self, s: S, first: usize, count: usize, width: usize, panel: &mut [f32]) {
        for (row, to) in self.data.chunks_exact(self.n).zip(panel.chunks_exact_mut(width)) {
            let row = &row[first..first + count];
            let mut column = 0;
            while column + S::LANES <= count {
                s.store(&mut to[column..], s.load(&row[column..]));
                column += S::LANES;
            }
            to[column..count].copy_from_slice(&row[column..]);
            to[count..].fill(0.);
        }
    }
}
