//! 3×3 convolutions with a quarter of the multiplications: Winograd's F(4×4, 3×3).
//!
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, with the points 0, ±√½, ±√2 and ∞ in
//! place of 0, ±1, ±2 and ∞: the products then have like sizes, and the error stays three times smaller (about
//! 1.6e-6 of the output's size in f32, the direct sum in f32 having 0.4e-6).
//!
//! Every 4×4 tile of the output needs a 6×6 tile of the input. Both are transformed; in between stand 36 matrix
//! products, one for each place in the tile. The transformed input is made for a band of tiles at a time; a block
//! of output channels then transforms its weights, multiplies and transforms back, all within the caches.
#![allow(clippy::inline_always, reason = "see `simd`")]

use rayon::prelude::*;

use super::conv::Conv;
use super::scratch::scratch;
use super::simd::{Kernel, Level, MAX_LANES, MAX_WIDTH, ROWS, Simd, tile, transpose};

/// Places in a transformed tile.
const PLACES: usize = 36;
/// Output columns and rows of a tile.
const SIDE: usize = 4;
/// Floats that the transformed input of one band may take.
const BAND_FLOATS: usize = 6 << 20;
/// Input channels that are summed in one go, and output channels of a block: their transformed weights should stay in
/// the second-level cache.
const DEPTH: usize = 160;
const OUTPUTS: usize = 32;
/// Between the planes of different places, so that they do not compete for the same lines of the cache.
const GAP: usize = 16;

const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;

/// A 3×3 convolution of stride 1 with one row of zeros around the picture.
#[derive(Clone, Copy)]
pub struct Conv3x3<'a> {
    /// What it computes; `kernel`, `stride` and `padding` are 3, 1 and 1.
    pub conv: Conv<'a>,
    /// Whether every input pixel is to be taken for a square of four, the output being twice as high and wide.
    pub upsample: bool,
}

/// A run of tiles beside each other in one row of tiles, at most as long as a vector.
#[derive(Clone, Copy)]
struct Run {
    image: usize,
    y: usize,
    x: usize,
    len: usize,
    /// The first one's place in its panel.
    offset: usize,
}

impl Conv3x3<'_> {
    /// Writes `[batch, outputs, height, width]`.
    pub fn forward(&self, level: Level, out: &mut [f32]) {
        let Conv { batch, inputs, outputs, .. } = self.conv;
        let width = level.width();
        let tiles = batch * self.tile_rows() * self.tile_columns();
        let panels = tiles.div_ceil(width);
        let panel_floats = self.panel_floats(width);
        let at_once = (BAND_FLOATS / panel_floats).clamp(1, panels);
        let depth_blocks = inputs.div_ceil(DEPTH);
        let threads = rayon::current_num_threads();
        let block = outputs.div_ceil(2 * threads).next_multiple_of(ROWS).min(OUTPUTS);
        let pixels = self.height() * self.width();
        let mut planes: Vec<Vec<&mut [f32]>> = Vec::new();
        planes.resize_with(outputs.div_ceil(block), Vec::new);
        for (i, plane) in out.chunks_exact_mut(pixels).enumerate() {
            planes[i % outputs / block].push(plane);
        }
        let mut transformed = scratch(at_once * panel_floats);
        for first in (0..panels).step_by(at_once) {
            let count = at_once.min(panels - first);
            let transformed = &mut transformed[..count * panel_floats];
            let chunks = transformed.par_chunks_mut(panel_floats / depth_blocks).enumerate();
            chunks.for_each(|(i, to)| {
                let panel = first + i / depth_blocks;
                level.run(Input { of: self, panel, depth_block: i % depth_blocks, to });
            });
            let transformed = &*transformed;
            planes.par_iter_mut().enumerate().for_each(|(i, planes)| {
                level.run(Block {
                    of: self,
                    first_output: i * block,
                    planes,
                    first_panel: first,
                    transformed,
                });
            });
        }
    }

    fn scale(&self) -> usize {
        if self.upsample { 2 } else { 1 }
    }

    /// Output rows.
    fn height(&self) -> usize {
        self.conv.height * self.scale()
    }

    /// Output columns.
    fn width(&self) -> usize {
        self.conv.width * self.scale()
    }

    fn tile_rows(&self) -> usize {
        self.height().div_ceil(SIDE)
    }

    fn tile_columns(&self) -> usize {
        self.width().div_ceil(SIDE)
    }

    /// Input channels of a depth block; the last one may have fewer.
    fn depth(&self) -> usize {
        self.conv.inputs.div_ceil(self.conv.inputs.div_ceil(DEPTH))
    }

    fn plane_floats(&self, width: usize) -> usize {
        self.depth() * width + GAP
    }

    fn panel_floats(&self, width: usize) -> usize {
        self.conv.inputs.div_ceil(DEPTH) * PLACES * self.plane_floats(width)
    }

    /// How many tiles a panel has.
    fn tiles(&self, panel: usize, width: usize) -> usize {
        width.min(self.conv.batch * self.tile_rows() * self.tile_columns() - panel * width)
    }

    /// The tiles of a panel as runs no longer than `lanes`.
    fn runs(&self, panel: usize, width: usize, lanes: usize) -> Vec<Run> {
        let (rows, columns) = (self.tile_rows(), self.tile_columns());
        let (first, count) = (panel * width, self.tiles(panel, width));
        let mut runs = Vec::with_capacity(width);
        let mut offset = 0;
        while offset < count {
            let (image, within) = ((first + offset) / (rows * columns), (first + offset) % (rows * columns));
            let (y, x) = (within / columns, within % columns);
            let len = (columns - x).min(lanes).min(count - offset);
            runs.push(Run { image, y, x, len, offset });
            offset += len;
        }
        runs
    }
}

