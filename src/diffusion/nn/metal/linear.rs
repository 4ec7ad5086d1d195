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

/// Of `[.., 2 d]` the first half times the GELU of the second, `[.., d]`.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op1_no_bwd(&Geglu)?)
}

pub(super) struct Geglu;

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
    pub(super) fn dispatch(layout: &Layout) -> candle_core::Result<(super::Dispatch, Shape)> {
        let (rows, width, shape) = Self::sizes(layout)?;
        let dispatch = super::Dispatch {
            kernel: "geglu",
            params: vec![rows as u32, width as u32],
            grid: [width.div_ceil(super::THREADS), rows, 1],
            count: rows * width,
        };
        Ok((dispatch, shape))
    }
}

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, width, shape) = Self::sizes(layout)?;
        let rows = floats(x, layout)?.chunks_exact(2 * width);
        let y = rows.flat_map(|row| {
            let (values, gates) = row.split_at(width);
            values.iter().zip(gates).map(|(value, gate)| {
                let gate = f64::from(*gate);
                let gelu = 0.5
                    * gate
                    * (1. + candle_core::cpu::erf::erf_f64(gate * std::f64::consts::FRAC_1_SQRT_2));
                value * gelu as f32
            })
        });
        Ok((CpuStorage::F32(y.collect()), shape))
    }

    #[cfg(all(target_os = "macos", feature = "metal"))]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        layout: &Layout,
    ) -> candle_core::Result<(candle_core::MetalStorage, Shape)> {
        use super::launch::{Input, launch, output};
        use candle_core::backend::BackendStorage;

        let (dispatch, shape) = Self::dispatch(layout)?;
        let y = output(x.device(), dispatch.count, x.dtype())?;
        let inputs = [Input::new(x, layout)];
        launch(include_str!("geglu.metal"), &dispatch, x.device(), x.dtype(), &inputs, &y)?;
        Ok((y, shape))
    }
}
