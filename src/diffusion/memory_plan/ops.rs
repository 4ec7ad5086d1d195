//! The ops of `nn` on paper: each takes and leaves shapes, and holds meanwhile what the backend's op holds.
//!
//! What a backend's op does without a copy is asked of [`Backend`], as the ops themselves do. Statistics of norms,
//! biases and other tensors of a few KiB are left out.

use std::rc::Rc;

use candle_core::DType;

use super::Site;
use super::heap::{Block, Heap};
use crate::diffusion::nn::{Activation, Backend, Heads, OpLimits, attention_blocks};

/// Largest transformed band of a 3×3 convolution on the CPU, and the channels that a thread does of it at a time.
const CPU_BAND: u64 = 24 << 20;
const CPU_OUTPUTS: u64 = 32;
const CPU_DEPTH: u64 = 160;
/// Largest block of packed columns, or of results, of a matrix product on the CPU; products of few rows keep the
/// latter.
const CPU_PANELS: u64 = 16 << 20;
const CPU_FEW_ROWS: u64 = 192;

/// A tensor that is not there: its shape, and its place on the heap for as long as a clone of it lives.
#[derive(Clone)]
pub(super) struct Shadow {
    pub batch: u64,
    pub channels: u64,
    /// Pixels in height and width; for rows of channels, their number and 1.
    pub size: (u64, u64),
    /// `None` for one that somebody else holds.
    _block: Option<Rc<Block>>,
}

impl Shadow {
    /// Pixels, or rows, of one picture.
    pub fn pixels(&self) -> u64 {
        self.size.0 * self.size.1
    }

    pub fn values(&self) -> u64 {
        self.batch * self.channels * self.pixels()
    }
}

/// The ops on one site in one dtype.
pub(super) struct Ops<'a> {
    pub backend: Backend,
    pub heap: Heap,
    site: &'a Site,
    dtype: DType,
    limits: &'a OpLimits,
}

impl<'a> Ops<'a> {
    pub fn new(site: &'a Site, dtype: DType, limits: &'a OpLimits) -> Self {
        let backend = Backend::new(site.location, dtype);
        Self { backend, heap: Heap::new(backend == Backend::Metal), site, dtype, limits }
    }

    /// Begins with the workspaces that the network before has left.
    pub fn after(self, before: &Self) -> Self {
        Self { heap: Heap::after(self.backend == Backend::Metal, &before.heap), ..self }
    }

    /// `width` channels in so many heads, as they are on the device.
    pub fn heads(&self, count: usize, width: u64) -> Heads {
        Heads::new(count, width as usize, self.site.location, self.dtype)
    }

    /// Bytes of a value.
    pub fn value(&self) -> u64 {
        self.dtype.size_in_bytes() as u64
    }

    /// Room for so many values.
    fn room(&self, values: u64) -> Block {
        self.heap.take(values * self.value())
    }

    /// A new tensor.
    pub fn tensor(&self, batch: u64, channels: u64, size: (u64, u64)) -> Shadow {
        let block = self.room(batch * channels * size.0 * size.1);
        Shadow { batch, channels, size, _block: Some(Rc::new(block)) }
    }

    /// A tensor that is there already and not counted here.
    pub fn given(&self, batch: u64, channels: u64, size: (u64, u64)) -> Shadow {
        Shadow { batch, channels, size, _block: None }
    }

    /// A new tensor of the same shape.
    pub fn like(&self, x: &Shadow) -> Shadow {
        self.tensor(x.batch, x.channels, x.size)
    }

    /// Two tensors joined along the channels.
    pub fn join(&self, a: &Shadow, b: &Shadow) -> Shadow {
        self.tensor(a.batch, a.channels + b.channels, a.size)
    }

    /// What is left of `y` when so many tensors were added to it, where that is not done by the product itself.
    fn add(&self, y: Shadow, count: usize) -> Shadow {
        let passes = match self.backend {
            Backend::Cpu | Backend::Cuda => 0,
            Backend::Metal => count.min(1),
            Backend::Candle => count,
        };
        (0..passes).fold(y, |y, _| self.like(&y))
    }

    /// A matrix product on the CPU: `rows` of `depth` times `columns`.
    fn product(&self, rows: u64, columns: u64, depth: u64) {
        if self.backend == Backend::Cpu {
            let block = if rows <= CPU_FEW_ROWS { rows } else { depth };
            self.heap.workspaces([CPU_PANELS.min(block * columns * 4)]);
        }
    }

