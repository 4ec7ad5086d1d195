//! Changes of resolution without learned weights.

use candle_core::Tensor;

use super::profile;
use crate::diffusion::error::Result;

/// Nearest-neighbour interpolation of `[b, c, h, w]` to `[b, c, height, width]`: output row `y` is input row
/// `⌊y · h / height⌋`, as `torch.nn.functional.interpolate(size=…, mode="nearest")`.
///
/// # Errors
/// When the device has no memory left.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    let _span = profile::op("upsample_nearest", x, || profile::sizes(x))?;
    Ok(x.upsample_nearest2d(height, width)?)
}
