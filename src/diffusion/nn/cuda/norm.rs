//! Group normalisation, with SiLU in the same pass, and layer normalisation.

use candle_core::{DType, Tensor};

use super::Argument::{Address as At, Real};
use super::{Launcher, count};
use crate::diffusion::error::Result;
use crate::diffusion::nn::param::unfit;

/// Packs of 16 bytes that a thread of `group_norm_small` keeps in registers.
const SMALL_PACKS: usize = 6;
/// The same for `layer_norm`.
const LAYER_PACKS: usize = 8;
/// Threads of a block where a group is cut into parts.
const PART_THREADS: usize = 512;
/// Parts of one group at most.
const PARTS: usize = 64;

/// Groups of the channels of `[b, c, ..]` to mean 0 and variance 1, scaled and shifted by `weight` and `bias` `[c]`,
/// then SiLU if `activate`.
pub fn group_norm(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    groups: usize,
    eps: f64,
    activate: bool,
) -> Result<Tensor> {
    const OP: &str = "a group normalisation";
    let x = &x.contiguous()?;
    let cuda = Launcher::like(x, OP)?;
    let (batch, channels) = (x.dim(0)?, x.dim(1)?);
    let pixels: usize = x.dims()[2..].iter().product();
    if groups == 0 || !channels.is_multiple_of(groups) || weight.dims() != [channels] || x.elem_count() == 0 {
        return Err(unfit(OP, x));
    }
    let size = channels / groups * pixels;
    let y = cuda.uninitialised(x.shape())?;
    let (from, to) = (cuda.address(x)?, cuda.address(&y)?);
    let (weight, bias) = (cuda.address(weight)?, cuda.address(bias)?);
    let (wide, name) = cuda.width(pixels, &[from, to]);
    let tail = [count(groups), count(pixels), Real(eps as f32), count(usize::from(activate))];
    if wide > 1 && size <= 1024 * wide * SMALL_PACKS {
        let threads = (size / wide).next_multiple_of(32).min(1024);
        let arguments = [At(from), At(weight), At(bias), At(to), count(size)].into_iter().chain(tail);
        cuda.launch("group_norm_small", [batch * groups, 1, 1], threads, &arguments.collect::<Vec<_>>())?;
        return Ok(y);
    }
    let part = size.div_ceil(PARTS).max(PART_THREADS * wide * 8).next_multiple_of(wide);
    let parts = size.div_ceil(part);
    let grid = [parts, batch * groups, 1];
    // Count, mean and squared distances of each part; always f32.
    let partial = Launcher { dtype: DType::F32, ..cuda }.uninitialised((batch * groups, parts, 3))?;
    let partial_at = Launcher { dtype: DType::F32, ..cuda }.address(&partial)?;
    let arguments = [At(from), At(partial_at), count(size), count(part)];
    cuda.launch(&format!("group_moments_{name}"), grid, PART_THREADS, &arguments)?;
    let arguments = [At(from), At(partial_at), At(weight), At(bias), At(to), count(size), count(part)];
    let arguments: Vec<_> = arguments.into_iter().chain(tail).collect();
    cuda.launch(&format!("group_norm_{name}"), grid, PART_THREADS, &arguments)?;
    Ok(y)
}

/// Each row of `[.., size]` to mean 0 and variance 1, scaled and shifted by `weight` and `bias` `[size]`; `None` where
/// a row does not fit the kernel.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Option<Tensor>> {
    const OP: &str = "a layer normalisation";
    const WARPS: usize = 4;
    let x = &x.contiguous()?;
    let cuda = Launcher::like(x, OP)?;
    let size = weight.elem_count();
    if x.dims().last() != Some(&size) || x.elem_count() == 0 {
        return Err(unfit(OP, x));
    }
    let y = cuda.uninitialised(x.shape())?;
    let (from, to) = (cuda.address(x)?, cuda.address(&y)?);
    let (weight, bias) = (cuda.address(weight)?, cuda.address(bias)?);
    let (wide, _) = cuda.width(size, &[from, to, weight, bias]);
    if wide == 1 || size > 32 * wide * LAYER_PACKS {
        return Ok(None);
    }
    let rows = x.elem_count() / size;
    let arguments = [At(from), At(weight), At(bias), At(to), count(rows), count(size), Real(eps as f32)];
    cuda.launch("layer_norm", [rows.div_ceil(WARPS), 1, 1], 32 * WARPS, &arguments)?;
    Ok(Some(y))
}