    /// A group normalisation.
    pub fn group_norm(&self, x: &Shadow) -> Shadow {
        if self.backend == Backend::Candle {
            // in f32: the input, centred, divided, scaled, shifted
            let _copies: Vec<Block> = (0..5).map(|_| self.heap.take(4 * x.values())).collect();
        }
        self.like(x)
    }

    /// A group normalisation and the activation after it.
    pub fn norm_act(&self, x: &Shadow, act: Activation) -> Shadow {
        let normed = self.group_norm(x);
        if act == Activation::Silu && self.backend != Backend::Candle { normed } else { self.like(&normed) }
    }

    /// A layer normalisation.
    pub fn layer_norm(&self, x: &Shadow) -> Shadow {
        self.like(x)
    }

    /// `x Wᵀ + b`, plus a residual if there is one.
    pub fn linear(&self, x: &Shadow, outputs: u64, bias: bool, residual: bool) -> Shadow {
        self.product(x.batch * x.pixels(), outputs, x.channels);
        let y = self.tensor(x.batch, outputs, x.size);
        self.add(y, usize::from(bias) + usize::from(residual))
    }

    /// The pixels of pictures as rows, through a linear layer with a bias.
    pub fn linear_from_pixels(&self, x: &Shadow, outputs: u64) -> Shadow {
        self.product(x.pixels(), outputs, x.channels);
        let _rows = (self.backend == Backend::Candle).then(|| self.like(x));
        let y = self.tensor(x.batch, outputs, (x.pixels(), 1));
        self.add(y, 1)
    }

    /// Rows as pixels again, through a linear layer with a bias, added to a residual of `size`.
    pub fn linear_to_pixels_add(&self, x: &Shadow, outputs: u64, size: (u64, u64)) -> Shadow {
        self.product(outputs, x.pixels(), x.channels);
        let y = self.tensor(x.batch, outputs, size);
        if self.backend == Backend::Candle {
            let rows = self.add(y, 1);
            let _pixels = self.like(&rows);
            return self.like(&rows);
        }
        self.add(y, 2)
    }

    /// A linear layer to twice `inner` values, then the first half times the GELU of the second.
    pub fn linear_geglu(&self, x: &Shadow, inner: u64) -> Shadow {
        self.product(x.batch * x.pixels(), 2 * inner, x.channels);
        let wide = || self.tensor(x.batch, 2 * inner, x.size);
        let _both = match self.backend {
            Backend::Cpu => None,
            Backend::Cuda | Backend::Metal => Some(wide()),
            Backend::Candle => Some(self.add(wide(), 1)),
        };
        let half = || self.tensor(x.batch, inner, x.size);
        let _gelu = (self.backend == Backend::Candle).then(half);
        half()
    }

    /// A convolution with a bias to pictures of `size`; `added` other tensors are added, shifts or residuals. Where
    /// `size` is larger than the picture's, the picture is enlarged first.
    pub fn conv(&self, x: &Shadow, outputs: u64, kernel: u64, size: (u64, u64), added: usize) -> Shadow {
        let twice = size == (2 * x.size.0, 2 * x.size.1);
        if size > x.size && !self.backend.enlarges_while_reading(twice) {
            let large = self.tensor(x.batch, x.channels, size);
            return self.conv(&large, outputs, kernel, size, added);
        }
        let taps = x.channels * kernel * kernel;
        match self.backend {
            Backend::Cpu => {
                self.cpu_conv(x, outputs, kernel, size);
                self.tensor(x.batch, outputs, size)
            }
            Backend::Cuda => {
                let y = self.tensor(x.batch, outputs, size);
                let _patches = (kernel > 1).then(|| self.room(self.band(x.batch * taps, size)));
                y
            }
            Backend::Metal => self.add(self.conv_in_bands(x.batch, outputs, kernel, taps, size), 1),
            Backend::Candle => {
                let y = {
                    let columns = x.batch * taps * size.0 * size.1 * self.value();
                    let _columns = self.heap.take(columns.min(self.limits.conv_bytes as u64));
                    // the result of the product, and the same in the order of pictures
                    let _product = self.tensor(x.batch, outputs, size);
                    self.tensor(x.batch, outputs, size)
                };
                self.add(y, 1 + added)
            }
        }
    }

    /// Workspaces of the CPU's convolutions.
    fn cpu_conv(&self, x: &Shadow, outputs: u64, kernel: u64, size: (u64, u64)) {
        let (inputs, pixels) = (x.channels, x.batch * size.0 * size.1);
        if kernel != 3 || size < x.size {
            return self.product(outputs, pixels, kernel * kernel * inputs);
        }
        // 36 places for each 16 pixels; threads keep weights, and sums where the depth is cut
        let band = CPU_BAND.min(inputs * pixels * 4 * 36 / 16);
        let weights = 36 * CPU_OUTPUTS * inputs.min(CPU_DEPTH) * 4;
        let sums = if inputs > CPU_DEPTH { band * CPU_OUTPUTS / inputs } else { weights / 4 };
        self.heap.workspaces([band].into_iter().chain([weights, sums].repeat(self.site.threads)));
    }

