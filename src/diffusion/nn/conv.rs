//! Two-dimensional convolution.

use candle_core::Tensor;

#[cfg(feature = "cuda")]
use super::cuda;
use super::param::{CpuValues, Params, cpu_tensor, unfit};
use super::{Backend, OpLimits, cpu, fault, metal, profile, upsample_nearest};
use crate::diffusion::error::Result;
use crate::diffusion::weights::{Stored, Weights};

const OP: &str = "a convolution";

/// A square convolution with bias over `[b, c, h, w]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    params: Params<Stored>,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// Reads `weight` `[outputs, inputs, kernel, kernel]` and `bias` `[outputs]`.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub fn load(
        weights: &Weights,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let params = Params::<Stored>::load(weights, (outputs, inputs, kernel, kernel), Some(outputs))?;
        Ok(Self { params, inputs, outputs, kernel, stride, padding })
    }

    /// `[b, inputs, h, w]` to `[b, outputs, h', w']`.
    ///
    /// # Errors
    /// When the shape does not fit or the device has no memory left.
    pub fn forward(&self, x: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let _span = profile::op("conv2d", x, || self.spelled(x))?;
        match &self.params {
            Params::Cpu { weight, bias } => {
                self.on_cpu(weight, bias.as_deref().unwrap_or_default(), x, None, false)
            }
            Params::Device { weight, bias } if metal::takes(x) => {
                self.on_metal(weight, bias.as_ref())?.forward(x, None, None, None, limits.conv_bytes)
            }
            Params::Device { weight, bias } => self.on_device(weight, bias.as_ref(), x, limits),
        }
    }

    /// `conv(x) + residual` in one pass where there is one; `residual` is `[b, outputs, h', w']`.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_add(&self, x: &Tensor, residual: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let _span = profile::op("conv2d", x, || self.spelled(x))?;
        match &self.params {
            Params::Cpu { weight, bias } => {
                self.on_cpu(weight, bias.as_deref().unwrap_or_default(), x, Some(residual), false)
            }
            #[cfg(feature = "cuda")]
            Params::Device { weight, bias } if cuda::takes(x) => {
                self.on_cuda(weight, bias.as_ref(), x, [None, Some(residual)], false, limits)
            }
            Params::Device { weight, bias } if metal::takes(x) => self
                .on_metal(weight, bias.as_ref())?
                .forward(x, None, None, Some(residual), limits.conv_bytes),
            Params::Device { .. } => Ok((self.forward(x, limits)? + residual)?),
        }
    }

    /// `conv(x) + shift`, where `shift`, `[b or 1, outputs]`, is the same for all pixels.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_shifted(&self, x: &Tensor, shift: &Tensor, limits: &OpLimits) -> Result<Tensor> {
        let _span = profile::op("conv2d", x, || self.spelled(x))?;
        #[cfg(feature = "cuda")]
        if let (Params::Device { weight, bias }, true) = (&self.params, cuda::takes(x)) {
            return self.on_cuda(weight, bias.as_ref(), x, [Some(shift), None], false, limits);
        }
        if let (Params::Device { weight, bias }, true) = (&self.params, metal::takes(x)) {
            let conv = self.on_metal(weight, bias.as_ref())?;
            return conv.forward(x, None, Some(shift), None, limits.conv_bytes);
        }
        let Params::Cpu { weight, bias } = &self.params else {
            return Ok(self.forward(x, limits)?.broadcast_add(&shift.unsqueeze(2)?.unsqueeze(3)?)?);
        };
        let (rows, columns) = shift.dims2()?;
        if columns != self.outputs || (rows != 1 && rows != x.dim(0)?) {
            return Err(unfit(OP, shift));
        }
        let mut shifts = shift.flatten_all()?.to_vec1::<f32>()?;
        for row in shifts.chunks_exact_mut(self.outputs) {
            row.iter_mut().zip(bias.iter().flatten()).for_each(|(shift, bias)| *shift += bias);
        }
        self.on_cpu(weight, &shifts, x, None, false)
    }

    /// The convolution of [`upsample_nearest`]`(x, height, width)`, without the large picture in between where that
    /// can be.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_upsampled(
        &self,
        x: &Tensor,
        (height, width): (usize, usize),
        limits: &OpLimits,
    ) -> Result<Tensor> {
        let _span = profile::op("upsample_nearest + conv2d", x, || self.spelled(x))?;
        let (_, _, h, w) = x.dims4()?;
        if !Backend::of(x).enlarges_while_reading((height, width) == (2 * h, 2 * w)) {
            return self.forward(&upsample_nearest(x, height, width)?, limits);
        }
        match &self.params {
            Params::Cpu { weight, bias } if self.is_winograd() => {
                self.on_cpu(weight, bias.as_deref().unwrap_or_default(), x, None, true)
            }
            #[cfg(feature = "cuda")]
            Params::Device { weight, bias } if cuda::takes(x) => {
                self.on_cuda(weight, bias.as_ref(), x, [None, None], true, limits)
            }
            Params::Device { weight, bias } if metal::takes(x) => {
                let conv = self.on_metal(weight, bias.as_ref())?;
                conv.forward(x, Some((height, width)), None, None, limits.conv_bytes)
            }
            _ => self.forward(&upsample_nearest(x, height, width)?, limits),
        }
    }

    /// Kernel, input and output channels, for the profile.
    fn spelled(&self, x: &Tensor) -> String {
        let stride = if self.stride == 1 { String::new() } else { format!(" by {}", self.stride) };
        format!("{0}×{0}{stride} {1} → {2}", self.kernel, profile::sizes(x), self.outputs)
    }

    fn on_metal<'a>(&self, weight: &'a Tensor, bias: Option<&'a Tensor>) -> Result<metal::Conv<'a>> {
        fault::op()?;
        Ok(metal::Conv { weight, bias, stride: self.stride, padding: self.padding })
    }

    fn is_winograd(&self) -> bool {
        (self.kernel, self.stride, self.padding) == (3, 1, 1)
    }

    fn on_cpu(
        &self,
        weight: &Stored,
        bias: &[f32],
        x: &Tensor,
        residual: Option<&Tensor>,
        upsample: bool,
    ) -> Result<Tensor> {
        fault::op()?;
        let (batch, channels, height, width) = x.dims4()?;
        let (x, residual) = (x.contiguous()?, residual.map(Tensor::contiguous).transpose()?);
        let values = CpuValues::of(&x, OP)?;
        let residual_values = residual.as_ref().map(|r| CpuValues::of(r, OP)).transpose()?;
        let conv = cpu::Conv {
            batch,
            inputs: self.inputs,
            outputs: self.outputs,
            height,
            width,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            x: &values,
            weight: weight.floats(),
            bias,
            residual: residual_values.as_deref(),
        };
        let scale = if upsample { 2 } else { 1 };
        let (height, width) = conv.output_size();
        let shape = (batch, self.outputs, height * scale, width * scale);
        let residual_fits =
            residual.as_ref().is_none_or(|r| r.dims() == [shape.0, shape.1, shape.2, shape.3]);
        if channels != self.inputs || height.min(width) == 0 || !residual_fits {
            return Err(unfit(OP, residual.as_ref().filter(|_| !residual_fits).unwrap_or(&x)));
        }
        cpu_tensor(shape, |out| {
            if self.is_winograd() {
                cpu::Conv3x3 { conv, upsample }.forward(cpu::Level::best(), out);
            } else {
                conv.forward(cpu::Level::best(), out);
            }
        })
    }

    /// A 1×1 kernel is a matrix product over the channels. Other kernels go through candle's own convolution, which
    /// makes `kernel²` copies of its input, so output rows are done in bands that stay below the limit.
    fn on_device(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        x: &Tensor,
        limits: &OpLimits,
    ) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if cuda::takes(x) {
            return self.on_cuda(weight, bias, x, [None, None], false, limits);
        }
        fault::op()?;
        let y = if (self.kernel, self.stride, self.padding) == (1, 1, 0) {
            let (b, c, h, w) = x.dims4()?;
            let weight = weight.reshape((self.outputs, self.inputs))?;
            let y = weight.broadcast_matmul(&x.contiguous()?.reshape((b, c, h * w))?)?;
            y.reshape((b, self.outputs, h, w))?
        } else {
            self.in_bands(weight, x, limits.conv_bytes)?
        };
        match bias {
            Some(bias) => Ok(y.broadcast_add(&bias.reshape((1, self.outputs, 1, 1))?)?),
            None => Ok(y),
        }
    }

    /// `added` is a shift `[b or 1, outputs]` and a residual `[b, outputs, h', w']`.
    #[cfg(feature = "cuda")]
    fn on_cuda(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        x: &Tensor,
        [shift, residual]: [Option<&Tensor>; 2],
        upsample: bool,
        limits: &OpLimits,
    ) -> Result<Tensor> {
        fault::op()?;
        let (stride, padding, workspace) = (self.stride, self.padding, limits.conv_bytes);
        cuda::Conv { weight, bias, shift, residual, stride, padding, upsample, workspace }.forward(x)
    }

    fn in_bands(&self, weight: &Tensor, x: &Tensor, budget: usize) -> Result<Tensor> {
        let (b, c, h, w) = x.dims4()?;
        let size = |n: usize| (n + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1;
        let (rows, columns) = (size(h), size(w));
        let values_a_row = b * columns * c * self.kernel * self.kernel;
        let at_once = Backend::of(x).rows_at_once(values_a_row, x.dtype().size_in_bytes(), budget);
        if at_once >= rows {
            return Ok(x.conv2d(weight, self.padding, self.stride, 1, 1)?);
        }
        let x = x.pad_with_zeros(3, self.padding, self.padding)?;
        let mut bands = Vec::new();
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            // Rows of the padded picture that the band needs, and those of them that are in the picture.
            let (start, end) = (first * self.stride, (first + count - 1) * self.stride + self.kernel);
            let (top, bottom) = (start.max(self.padding), end.min(h + self.padding));
            let band = x.narrow(2, top - self.padding, bottom - top)?;
            let band = band.pad_with_zeros(2, top - start, end - bottom)?;
            bands.push(band.contiguous()?.conv2d(weight, 0, self.stride, 1, 1)?);
        }
        Ok(Tensor::cat(&bands, 2)?)
    }
}
