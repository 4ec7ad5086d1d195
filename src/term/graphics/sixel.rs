//! Sixels: pixels as text, six rows at a time, at most 256 colours.
//!
//! The terminal cannot scale, so a picture is brought to the exact size of its cells first. Large overlays would
//! be hundreds of kilobytes a step; those are drawn as half blocks.

use std::io;

use icy_sixel::{EncodeOptions, sixel_encode};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};

use super::half_blocks::HalfBlocks;
use super::{GraphicsProtocol, Slot, scale};
use crate::request::Picture;
use crate::term::probe::Capabilities;

/// Pixels of an overlay beyond which it is drawn as half blocks.
const OVERLAY_LIMIT: u32 = 100 * 100;

/// Writes pictures as sixels.
pub(super) struct Sixel {
    cell: Size,
    large_overlays: HalfBlocks,
}

impl Sixel {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        Self { cell: capabilities.cell_size, large_overlays: HalfBlocks::new(capabilities) }
    }

    /// Pixels of an area. The height is a whole number of six-pixel bands: a band that reaches into the next
    /// row of cells scrolls the screen.
    fn pixels(&self, cells: Size) -> (u32, u32) {
        let width = u32::from(cells.width) * u32::from(self.cell.width);
        let height = u32::from(cells.height) * u32::from(self.cell.height);
        (width.max(1), (height / 6 * 6).max(6))
    }

    fn is_large(&self, cells: Size) -> bool {
        let (width, height) = self.pixels(cells);
        width * height > OVERLAY_LIMIT
    }

    fn draw(
        &self,
        picture: &Picture,
        cells: Size,
        options: &EncodeOptions,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let (width, height) = self.pixels(cells);
        let image = scale::resize(picture, width, height)?;
        let rgba: Vec<u8> = image.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
        let text = sixel_encode(&rgba, width as usize, height as usize, options).map_err(io::Error::other)?;
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl GraphicsProtocol for Sixel {
    fn print_inline(&mut self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        super::reserve_rows(cells.height, out);
        self.draw(picture, cells, &EncodeOptions::default(), out)?;
        super::leave_rows(cells.height, out);
        Ok(())
    }

    fn cells(&mut self, slot: Slot, picture: &Picture, area: Rect, buffer: &mut Buffer) {
        if self.is_large(area.as_size()) {
            self.large_overlays.cells(slot, picture, area, buffer);
        }
    }

    fn overlay(&mut self, _: Slot, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        if self.is_large(cells) {
            return Ok(());
        }
        let options = EncodeOptions { max_colors: 64, diffusion: 0.0, ..EncodeOptions::default() };
        self.draw(picture, cells, &options, out)
    }

    fn blank(&mut self, cells: Size, out: &mut Vec<u8>) {
        if !self.is_large(cells) {
            super::blank_cells(cells, out);
        }
    }
}
