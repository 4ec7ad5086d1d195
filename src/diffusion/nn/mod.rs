//! The ops that every model is made of, each behind one function or layer, one file per backend where it pays.
//!
//! Layers are loaded from [`Weights`](super::weights::Weights) by their Hugging Face names. Nothing else in the
//! project knows how an op is done.

mod activation;
mod attention;
mod backend;
mod conv;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub mod fault;
mod linear;
mod metal;
mod norm;
mod param;
pub mod profile;
mod replay;
mod resample;
mod transfer;

pub use activation::{Activation, add, geglu};
pub use attention::attention;
pub use backend::{Backend, attention_blocks};
pub use conv::Conv2d;
pub(crate) use cpu::Floats;
#[cfg(feature = "cuda")]
pub(in crate::diffusion) use cuda::without_recording;
pub use linear::{Embedding, Linear};
pub use metal::{Heads, fused_head_size, im2col_rows, pooled};
pub use norm::{GroupNorm, LayerNorm};
pub use replay::Replay;
pub use resample::upsample_nearest;
pub use transfer::{Traffic, Upload, read_back, to_host, traffic};

/// What the memory plan allows an op to allocate, and what the watchdog asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpLimits {
    /// Bytes for one block of attention scores; attention is cut over heads, then query rows, to stay below.
    pub attention_bytes: usize,
    /// Bytes for the workspace of one convolution; output rows are done in bands to stay below.
    pub conv_bytes: usize,
    /// Attention in f32 whatever the model's dtype.
    pub upcast_attention: bool,
}

impl Default for OpLimits {
    fn default() -> Self {
        Self { attention_bytes: 256 << 20, conv_bytes: 256 << 20, upcast_attention: false }
    }
}
