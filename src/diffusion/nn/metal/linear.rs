//! Matrix products with learned weights, without copies of what they read.

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Shape, Tensor};

use super::add::{Added, add};
use super::floats;
use crate::diffusion::error::Result;

/// `x Wᵀ + bias + residual` over the last dimension; `weight` is `[outputs, inputs]`.
pub fn linear(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let y = candle_nn::Linear::new(weight.clone(), None).forward(x)?;
    add(&y, weight.dim(0)?, 1, &Added { bias, shift: None, residual })
}

/// The pixels of `[b, inputs, h, w]` as rows: `[b, h · w, outputs]`. The product reads the picture as it lies.
pub fn linear_from_pixels(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (b, c, h, w) = x.dims4()?;
    let rows = x.contiguous()?.reshape((b, c, h * w))?.transpose(1, 2)?;
    // candle 0.11.1's product on the CPU joins the pictures' rows although they are transposed; on Metal it does not.
    let rows = if x.device().is_cpu() { rows.contiguous()? } else { rows };
    linear(&rows, weight, bias, None)
}

/// `[b, h · w, inputs]` as pixels again, added to `residual`: `[b, outputs, h, w]`. The product writes them as pixels.
pub fn linear_to_pixels_add(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: &Tensor,
) -> Result<Tensor> {
    let (b, pixels, inputs) = x.dims3()?;
    let outputs = weight.dim(0)?;
    let weight = weight.reshape((1, outputs, inputs))?.broadcast_as((b, outputs, inputs))?;
    let y = weight.matmul(&x.contiguous()?.transpose(1, 2)?)?;
    let y = add(&y, outputs, pixels, &Added { bias, shift: None, residual: Some(residual) })?;
    Ok(y.reshape(residual.shape())?)
}

/// Of `x + bias`, `[.., 2 d]`, the first half times the GELU of the second, `[.., d]`.
pub fn geglu(x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let fits = |bias: &Tensor| x.dims().last() == Some(&bias.elem_count()) && x.dtype() == bias.dtype();
    if !bias.as_ref().is_none_or(fits) {
        return Err(crate::diffusion::nn::param::unfit("geglu", x));
    }
    Ok(x.contiguous()?.apply_op1_no_bwd(&Geglu { bias })?)
}

/// [`geglu`]`(x Wᵀ, bias)`.
pub fn linear_geglu(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    geglu(&candle_nn::Linear::new(weight.clone(), None).forward(x)?, bias)
}

pub(super) struct Geglu {
    pub bias: Option<Tensor>,
}

impl Geglu {
    /// Rows, and half of the last dimension, and the shape of the result.
    fn sizes(layout: &Layout) -> candle_core::Result<(usize, usize, Shape)> {
        let mut shape = layout.shape().dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last > 0 && last.is_multiple_of(2) => *last /= 2,
            _ => candle_core::bail!("geglu wants an even last dimension, not {:?}", layout.shape()),
        }
        let width = shape[shape.len() - 1];
        Ok((shape.iter().product::<usize>() / width, width, shape.into()))
    }
}

#[cfg(any(test, all(target_os = "macos", feature = "metal")))]
impl Geglu {
    pub(super) fn dispatch(&self, layout: &Layout) -> candle_core::Result<(super::Dispatch, Shape)> {
        let (rows, width, shape) = Self::sizes(layout)?;
        let grid = [width.div_ceil(super::THREADS), rows, 1];
        let params = [rows, width, self.bias.is_some().into()];
        let dispatch = super::Dispatch::new("geglu", &params, grid, rows * width)?;
        Ok((dispatch, shape))
    }
}

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, width, shape) = Self::sizes(layout)?;
        let bias = match &self.bias {
            Some(bias) => bias.flatten_all()?.to_vec1::<f32>()?,
            None => vec![0.; 2 * width],
        };
        let rows = floats(x, layout)?.chunks_exact(2 * width);
        let mut y = Vec::with_capacity(layout.shape().elem_count() / 2);
        for row in rows {
            y.extend((0..width).map(|at| {
                let (value, gate) = (row[at] + bias[at], f64::from(row[width + at] + bias[width + at]));
                let erf = candle_core::cpu::erf::erf_f64(gate * std::f64::consts::FRAC_1_SQRT_2);
                value * (0.5 * gate * (1. + erf)) as f32
            }));
        }
        Ok((CpuStorage::F32(y), shape))
    }

    #[cfg(all(target_os = "macos", feature = "metal"))]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        layout: &Layout,
    ) -> candle_core::Result<(candle_core::MetalStorage, Shape)> {
        use super::launch::{Input, launch};

        let (dispatch, shape) = self.dispatch(layout)?;
        let bias = self.bias.as_ref().map(Tensor::storage_and_layout);
        let x = Input::new(x, layout);
        let y = launch(include_str!("geglu.metal"), &dispatch, &[x, x.or(bias.as_ref())?], None)?;
        Ok((y, shape))
    }
}
