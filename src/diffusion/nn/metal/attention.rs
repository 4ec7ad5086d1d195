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
    let (b, n, width) = q.dims3()?;
    let dtype = if upcast { DType::F32 } else { q.dtype() };
    let size = width / heads.max(1);
    let split = |x: &Tensor| -> Result<Tensor> {
        let rows = x.dim(1)?;
        Ok(x.to_dtype(dtype)?.contiguous()?.reshape((b, rows, heads, size))?.transpose(1, 2)?)
    };
    let y = candle_nn::ops::sdpa(&split(q)?, &split(k)?, &split(v)?, None, false, scale as f32, 1.)?;
    Ok(y.transpose(1, 2)?.reshape((b, n, width))?.to_dtype(q.dtype())?)
}
