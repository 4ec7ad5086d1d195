//! A rough picture of latents without the VAE: three weighted sums of their channels.
//!
//! Fast enough for every step. Owns the factors; knows no pipeline.

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::error::{DiffusionError, Result};
use crate::request::{ImageSize, Picture};

/// Stable Diffusion 1.x and 2.x, whose VAEs share their latents.
///
/// Source: InvokeAI (Apache-2.0), fitted by Torridgristle after
/// <https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204>.
const STABLE_DIFFUSION: [[f32; 3]; 4] = [
    [0.3444, 0.1385, 0.0670],
    [0.1247, 0.4027, 0.1494],
    [-0.3192, 0.2513, 0.2103],
    [-0.1307, -0.1874, -0.7445],
];

/// SDXL. Source: InvokeAI (Apache-2.0), fitted by its user `StAlKeR7779`.
const STABLE_DIFFUSION_XL: [[f32; 3]; 4] = [
    [0.3816, 0.4930, 0.5320],
    [-0.3753, 0.1631, 0.1739],
    [0.1770, 0.3588, -0.2048],
    [-0.4350, -0.2644, -0.4289],
];

/// Whose latents they are, where a checkpoint brings no factors of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatentSpace {
    /// Stable Diffusion 1.x and 2.x, SD-Turbo, LCM.
    StableDiffusion,
    /// SDXL and SDXL Turbo.
    StableDiffusionXl,
    /// Anything else: shapes will be right, colours arbitrary.
    Unknown,
}

/// A linear map from latents, as the UNet sees them, to RGB in -1…1.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LatentRgb {
    /// Red, green and blue of each latent channel.
    factors: Vec<[f32; 3]>,
    /// Red, green and blue of latents of zero.
    #[serde(default)]
    bias: [f32; 3],
}

impl LatentRgb {
    /// File of a checkpoint that says it: `{"factors": [[r, g, b], …], "bias": [r, g, b]}`.
    pub const FILE: &'static str = "latent_rgb.json";

    /// Reads [`Self::FILE`] for latents of `channels` channels.
    ///
    /// # Errors
    /// When it is no such JSON or is made for another number of channels.
    pub fn from_json(json: &[u8], channels: usize) -> Result<Self> {
        let wrong = |message: String| DiffusionError::Config { file: Self::FILE.into(), message };
        let map: Self = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        if map.factors.len() != channels {
            return Err(wrong(format!("{} factors for {channels} latent channels", map.factors.len())));
        }
        Ok(map)
    }

    /// The published factors of `space`, or where they do not fit, each channel into one colour.
    pub fn known(space: LatentSpace, channels: usize) -> Self {
        let factors = match (space, channels) {
            (LatentSpace::StableDiffusion, 4) => STABLE_DIFFUSION.to_vec(),
            (LatentSpace::StableDiffusionXl, 4) => STABLE_DIFFUSION_XL.to_vec(),
            _ => (0..channels).map(|channel| one_colour(channel, channels)).collect(),
        };
        Self { factors, bias: [0.; 3] }
    }

    /// The first of `latents` `[b, c, h, w]` as a picture of `w` × `h` pixels. Values that are not numbers are
    /// black.
    ///
    /// # Errors
    /// When the channels are others than those of the factors, or the device fails.
    pub fn picture(&self, latents: &Tensor) -> Result<Picture> {
        let (_, channels, height, width) = latents.dims4()?;
        if channels != self.factors.len() {
            return Err(DiffusionError::Request(format!(
                "the preview has factors for {} channels, the latents have {channels}",
                self.factors.len()
            )));
        }
        let values = latents.get(0)?.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
        let values = values.to_vec1::<f32>()?;
        let pixels = height * width;
        let mut rgb = Vec::with_capacity(pixels * 3);
        for pixel in 0..pixels {
            for colour in 0..3 {
                let sum: f32 = (0..channels)
                    .map(|channel| values[channel * pixels + pixel] * self.factors[channel][colour])
                    .sum();
                let level = (sum + self.bias[colour] + 1.) * 0.5;
                rgb.push((level.clamp(0., 1.) * 255.).round() as u8);
            }
        }
        let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        Ok(Picture { size: ImageSize::new(side(width), side(height)), rgb: rgb.into() })
    }
}

/// Weight of an unknown channel: all of it into red, green or blue in turn, scaled so that unit-variance latents
/// spread over most of the range.
fn one_colour(channel: usize, channels: usize) -> [f32; 3] {
    let sharing = channels.div_ceil(3).max(1) as f32;
    let mut factors = [0.; 3];
    factors[channel % 3] = 0.5 / sharing.sqrt();
    factors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latents(values: &[f32], channels: usize, height: usize, width: usize) -> Tensor {
        Tensor::from_slice(values, (1, channels, height, width), &Device::Cpu).unwrap()
    }

    #[test]
    fn a_pixel_is_the_weighted_sum_of_its_channels() {
        let json = br#"{"comment": "x", "factors": [[1, 0, 0], [0, 0.5, -1]], "bias": [0, 0, 0.5]}"#;
        let map = LatentRgb::from_json(json, 2).unwrap();
        // two pixels beside each other: (c0, c1) = (1, 0) and (0, 1)
        let picture = map.picture(&latents(&[1., 0., 0., 1.], 2, 1, 2)).unwrap();
        assert_eq!(picture.size, ImageSize::new(2, 1));
        assert_eq!(*picture.rgb, [255, 128, 191, 128, 191, 64]);
    }

    #[test]
    fn known_spaces_have_four_channels_and_others_get_shapes() {
        assert_eq!(LatentRgb::known(LatentSpace::StableDiffusion, 4).factors, STABLE_DIFFUSION);
        assert_eq!(LatentRgb::known(LatentSpace::StableDiffusionXl, 4).factors, STABLE_DIFFUSION_XL);
        for channels in [1, 3, 4, 16] {
            let map = LatentRgb::known(LatentSpace::Unknown, channels);
            let mut values = vec![0f32; channels * 4];
            values[0] = 2.;
            let picture = map.picture(&latents(&values, channels, 2, 2)).unwrap();
            assert_ne!(picture.rgb[..3], picture.rgb[3..6], "{channels} channels");
        }
    }

    #[test]
    fn not_a_number_is_black_and_too_large_is_clamped() {
        let map = LatentRgb::known(LatentSpace::Unknown, 1);
        let picture = map.picture(&latents(&[f32::NAN, 1e9, -1e9], 1, 1, 3)).unwrap();
        assert_eq!([picture.rgb[0], picture.rgb[3], picture.rgb[6]], [0, 255, 0]);
    }

    #[test]
    fn the_file_must_fit_the_latents() {
        let error = LatentRgb::from_json(br#"{"factors": [[1, 0, 0]]}"#, 4).unwrap_err().to_string();
        assert_eq!(error, "latent_rgb.json: 1 factors for 4 latent channels");
    }
}
