//! What is added to a product, in one pass.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::floats;
use crate::diffusion::error::Result;

/// What is added to `[.., channels, inner]`; nothing where all are `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Added<'a> {
    /// `[channels]`.
    pub bias: Option<&'a Tensor>,
    /// `[b or 1, channels]`.
    pub shift: Option<&'a Tensor>,
    /// As many values as there are.
    pub residual: Option<&'a Tensor>,
}

/// `x + added`, where channel `c` of `x` is `inner` values at a time.
pub fn add(x: &Tensor, channels: usize, inner: usize, added: &Added<'_>) -> Result<Tensor> {
    let own = |x: Option<&Tensor>| x.map(Tensor::contiguous).transpose();
    let op = Add {
        bias: own(added.bias)?,
        shift: own(added.shift)?,
        residual: own(added.residual)?,
        channels,
        inner,
    };
    if op.bias.is_none() && op.shift.is_none() && op.residual.is_none() {
        return Ok(x.clone());
    }
    let fits = |other: Option<&Tensor>, least: usize| {
        other.is_none_or(|other| other.elem_count() >= least && other.dtype() == x.dtype())
    };
    if !(fits(op.bias.as_ref(), channels)
        && fits(op.shift.as_ref(), channels)
        && fits(op.residual.as_ref(), x.elem_count()))
    {
        return Err(crate::diffusion::nn::param::unfit("an addition", x));
    }
    Ok(x.contiguous()?.apply_op1_no_bwd(&op)?)
}

pub(super) struct Add {
    pub bias: Option<Tensor>,
    pub shift: Option<Tensor>,
    pub residual: Option<Tensor>,
    pub channels: usize,
    pub inner: usize,
}

impl Add {
    fn shift_stride(&self) -> usize {
        let rows = self.shift.as_ref().map_or(1, |shift| shift.elem_count() / self.channels);
        if rows == 1 { 0 } else { self.channels }
    }
}

#[cfg(any(test, all(target_os = "macos", feature = "metal")))]
impl Add {
    pub(super) fn dispatch(&self, count: usize) -> candle_core::Result<super::Dispatch> {
        let params = [
            count,
            self.inner,
            self.channels,
            self.bias.is_some().into(),
            self.shift.is_some().into(),
            self.shift_stride(),
            self.residual.is_some().into(),
        ];
        super::Dispatch::new("add", &params, [count.div_ceil(super::THREADS), 1, 1], count)
    }
}

impl CustomOp1 for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let host = |x: &Option<Tensor>| x.as_ref().map(|x| x.flatten_all()?.to_vec1::<f32>()).transpose();
        let (bias, shift, residual) = (host(&self.bias)?, host(&self.shift)?, host(&self.residual)?);
        let values = floats(x, layout)?.iter().enumerate().map(|(at, x)| {
            let channel = at / self.inner % self.channels;
            let picture = at / (self.inner * self.channels);
            let of = |values: &Option<Vec<f32>>, at: usize| values.as_ref().map_or(0., |values| values[at]);
            x + of(&bias, channel) + of(&shift, picture * self.shift_stride() + channel) + of(&residual, at)
        });
        Ok((CpuStorage::F32(values.collect()), layout.shape().clone()))
    }

    #[cfg(all(target_os = "macos", feature = "metal"))]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        layout: &Layout,
    ) -> candle_core::Result<(candle_core::MetalStorage, Shape)> {
        use super::launch::{Input, launch};

        let held =
            [&self.bias, &self.shift, &self.residual].map(|x| x.as_ref().map(Tensor::storage_and_layout));
        let x = Input::new(x, layout);
        let mut inputs = vec![x];
        for tensor in &held {
            inputs.push(x.or(tensor.as_ref())?);
        }
        let y =
            launch(include_str!("add.metal"), &self.dispatch(layout.shape().elem_count())?, &inputs, None)?;
        Ok((y, layout.shape().clone()))
    }
}
