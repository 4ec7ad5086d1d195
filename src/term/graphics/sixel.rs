//! Sixels: pixels as text, six rows at a time, at most 256 colours.
//!
//! The terminal cannot scale, so a picture is brought to the exact size of its cells first. Previews are kept
//! within their budget by coarser pixels; over a large area they are drawn as half blocks where there are more than 16
//! colours.

use std::io;

use icy_sixel::{EncodeOptions, sixel_encode};
use image::RgbImage;
use image::imageops::{self, FilterType};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};

use super::half_blocks::HalfBlocks;
use super::{GraphicsProtocol, PREVIEW_BUDGET, Slot, is_preview, scale};
use crate::request::Picture;
use crate::term::probe::{Capabilities, ColorDepth};

/// Pixels of an area beyond which a preview is drawn as half blocks.
const PREVIEW_AREA: u32 = 160 * 160;

/// Colours of a preview: encoding fewer takes less time and fewer bytes.
const PREVIEW_COLOURS: u16 = 64;

/// Writes pictures as sixels.
pub(super) struct Sixel {
    cell: Size,
    /// Where there are colours enough for them.
    large_previews: Option<HalfBlocks>,
}

impl Sixel {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        let colourful = matches!(capabilities.color, ColorDepth::Indexed | ColorDepth::TrueColor);
        let large_previews = colourful.then(|| HalfBlocks::new(capabilities));
        Self { cell: capabilities.cell_size, large_previews }
    }

    /// Pixels of an area. The height is a whole number of six-pixel bands: a band that reaches into the next
    /// row of cells scrolls the screen.
    fn pixels(&self, cells: Size) -> (u32, u32) {
        let width = u32::from(cells.width) * u32::from(self.cell.width);
        let height = u32::from(cells.height) * u32::from(self.cell.height);
        (width.max(1), (height / 6 * 6).max(6))
    }

    fn is_in_blocks(&self, picture: &Picture, cells: Size) -> bool {
        let (width, height) = self.pixels(cells);
        self.large_previews.is_some() && is_preview(picture) && width * height > PREVIEW_AREA
    }

    /// A preview within its budget: pixels grow until it is.
    fn preview(&self, picture: &Picture, cells: Size) -> io::Result<String> {
        let (width, height) = self.pixels(cells);
        let options =
            EncodeOptions { max_colors: PREVIEW_COLOURS, diffusion: 0.0, ..EncodeOptions::default() };
        let mut side = 1;
        loop {
            let coarse = scale::resize(picture, width.div_ceil(side), height.div_ceil(side))?;
            let text = encode(&imageops::resize(&coarse, width, height, FilterType::Nearest), &options)?;
            if text.len() <= PREVIEW_BUDGET || side >= 16 {
                return Ok(text);
            }
            side *= 2;
        }
    }

    fn still(&self, picture: &Picture, cells: Size) -> io::Result<String> {
        let (width, height) = self.pixels(cells);
        encode(&scale::resize(picture, width, height)?, &EncodeOptions::default())
    }
}

fn encode(image: &RgbImage, options: &EncodeOptions) -> io::Result<String> {
    let rgba: Vec<u8> = image.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
    sixel_encode(&rgba, image.width() as usize, image.height() as usize, options).map_err(io::Error::other)
}

impl GraphicsProtocol for Sixel {
    fn print_inline(&mut self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        super::reserve_rows(cells.height, out);
        out.extend_from_slice(self.still(picture, cells)?.as_bytes());
        super::leave_rows(cells.height, out);
        Ok(())
    }

    fn cells(&mut self, slot: Slot, picture: &Picture, area: Rect, buffer: &mut Buffer) {
        if self.is_in_blocks(picture, area.as_size())
            && let Some(blocks) = &mut self.large_previews
        {
            blocks.cells(slot, picture, area, buffer);
        }
    }

    fn overlay(&mut self, _: Slot, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.is_in_blocks(picture, cells) {
            let text =
                if is_preview(picture) { self.preview(picture, cells) } else { self.still(picture, cells) };
            out.extend_from_slice(text?.as_bytes());
        }
        Ok(())
    }

    fn stains_cells(&self) -> bool {
        true
    }
}
