//! Group normalisation, with SiLU where it follows, in two passes.

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

use super::floats;
use crate::diffusion::error::Result;
use crate::diffusion::nn::cpu;

/// Group normalisation over `[b, c, ..]`.
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm {
    pub groups: usize,
    pub eps: f64,
    pub silu: bool,
}

impl GroupNorm {
    /// Of `x`; `weight` and `bias` are `[c]`.
    pub fn forward(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let channels = x.dim(1)?;
        let fits = |learned: &Tensor| learned.elem_count() == channels && learned.dtype() == x.dtype();
        if !channels.is_multiple_of(self.groups) || !fits(weight) || !fits(bias) {
            return Err(crate::diffusion::nn::param::unfit("a group normalisation", x));
        }
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        Ok(x.contiguous()?.apply_op3_no_bwd(&weight, &bias, self)?)
    }
}

#[cfg(any(test, all(target_os = "macos", feature = "metal")))]
impl GroupNorm {
    /// First the statistics of chunks, two f32 each, then the result.
    pub(super) fn dispatches(&self, shape: &Shape) -> candle_core::Result<[super::Dispatch; 2]> {
        /// Values of one threadgroup.
        const CHUNK: usize = super::THREADS * 16;
        let dims = shape.dims();
        let pixels: usize = dims[2..].iter().product();
        let channels_a_group = dims[1] / self.groups;
        let size = channels_a_group * pixels;
        let (chunks, all_groups) = (size.div_ceil(CHUNK), dims[0] * self.groups);
        let eps = (self.eps as f32).to_bits() as usize;
        let params = [size, chunks, self.groups, channels_a_group, pixels, eps, self.silu.into()];
        let dispatch = |kernel, count| super::Dispatch::new(kernel, &params, [chunks, all_groups, 1], count);
        let statistics = dispatch("group_norm_stats", 2 * chunks * all_groups)?;
        Ok([statistics, dispatch("group_norm_apply", shape.elem_count())?])
    }
}

impl CustomOp3 for GroupNorm {
    fn name(&self) -> &'static str {
        "group_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let dims = layout.shape().dims();
        let norm = cpu::GroupNorm {
            groups: self.groups,
            channels: dims[1],
            pixels: dims[2..].iter().product(),
            eps: self.eps,
            weight: floats(weight, weight_layout)?,
            bias: floats(bias, bias_layout)?,
            silu: self.silu,
        };
        let mut y = vec![0.; x.len()];
        norm.forward(cpu::Level::best(), x, &mut y);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    #[cfg(all(target_os = "macos", feature = "metal"))]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        layout: &Layout,
        weight: &candle_core::MetalStorage,
        weight_layout: &Layout,
        bias: &candle_core::MetalStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(candle_core::MetalStorage, Shape)> {
        use super::launch::{Input, launch};
        use candle_core::DType;

        const SOURCE: &str = include_str!("group_norm.metal");
        let [stats, apply] = self.dispatches(layout.shape())?;
        let x = Input::new(x, layout);
        let partial = launch(SOURCE, &stats, &[x], Some(DType::F32))?;
        let inputs = [
            x,
            Input::new(&partial, &Layout::contiguous(stats.count)),
            Input::new(weight, weight_layout),
            Input::new(bias, bias_layout),
        ];
        Ok((launch(SOURCE, &apply, &inputs, None)?, layout.shape().clone()))
    }
}