/// Transforms the input of one panel and depth block: `[place][channel][tile]`.
struct Input<'a> {
    of: &'a Conv3x3<'a>,
    panel: usize,
    depth_block: usize,
    to: &'a mut [f32],
}

impl Kernel for Input<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let of = self.of;
        let runs = of.runs(self.panel, S::WIDTH, S::LANES);
        let count = of.tiles(self.panel, S::WIDTH);
        let width = count.next_multiple_of(S::LANES);
        let plane = of.plane_floats(S::WIDTH);
        let first = self.depth_block * of.depth();
        for channel in first..(first + of.depth()).min(of.conv.inputs) {
            let to = (channel - first) * width;
            for run in &runs {
                let places = input_tiles(s, of, channel, *run);
                if run.len == S::LANES {
                    for (place, v) in places.iter().enumerate() {
                        s.store(&mut self.to[place * plane + to + run.offset..], *v);
                    }
                } else {
                    let mut lanes = [0.; MAX_LANES];
                    for (place, v) in places.iter().enumerate() {
                        s.store(&mut lanes, *v);
                        self.to[place * plane + to + run.offset..][..run.len]
                            .copy_from_slice(&lanes[..run.len]);
                    }
                }
            }
            // Lanes without a tile: their products are never looked at, but must not be slow (denormal) numbers.
            for place in 0..PLACES {
                self.to[place * plane + to + count..place * plane + to + width].fill(0.);
            }
        }
    }
}

