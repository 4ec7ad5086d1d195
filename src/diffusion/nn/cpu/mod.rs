//! The ops on the CPU in f32: plain slices in, plain slices out.
//!
//! Knows vectors, caches and threads; knows no tensor, no weights file and no model. All parallel work goes to
//! rayon's global pool, whose idle threads sleep.

mod attention;
mod conv;
mod floats;
mod gemm;
mod linear;
mod math;
mod norm;
mod scratch;
mod simd;
mod winograd;

pub use attention::Attention;
pub use conv::Conv;
pub use floats::Floats;
pub use linear::Linear;
pub use math::{Elementwise, Gelu, Swish, map};
pub use norm::{GroupNorm, LayerNorm};
pub use simd::Level;
pub use winograd::Conv3x3;

#[cfg(test)]
mod tests;
