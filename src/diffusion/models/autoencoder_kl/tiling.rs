//! Decoding a large picture in overlapping tiles whose seams are blended.
//!
//! Source: diffusers 0.42.1, `models/autoencoders/autoencoder_kl.py`, `tiled_decode`, `blend_v`, `blend_h`.

use candle_core::{Device, Tensor};

use super::config::VaeConfig;
use crate::diffusion::error::{DiffusionError, Result};

/// Size and overlap of the tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tiling {
    /// Side of a tile, in latent pixels.
    pub latent_size: usize,
    /// Side of a tile, in picture pixels.
    pub sample_size: usize,
    /// Share of a tile that the next one covers again, at least 0 and below 1.
    pub overlap: f64,
}

impl Tiling {
    /// diffusers': tiles of the size that the model was trained on, a quarter of it shared with the next.
    pub fn from_config(config: &VaeConfig) -> Self {
        let side = config.sample_size.height();
        Self { latent_size: side / config.scale_factor(), sample_size: side, overlap: 0.25 }
    }

    /// Tiles of `latent_size` latent pixels; the rest as [`Self::from_config`].
    pub fn of_latents(latent_size: usize, config: &VaeConfig) -> Self {
        Self { latent_size, sample_size: latent_size * config.scale_factor(), overlap: 0.25 }
    }

    /// Whether latents of this size are larger than one tile.
    pub fn applies(&self, height: usize, width: usize) -> bool {
        height > self.latent_size || width > self.latent_size
    }

    /// Tiles of latents of this size: rows and columns.
    pub fn grid(&self, height: usize, width: usize) -> (usize, usize) {
        let stride = self.stride().max(1);
        (height.div_ceil(stride), width.div_ceil(stride))
    }

    /// Latent pixels from one tile to the next.
    fn stride(&self) -> usize {
        (self.latent_size as f64 * (1. - self.overlap)) as usize
    }

    /// Picture pixels over which two tiles are blended.
    fn blend_extent(&self) -> usize {
        (self.sample_size as f64 * self.overlap) as usize
    }
}

/// Decodes `latents` `[b, c, h, w]` tile by tile with `decode`, row by row, and blends the seams.
///
/// Only two rows of tiles are held at a time.
pub(super) fn decode(
    latents: &Tensor,
    tiling: &Tiling,
    mut decode: impl FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let stride = tiling.stride();
    if stride == 0 {
        return Err(DiffusionError::Request(format!(
            "a VAE tile of {} latent pixels is too small; take a larger one",
            tiling.latent_size
        )));
    }
    let (height, width) = (latents.dim(2)?, latents.dim(3)?);
    let extent = tiling.blend_extent();
    let kept = tiling.sample_size - extent;
    let mut above: Vec<Tensor> = Vec::new();
    let mut rows = Vec::new();
    for top in (0..height).step_by(stride) {
        let band = latents.narrow(2, top, tiling.latent_size.min(height - top))?;
        let mut row: Vec<Tensor> = Vec::new();
        for (column, left) in (0..width).step_by(stride).enumerate() {
            let tile = band.narrow(3, left, tiling.latent_size.min(width - left))?.contiguous()?;
            let mut tile = decode(&tile)?;
            if let Some(upper) = above.get(column) {
                tile = blend(upper, &tile, 2, extent)?;
            }
            if let Some(previous) = row.last() {
                tile = blend(previous, &tile, 3, extent)?;
            }
            row.push(tile);
        }
        let trimmed = row.iter().map(|tile| trim(tile, kept)).collect::<Result<Vec<_>>>()?;
        rows.push(Tensor::cat(&trimmed, 3)?);
        above = row;
    }
    Ok(Tensor::cat(&rows, 2)?)
}

/// `b` with its first `extent` rows (`dim` 2) or columns (3) faded in from the last ones of `a`.
fn blend(a: &Tensor, b: &Tensor, dim: usize, extent: usize) -> Result<Tensor> {
    let (a_len, b_len) = (a.dim(dim)?, b.dim(dim)?);
    let extent = extent.min(a_len).min(b_len);
    if extent == 0 {
        return Ok(b.clone());
    }
    let mut shape = [1; 4];
    shape[dim] = extent;
    let ramp = |from_zero: bool| -> Result<Tensor> {
        let share = |i: usize| i as f32 / extent as f32;
        let values: Vec<f32> =
            (0..extent).map(|i| if from_zero { share(i) } else { 1. - share(i) }).collect();
        Ok(Tensor::from_vec(values, &shape, &Device::Cpu)?.to_dtype(b.dtype())?.to_device(b.device())?)
    };
    let fading_out = a.narrow(dim, a_len - extent, extent)?.broadcast_mul(&ramp(false)?)?;
    let fading_in = b.narrow(dim, 0, extent)?.broadcast_mul(&ramp(true)?)?;
    let seam = (fading_out + fading_in)?;
    if extent == b_len {
        return Ok(seam);
    }
    Ok(Tensor::cat(&[&seam, &b.narrow(dim, extent, b_len - extent)?], dim)?)
}

/// The first `kept` rows and columns.
fn trim(tile: &Tensor, kept: usize) -> Result<Tensor> {
    let (h, w) = (tile.dim(2)?, tile.dim(3)?);
    Ok(tile.narrow(2, 0, kept.min(h))?.narrow(3, 0, kept.min(w))?)
}