/// The transformed tiles of a run, a tile a lane: Bᵀ d B.
#[inline(always)]
fn input_tiles<S: Simd>(s: S, of: &Conv3x3, channel: usize, run: Run) -> [S::V; PLACES] {
    let zero = s.splat(0.);
    let (conv, scale) = (&of.conv, of.scale());
    let x = &conv.x[(run.image * conv.inputs + channel) * conv.height * conv.width..];
    // Each row of pixels is dealt out to four lists, so that a list is a vector of tiles, a tile's columns 1 … 4. Its
    // columns 0 and 5 are the neighbours' columns 4 and 1.
    let left = run.x * SIDE;
    let count = (SIDE * run.len).min(of.width() - left);
    let mut half = [[zero; 6]; 6];
    let mut line = [0.; SIDE * MAX_LANES];
    for row in 0..6 {
        let mut columns = [zero; 6];
        let y = (run.y * SIDE + row).wrapping_sub(1);
        if y < of.height() {
            let source = &x[y / scale * conv.width..][..conv.width];
            let before = if left > 0 { source[(left - 1) / scale] } else { 0. };
            let after = source.get((left + SIDE * run.len) / scale).copied().unwrap_or(0.);
            let pixels = if of.upsample {
                for (i, to) in line[..count].iter_mut().enumerate() {
                    *to = source[usize::midpoint(left, i)];
                }
                &line[..]
            } else if count == SIDE * S::LANES {
                &source[left..]
            } else {
                line[..count].copy_from_slice(&source[left..left + count]);
                &line[..]
            };
            columns = deal(s, pixels, before, after, run.len);
        }
        half[row] = input_transform(s, columns);
    }
    let mut places = [zero; PLACES];
    for column in 0..6 {
        let [h0, h1, h2, h3, h4, h5] = half;
        let done =
            input_transform(s, [h0[column], h1[column], h2[column], h3[column], h4[column], h5[column]]);
        for row in 0..6 {
            places[row * 6 + column] = done[row];
        }
    }
    places
}

/// Columns 0 … 5 of `len` tiles whose columns 1 … 4 stand in `line`, four a tile, between two more pixels.
#[inline(always)]
fn deal<S: Simd>(s: S, line: &[f32], before: f32, after: f32, len: usize) -> [S::V; 6] {
    let (even0, odd0) = s.unzip(s.load(line), s.load(&line[S::LANES..]));
    let (even1, odd1) = s.unzip(s.load(&line[2 * S::LANES..]), s.load(&line[3 * S::LANES..]));
    let (c1, c3) = s.unzip(even0, even1);
    let (c2, c4) = s.unzip(odd0, odd1);
    let mut c5 = s.shift_down(c1, after);
    if len < S::LANES {
        let mut lanes = [0.; MAX_LANES];
        s.store(&mut lanes, c5);
        lanes[len - 1] = after;
        c5 = s.load(&lanes);
    }
    [s.shift_up(c4, before), c1, c2, c3, c4, c5]
}

/// Bᵀ x.
#[inline(always)]
fn input_transform<S: Simd>(s: S, x: [S::V; 6]) -> [S::V; 6] {
    let even_a = s.mul_add(x[2], s.splat(-2.), x[4]);
    let odd_a = s.mul(s.mul_add(x[1], s.splat(-2.), x[3]), s.splat(A));
    let even_b = s.mul_add(x[2], s.splat(-0.5), x[4]);
    let odd_b = s.mul(s.mul_add(x[1], s.splat(-0.5), x[3]), s.splat(B));
    [
        s.add(s.mul_add(x[2], s.splat(-2.5), x[0]), x[4]),
        s.add(even_a, odd_a),
        s.sub(even_a, odd_a),
        s.add(even_b, odd_b),
        s.sub(even_b, odd_b),
        s.add(s.mul_add(x[3], s.splat(-2.5), x[1]), x[5]),
    ]
}

/// G g.
#[inline(always)]
fn weight_transform<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 6] {
    let even_a = s.mul(s.mul_add(g[2], s.splat(0.5), g[0]), s.splat(-2. / 3.));
    let odd_a = s.mul(g[1], s.splat(A * -2. / 3.));
    let even_b = s.mul(s.mul_add(g[2], s.splat(2.), g[0]), s.splat(1. / 6.));
    let odd_b = s.mul(g[1], s.splat(B / 6.));
    [g[0], s.add(even_a, odd_a), s.sub(even_a, odd_a), s.add(even_b, odd_b), s.sub(even_b, odd_b), g[2]]
}

