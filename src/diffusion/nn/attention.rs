//! Scaled dot-product attention, cut over heads and query rows to a byte budget.

use candle_core::{D, DType, Tensor};

use super::param::{CpuValues, cpu_tensor, unfit};
use super::{Backend, OpLimits, attention_blocks, cpu, fault, metal, profile};
use crate::diffusion::error::Result;

/// `softmax(q kᵀ · scale + mask) v` for every head.
///
/// `q` is `[b, n, heads · d]`, `k` and `v` are `[b, m, heads · d]`; the result is `[b, n, heads · d]`.
/// `causal` lets a row see only the columns up to its own.
///
/// # Errors
/// When the shapes do not fit or the device has no memory left.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    scale: f64,
    causal: bool,
    limits: &OpLimits,
) -> Result<Tensor> {
    let _span = profile::op("attention", q, || spelled(q, k, heads))?;
    fault::op()?;
    let (backend, size, upcast) = (Backend::of(q), q.dim(D::Minus1)? / heads.max(1), limits.upcast_attention);
    if backend.attends_without_scores(q.dtype(), size, causal, upcast) {
        let fused = match backend {
            Backend::Cpu => Some(on_cpu(q, k, v, heads, scale, causal)?),
            #[cfg(feature = "cuda")]
            Backend::Cuda => super::cuda::attention(q, k, v, heads, scale, causal)?,
            Backend::Metal => Some(metal::attention(q, k, v, heads, scale, upcast)?),
            _ => None,
        };
        if let Some(y) = fused {
            return Ok(y);
        }
    }
    let dtype = q.dtype();
    let (b, n, inner) = q.dims3()?;
    let m = k.dim(1)?;
    let split = |x: &Tensor, rows: usize| -> Result<Tensor> {
        let x = x.reshape((b, rows, heads, inner / heads))?.transpose(1, 2)?;
        let x = if upcast { x.to_dtype(DType::F32)? } else { x };
        Ok(x.contiguous()?.reshape((b * heads, rows, inner / heads))?)
    };
    let (q, k, v) = ((split(q, n)? * scale)?, split(k, m)?.transpose(1, 2)?, split(v, m)?);
    let mask = if causal && backend != Backend::Cuda { Some(causal_mask(n, m, &q)?) } else { None };
    let row_bytes = m * q.dtype().size_in_bytes();
    let (heads_at_once, rows_at_once) = attention_blocks(b * heads, n, row_bytes, limits.attention_bytes);
    let mut outputs = Vec::new();
    for h in (0..b * heads).step_by(heads_at_once) {
        let count = heads_at_once.min(b * heads - h);
        let (q, k, v) = (q.narrow(0, h, count)?, k.narrow(0, h, count)?, v.narrow(0, h, count)?);
        let mut blocks = Vec::new();
        for r in (0..n).step_by(rows_at_once) {
            let rows = rows_at_once.min(n - r);
            let mut scores = q.narrow(1, r, rows)?.contiguous()?.matmul(&k)?;
            if let Some(mask) = &mask {
                scores = scores.broadcast_add(&mask.narrow(0, r, rows)?)?;
            }
            #[cfg(feature = "cuda")]
            if backend == Backend::Cuda {
                blocks.push(super::cuda::softmax(&scores, causal.then_some(r))?.matmul(&v)?);
                continue;
            }
            blocks.push(candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&v)?);
        }
        outputs.push(Tensor::cat(&blocks, 1)?);
    }
    let y = Tensor::cat(&outputs, 0)?.reshape((b, heads, n, inner / heads))?;
    Ok(y.transpose(1, 2)?.reshape((b, n, inner))?.to_dtype(dtype)?)
}

fn on_cpu(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, scale: f64, causal: bool) -> Result<Tensor> {
    const OP: &str = "attention";
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let (b, n, inner) = q.dims3()?;
    let m = k.dim(1)?;
    if heads == 0 || !inner.is_multiple_of(heads) || m == 0 {
        return Err(unfit(OP, &q));
    }
    for x in [&k, &v] {
        if x.dims() != [b, m, inner] {
            return Err(unfit(OP, x));
        }
    }
    let attention = cpu::Attention {
        q: &CpuValues::of(&q, OP)?,
        k: &CpuValues::of(&k, OP)?,
        v: &CpuValues::of(&v, OP)?,
        queries: n,
        keys: m,
        heads,
        size: inner / heads,
        scale: scale as f32,
        causal,
    };
    cpu_tensor((b, n, inner), |out| attention.forward(cpu::Level::best(), out))
}

/// Queries, keys and heads, for the profile.
fn spelled(q: &Tensor, k: &Tensor, heads: usize) -> String {
    format!("{} to {}, {heads} heads", profile::sizes(q), k.dims().get(1).unwrap_or(&0))
}

/// `[n, m]` with a large negative finite number (infinities break fast math) above the diagonal.
fn causal_mask(n: usize, m: usize, like: &Tensor) -> Result<Tensor> {
    let low = if like.dtype() == DType::F16 { -6e4f32 } else { -1e30 };
    let mask: Vec<f32> = (0..n).flat_map(|r| (0..m).map(move |c| if c > r { low } else { 0. })).collect();
    Ok(Tensor::from_vec(mask, (n, m), like.device())?.to_dtype(like.dtype())?)
}
