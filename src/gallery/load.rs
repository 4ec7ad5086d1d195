//! Reading pictures: to start from, to show.

use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{ImageReader, Limits};

use crate::request::{ImageSize, Picture};

/// Why a picture could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {message}", path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// Size of a picture without reading its pixels.
///
/// # Errors
/// When the file cannot be read or is no PNG or JPEG.
pub fn size(path: &Path) -> Result<ImageSize, LoadError> {
    let failed = |message: String| LoadError { path: path.into(), message };
    let (width, height) = open(path)?.into_dimensions().map_err(|error| failed(error.to_string()))?;
    Ok(ImageSize::new(width, height))
}

/// A picture of `size`: scaled to cover it, then cut at the longer sides.
///
/// # Errors
/// When the file cannot be read or is no PNG or JPEG.
pub fn filling(path: &Path, size: ImageSize) -> Result<Picture, LoadError> {
    let failed = |message: String| LoadError { path: path.into(), message };
    let image = open(path)?.decode().map_err(|error| failed(error.to_string()))?;
    let image = if (image.width(), image.height()) == (size.width, size.height) {
        image
    } else {
        image.resize_to_fill(size.width, size.height, FilterType::Lanczos3)
    };
    Ok(Picture { size, rgb: image.into_rgb8().into_raw().into() })
}

/// A picture as it is.
///
/// # Errors
/// When the file cannot be read, is no PNG or JPEG, or would take more than a gibibyte.
pub fn whole(path: &Path) -> Result<Picture, LoadError> {
    let failed = |message: String| LoadError { path: path.into(), message };
    let image = open(path)?.decode().map_err(|error| failed(error.to_string()))?;
    let size = ImageSize::new(image.width(), image.height());
    Ok(Picture { size, rgb: image.into_rgb8().into_raw().into() })
}

/// A reader that refuses what no camera makes before it takes memory for it.
fn open(path: &Path) -> Result<ImageReader<std::io::BufReader<std::fs::File>>, LoadError> {
    const MAX_SIDE: u32 = 32_768;
    const MAX_BYTES: u64 = 1 << 30;
    let failed = |error: std::io::Error| LoadError { path: path.into(), message: error.to_string() };
    let mut reader = ImageReader::open(path).map_err(failed)?.with_guessed_format().map_err(failed)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    Ok(reader)
}
