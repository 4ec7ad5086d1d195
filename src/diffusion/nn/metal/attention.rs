//! Fused attention.

use candle_core::{DType, Tensor};

use crate::diffusion::error::Result;

/// `softmax(q kᵀ · scale) v` over heads of a size that candle has a fused kernel for. Shapes as in
/// [`attention`](crate::diffusion::nn::attention); queries, keys and values are read where they lie, and the result
/// is copied once, from the order of heads to that of rows.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    scale: f64,
    upcast: bool,
) -> Result<Tensor> {
    let dtype = if upcast { DType::F32 } else { q.dtype() };
    over_heads(q, k, v, heads, dtype, |q, k, v| candle_nn::ops::sdpa(q, k, v, None, false, scale as f32, 1.))
}

/// `kernel` over `[b, heads, rows, size]` in `dtype`, with at least two rows of queries: for one alone candle takes
/// another kernel, which expects the keys of a head to follow each other, and sizes that are multiples of 32.
pub(super) fn over_heads(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    dtype: DType,
    kernel: impl FnOnce(&Tensor, &Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    let (b, n, width) = q.dims3()?;
    let twice = if n == 1 { Some(Tensor::cat(&[q, q], 1)?) } else { None };
    let split = |x: &Tensor| -> Result<Tensor> {
        let rows = x.dim(1)?;
        Ok(x.to_dtype(dtype)?
            .contiguous()?
            .reshape((b, rows, heads, width / heads.max(1)))?
            .transpose(1, 2)?)
    };
    let y = kernel(&split(twice.as_ref().unwrap_or(q))?, &split(k)?, &split(v)?)?;
    Ok(y.narrow(2, 0, n)?.transpose(1, 2)?.reshape((b, n, width))?.to_dtype(q.dtype())?)
}