    /// Rows of a picture of `size` that are done at a time, of so many patches a pixel.
    fn rows_at_once(&self, patches: u64, size: (u64, u64)) -> u64 {
        let (values_a_row, value) = ((patches * size.1) as usize, self.value() as usize);
        (self.backend.rows_at_once(values_a_row, value, self.limits.conv_bytes) as u64).min(size.0)
    }

    /// Values of the patches of one band.
    fn band(&self, patches: u64, size: (u64, u64)) -> u64 {
        self.rows_at_once(patches, size) * patches * size.1
    }

    /// Patches and product band by band, then joined.
    fn conv_in_bands(&self, batch: u64, outputs: u64, kernel: u64, taps: u64, size: (u64, u64)) -> Shadow {
        if kernel == 1 {
            return self.tensor(batch, outputs, size);
        }
        let rows = self.rows_at_once(batch * taps, size);
        let mut bands = Vec::new();
        for first in (0..size.0).step_by(rows as usize) {
            let band = (rows.min(size.0 - first), size.1);
            let _patches = self.tensor(batch, taps, band);
            bands.push(self.tensor(batch, outputs, band));
        }
        if bands.len() == 1 { bands.remove(0) } else { self.tensor(batch, outputs, size) }
    }

    /// Attention of queries to keys and values, in heads as they are on the device.
    pub fn attention(&self, q: &Shadow, k: &Shadow, heads: &Heads) -> Shadow {
        let upcast = self.limits.upcast_attention;
        if !self.backend.attends_without_scores(self.dtype, heads.padded, false, upcast) {
            return self.attention_with_scores(q, k, heads);
        }
        match self.backend {
            // keys and values head by head, one picture at a time
            Backend::Cpu if heads.count > 1 => self.heap.workspaces([k.pixels() * k.channels * 4; 2]),
            Backend::Metal => {
                let cast = upcast && self.dtype != DType::F32;
                let f32 = |x: &Shadow| cast.then(|| self.heap.take(4 * x.values()));
                let _inputs = (f32(q), f32(k), f32(k));
                // in the order of heads, then of rows
                let _heads = f32(q).unwrap_or_else(|| self.room(q.values()));
                let _rows = f32(q);
                return self.like(q);
            }
            _ => {}
        }
        self.like(q)
    }

    /// The same by blocks of scores, as candle's ops do it.
    fn attention_with_scores(&self, q: &Shadow, k: &Shadow, heads: &Heads) -> Shadow {
        let upcast = self.limits.upcast_attention && self.dtype != DType::F32;
        let value = if upcast { 4 } else { self.value() };
        let room = |values: u64| self.heap.take(values * value);
        let apart = |x: &Shadow| (upcast || heads.count > 1).then(|| room(x.values()));
        let _q = {
            let _unscaled = apart(q);
            room(q.values())
        };
        let _kv = (apart(k), apart(k));
        let (n, m, count) = (q.pixels(), k.pixels(), q.batch * heads.count as u64);
        let head = heads.padded as u64;
        let (heads_at_once, rows_at_once) = {
            let row_bytes = (m * value) as usize;
            attention_blocks(count as usize, n as usize, row_bytes, self.limits.attention_bytes)
        };
        // candle's softmax: less the largest, exponentiated, divided
        let softmax = |values: u64| {
            let _passes = (room(values), room(values));
            room(values)
        };
        let mut groups = Vec::new();
        for first in (0..count).step_by(heads_at_once) {
            let group = (count - first).min(heads_at_once as u64);
            let mut blocks = Vec::new();
            for first in (0..n).step_by(rows_at_once) {
                let rows = group * (n - first).min(rows_at_once as u64);
                let _scores = room(rows * m);
                let _softmax = softmax(rows * m);
                blocks.push(room(rows * head));
            }
            groups.push(if blocks.len() == 1 { blocks.remove(0) } else { room(group * n * head) });
        }
        let joined = if groups.len() == 1 { groups.remove(0) } else { room(q.values()) };
        // in the order of rows, then in the dtype that it came in
        let rows = if heads.count > 1 { room(q.values()) } else { joined };
        if upcast {
            return self.like(q);
        }
        Shadow { _block: Some(Rc::new(rows)), ..*q }
    }
}
