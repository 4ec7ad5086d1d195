//! Pictures in other sizes.

use std::borrow::Cow;
use std::io;

use image::imageops::{self, FilterType};
use image::{ExtendedColorType, ImageBuffer, ImageEncoder as _, Rgb, RgbImage};
use ratatui::layout::Size;

use crate::request::{ImageSize, Picture};

/// The largest size in cells, at most `limit`, in which a picture keeps its shape. At least 1×1.
///
/// `cell` is a cell's size in pixels. Small pictures are enlarged.
pub fn fit(picture: ImageSize, limit: Size, cell: Size) -> Size {
    let (width, height) = (u64::from(picture.width.max(1)), u64::from(picture.height.max(1)));
    let (cell_width, cell_height) = (u64::from(cell.width.max(1)), u64::from(cell.height.max(1)));
    let (columns, rows) = (u64::from(limit.width.max(1)), u64::from(limit.height.max(1)));
    // pixels that the limit allows for, in units of the picture's own shape
    let by_width = columns * cell_width * height;
    let by_height = rows * cell_height * width;
    let round = |numerator: u64, denominator: u64| (numerator + denominator / 2) / denominator;
    let (columns, rows) = if by_width <= by_height {
        (columns, round(by_width, width * cell_height).clamp(1, rows))
    } else {
        (round(by_height, height * cell_width).clamp(1, columns), rows)
    };
    Size {
        width: u16::try_from(columns).unwrap_or(u16::MAX),
        height: u16::try_from(rows).unwrap_or(u16::MAX),
    }
}

type View<'a> = ImageBuffer<Rgb<u8>, &'a [u8]>;

fn view(picture: &Picture) -> io::Result<View<'_>> {
    View::from_raw(picture.size.width, picture.size.height, &picture.rgb)
        .filter(|view| view.width() > 0 && view.height() > 0)
        .ok_or_else(|| io::Error::other("the picture has fewer bytes than its size says"))
}

/// The picture at exactly `width` × `height` pixels: averaged when smaller, interpolated when larger.
pub(super) fn resize(picture: &Picture, width: u32, height: u32) -> io::Result<RgbImage> {
    let view = view(picture)?;
    let (width, height) = (width.max(1), height.max(1));
    if (width, height) == view.dimensions() {
        return Ok(RgbImage::from_raw(width, height, view.into_raw().to_vec()).unwrap_or_default());
    }
    if width <= view.width() && height <= view.height() {
        return Ok(imageops::thumbnail(&view, width, height));
    }
    Ok(imageops::resize(&view, width, height, FilterType::Triangle))
}

/// The picture with its longer side at most `limit` pixels, unchanged if it is.
pub(super) fn at_most(picture: &Picture, limit: u32) -> io::Result<Cow<'_, Picture>> {
    let ImageSize { width, height } = picture.size;
    let longer = width.max(height);
    if longer <= limit {
        view(picture)?;
        return Ok(Cow::Borrowed(picture));
    }
    let scaled = |side: u32| {
        u32::try_from((u64::from(side) * u64::from(limit) + u64::from(longer) / 2) / u64::from(longer))
            .unwrap_or(side)
    };
    let image = resize(picture, scaled(width), scaled(height))?;
    let size = ImageSize::new(image.width(), image.height());
    Ok(Cow::Owned(Picture { size, rgb: image.into_raw().into() }))
}

/// The picture as a PNG, quickly.
pub(super) fn png(picture: &Picture) -> io::Result<Vec<u8>> {
    use image::codecs::png::{CompressionType, FilterType, PngEncoder};
    let view = view(picture)?;
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Sub)
        .write_image(view.as_raw(), view.width(), view.height(), ExtendedColorType::Rgb8)
        .map_err(io::Error::other)?;
    Ok(bytes)
}