/// Aᵀ m.
#[inline(always)]
fn output_transform<S: Simd>(s: S, m: [S::V; 6]) -> [S::V; 4] {
    let (sum_a, sum_b) = (s.add(m[1], m[2]), s.add(m[3], m[4]));
    let (odd_a, odd_b) = (s.mul(s.sub(m[1], m[2]), s.splat(A)), s.mul(s.sub(m[3], m[4]), s.splat(B)));
    [
        s.add(m[0], s.add(sum_a, sum_b)),
        s.add(odd_a, odd_b),
        s.mul_add(sum_a, s.splat(0.5), s.mul(sum_b, s.splat(2.))),
        s.add(s.mul_add(odd_a, s.splat(0.5), s.mul(odd_b, s.splat(2.))), m[5]),
    ]
}

/// Everything that follows the input's transform, for one block of output channels and one band.
struct Block<'a, 'b> {
    of: &'a Conv3x3<'a>,
    first_output: usize,
    /// Picture by picture, the block's planes of the result.
    planes: &'a mut [&'b mut [f32]],
    first_panel: usize,
    transformed: &'a [f32],
}

impl Kernel for Block<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let of = self.of;
        let outputs = self.planes.len() / of.conv.batch;
        let plane = of.plane_floats(S::WIDTH);
        let depth_blocks = of.conv.inputs.div_ceil(DEPTH);
        let row = of.depth().next_multiple_of(16) + GAP;
        let weights_plane = outputs * row + GAP;
        let mut weights = scratch(PLACES * weights_plane);
        // Of one panel all places, of one place all outputs, of one output all tiles.
        let sums_plane = outputs * S::WIDTH + GAP;
        let sums_panel = PLACES * sums_plane + MAX_WIDTH;
        let panels = self.transformed.len() / of.panel_floats(S::WIDTH);
        // With one depth block a panel is done before the next one begins.
        let kept = if depth_blocks == 1 { 1 } else { panels };
        let mut sums = scratch(kept * sums_panel);
        for block in 0..depth_blocks {
            let first = block * of.depth();
            let depth = of.depth().min(of.conv.inputs - first);
            let outputs_of = (self.first_output, outputs);
            transform_weights(s, &of.conv, outputs_of, (first, depth), row, &mut weights);
            let transformed = self.transformed.chunks_exact(of.panel_floats(S::WIDTH));
            for (i, panel) in transformed.enumerate() {
                let sums = &mut sums[i % kept * sums_panel..][..sums_panel];
                let vectors = of.tiles(self.first_panel + i, S::WIDTH).div_ceil(S::LANES);
                for place in 0..PLACES {
                    let b = &panel[(block * PLACES + place) * plane..][..plane];
                    for output in (0..outputs).step_by(ROWS) {
                        let rows = ROWS.min(outputs - output);
                        let a = &weights[place * weights_plane + output * row..];
                        let out = &mut sums[place * sums_plane + output * S::WIDTH..];
                        tile(s, depth, a, (row, 1), rows, b, vectors, out, S::WIDTH, block > 0);
                    }
                }
                if block + 1 == depth_blocks {
                    self.finish(s, self.first_panel + i, outputs, sums, sums_plane);
                }
            }
        }
    }
}

