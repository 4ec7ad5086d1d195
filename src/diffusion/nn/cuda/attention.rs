//! Attention without a matrix of scores, on the tensor cores.

use candle_core::Tensor;

use super::Argument::{Address as At, Real};
use super::{Launcher, count};
use crate::diffusion::error::Result;
use crate::diffusion::nn::param::unfit;

/// Query rows of a block.
const ROWS: usize = 64;

/// As [`super::super::attention`], for the dtypes and head sizes that
/// [`Backend`](super::super::Backend::attends_without_scores) knows kernels for; `None` for tensors that do not begin
/// at multiples of 16 bytes.
pub fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    scale: f64,
    causal: bool,
) -> Result<Option<Tensor>> {
    const OP: &str = "attention";
    let (batch, n, inner) = q.dims3()?;
    let m = k.dim(1)?;
    if heads == 0 || !inner.is_multiple_of(heads) || q.elem_count() == 0 || m == 0 {
        return Err(unfit(OP, q));
    }
    let size = inner / heads;
    for x in [k, v] {
        if x.dims() != [batch, m, inner] {
            return Err(unfit(OP, x));
        }
    }
    let (q, k, v) = (&q.contiguous()?, &k.contiguous()?, &v.contiguous()?);
    let cuda = Launcher::like(q, OP)?;
    let y = cuda.uninitialised(q.shape())?;
    let [from_q, from_k, from_v, to] =
        [cuda.address(q)?, cuda.address(k)?, cuda.address(v)?, cuda.address(&y)?];
    if cuda.width(size, &[from_q, from_k, from_v, to]).0 == 1 {
        return Ok(None);
    }
    let scale = (scale * std::f64::consts::LOG2_E) as f32;
    let arguments = [
        At(from_q),
        At(from_k),
        At(from_v),
        At(to),
        count(n),
        count(m),
        count(heads),
        count(inner),
        count(inner),
        Real(scale),
        count(usize::from(causal)),
    ];
    let grid = [n.div_ceil(ROWS), batch * heads, 1];
    cuda.launch(&format!("attention_{size}"), grid, 128, &arguments)?;
    Ok(Some(y))
}
