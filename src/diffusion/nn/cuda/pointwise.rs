//! Ops on single elements and on rows: activations, sums, softmax, the vectors of a table.
//!
//! candle has kernels for these too; each of its modules is translated for the GPU as a whole, up to ten seconds on a
//! machine's first start.

use candle_core::{DType, Tensor};

use super::Argument::{Address as At, Long};
use super::{Launcher, count};
use crate::diffusion::error::Result;
use crate::diffusion::nn::Activation;
use crate::diffusion::nn::param::unfit;

const THREADS: usize = 256;

/// `activation` of every element.
pub fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    let x = &x.contiguous()?;
    let cuda = Launcher::like(x, "an activation")?;
    let y = cuda.uninitialised(x.shape())?;
    let (from, to, values) = (cuda.address(x)?, cuda.address(&y)?, x.elem_count());
    let (wide, name) = cuda.width(values, &[from, to]);
    let number = match activation {
        Activation::Silu => 0,
        Activation::Gelu => 1,
        Activation::QuickGelu => 2,
        Activation::Relu => 3,
        Activation::Mish => 4,
    };
    let arguments = [At(from), At(to), count(number), Long(values as u64)];
    cuda.launch(&format!("activate_{name}"), [(values / wide).div_ceil(THREADS), 1, 1], THREADS, &arguments)?;
    Ok(y)
}

/// `x + y`; where `y` is smaller, it is the last dimensions of what is added to every part of `x`.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    const OP: &str = "an addition";
    let (x, y) = (&x.contiguous()?, &y.contiguous()?);
    let cuda = Launcher::like(x, OP)?;
    let (values, columns) = (x.elem_count(), y.elem_count());
    if columns == 0 || !values.is_multiple_of(columns) {
        return Err(unfit(OP, y));
    }
    let sum = cuda.uninitialised(x.shape())?;
    let (a, b, to) = (cuda.address(x)?, cuda.address(y)?, cuda.address(&sum)?);
    let (wide, name) = cuda.width(columns, &[a, b, to]);
    let arguments = [At(b), At(a), At(to), count(columns), Long(values as u64)];
    cuda.launch(
        &format!("add_to_rows_{name}"),
        [(values / wide).div_ceil(THREADS), 1, 1],
        THREADS,
        &arguments,
    )?;
    Ok(sum)
}

/// Softmax over the last dimension of `[.., rows, columns]`. `causal_from` lets row `r` see the columns up to
/// `causal_from + r`.
pub fn softmax(x: &Tensor, causal_from: Option<usize>) -> Result<Tensor> {
    const OP: &str = "a softmax";
    let x = &x.contiguous()?;
    let cuda = Launcher::like(x, OP)?;
    let &[.., rows, columns] = x.dims() else { return Err(unfit(OP, x)) };
    if x.elem_count() == 0 {
        return Err(unfit(OP, x));
    }
    let y = cuda.uninitialised(x.shape())?;
    let first_row = count(causal_from.unwrap_or(0));
    let causal = count(usize::from(causal_from.is_some()));
    let arguments =
        [At(cuda.address(x)?), At(cuda.address(&y)?), count(rows), count(columns), first_row, causal];
    cuda.launch("softmax", [x.elem_count() / columns, 1, 1], THREADS, &arguments)?;
    Ok(y)
}

/// The rows of `table` `[count, size]` that `ids`, u32, name: `[.., size]`.
pub fn table_rows(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let (table, ids) = (&table.contiguous()?, &ids.contiguous()?);
    let cuda = Launcher::like(table, "an embedding")?;
    let (rows, size) = table.dims2()?;
    let y = cuda.uninitialised([ids.dims(), &[size]].concat())?;
    let ids_at = Launcher { dtype: DType::U32, ..cuda }.address(ids)?;
    let arguments = [At(cuda.address(table)?), At(ids_at), At(cuda.address(&y)?), count(rows), count(size)];
    cuda.launch("table_rows", [ids.elem_count(), 1, 1], THREADS, &arguments)?;
    Ok(y)
}