impl Block<'_, '_> {
    #[inline(always)]
    fn finish<S: Simd>(&mut self, s: S, panel: usize, outputs: usize, sums: &[f32], stride: usize) {
        let runs = self.of.runs(panel, S::WIDTH, S::LANES);
        for output in 0..outputs {
            for run in &runs {
                let from = &sums[output * S::WIDTH + run.offset..];
                let plane = &mut *self.planes[run.image * outputs + output];
                output_tiles(s, self.of, self.first_output + output, *run, from, stride, plane);
            }
        }
    }
}
/// Transforms a run of tiles back, adds bias and residual, and writes the rows to the output's plane.
#[inline(always)]
fn output_tiles<S: Simd>(
    s: S,
    of: &Conv3x3,
    output: usize,
    run: Run,
    from: &[f32],
    stride: usize,
    plane: &mut [f32],
) {
    let zero = s.splat(0.);
    let mut half = [[zero; 6]; 4];
    for column in 0..6 {
        let mut m = [zero; 6];
        for (row, m) in m.iter_mut().enumerate() {
            *m = s.load(&from[(row * 6 + column) * stride..]);
        }
        let done = output_transform(s, m);
        for row in 0..4 {
            half[row][column] = done[row];
        }
    }
    let bias = s.splat(of.conv.bias_of(run.image)[output]);
    let left = run.x * SIDE;
    let count = (SIDE * run.len).min(of.width() - left);
    for (row, half) in half.into_iter().enumerate() {
        let y = run.y * SIDE + row;
        if y >= of.height() {
            break;
        }
        let [c0, c1, c2, c3] = output_transform(s, half);
        let (c0, c1, c2, c3) = (s.add(c0, bias), s.add(c1, bias), s.add(c2, bias), s.add(c3, bias));
        let ((even0, even1), (odd0, odd1)) = (s.zip(c0, c2), s.zip(c1, c3));
        let ((p0, p1), (p2, p3)) = (s.zip(even0, odd0), s.zip(even1, odd1));
        let mut pixels = [p0, p1, p2, p3];
        let at = y * of.width() + left;
        let to = &mut plane[at..at + count];
        let residual = of.conv.residual.map(|r| {
            let plane = of.height() * of.width();
            &r[(run.image * of.conv.outputs + output) * plane + at..][..count]
        });
        if count == SIDE * S::LANES {
            for (i, p) in pixels.iter_mut().enumerate() {
                if let Some(residual) = residual {
                    *p = s.add(*p, s.load(&residual[i * S::LANES..]));
                }
                s.store(&mut to[i * S::LANES..], *p);
            }
        } else {
            let mut line = [0.; SIDE * MAX_LANES];
            for (i, p) in pixels.iter().enumerate() {
                s.store(&mut line[i * S::LANES..], *p);
            }
            to.copy_from_slice(&line[..count]);
            if let Some(residual) = residual {
                to.iter_mut().zip(residual).for_each(|(to, r)| *to += r);
            }
        }
    }
}

/// `[place][output][input]`, with `row` floats from output to output and a gap between places: G g Gᵀ.
#[inline(always)]
fn transform_weights<S: Simd>(
    s: S,
    conv: &Conv,
    (first_output, outputs): (usize, usize),
    (first_input, inputs): (usize, usize),
    row: usize,
    to: &mut [f32],
) {
    let zero = s.splat(0.);
    // Past the end, since whole vectors are read.
    let mut taps = [0.; DEPTH * 9 + MAX_LANES * 9];
    for output in 0..outputs {
        let at = ((first_output + output) * conv.inputs + first_input) * 9;
        conv.weight.widen_with(s, at, &mut taps[..inputs * 9]);
        for input in (0..inputs).step_by(S::LANES) {
            let g = gather_taps(s, &taps[input * 9..]);
            let mut half = [[zero; 3]; 6];
            for column in 0..3 {
                let done = weight_transform(s, [g[column], g[3 + column], g[6 + column]]);
                for i in 0..6 {
                    half[i][column] = done[i];
                }
            }
            for (i, half) in half.into_iter().enumerate() {
                for (j, v) in weight_transform(s, half).into_iter().enumerate() {
                    s.store(&mut to[(i * 6 + j) * (outputs * row + GAP) + output * row + input..], v);
                }
            }
        }
    }
}

/// The nine taps of `LANES` input channels, a channel a lane.
#[inline(always)]
fn gather_taps<S: Simd>(s: S, taps: &[f32]) -> [S::V; 9] {
    let mut g = [s.splat(0.); 9];
    let mut done = 0;
    let mut block = [[0.; MAX_LANES]; MAX_LANES];
    while 9 - done > S::LANES / 2 {
        transpose(s, &taps[done..], 9, &mut block);
        for tap in done..9.min(done + S::LANES) {
            g[tap] = s.load(&block[tap - done]);
        }
        done = 9.min(done + S::LANES);
    }
    for tap in done..9 {
        let mut lanes = [0.; MAX_LANES];
        for (lane, to) in lanes[..S::LANES].iter_mut().enumerate() {
            *to = taps[lane * 9 + tap];
        }
        g[tap] = s.load(&lanes);
    }
    g
}
