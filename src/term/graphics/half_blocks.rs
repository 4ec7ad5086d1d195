//! Two coloured pixels a cell: works wherever there are colours.
//!
//! Our own and not viuer's, because viuer prints to the process' standard output only, and here the same cells
//! go into ratatui frames and into one write with the text around them.

use std::io;

use image::imageops::{self, FilterType};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Color;

use super::{GraphicsProtocol, PREVIEW_BUDGET, Slot, is_preview, none, scale};
use crate::request::Picture;
use crate::term::color::{self, Layer};
use crate::term::probe::{Capabilities, ColorDepth};

const UPPER_HALF: &str = "▀";

/// Draws pictures as half blocks.
pub(super) struct HalfBlocks {
    color: ColorDepth,
    /// Whether previews are kept within their budget; between two programs of one machine bytes are cheap.
    slow: bool,
}

impl HalfBlocks {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        Self { color: capabilities.color, slow: capabilities.ssh }
    }
}

impl GraphicsProtocol for HalfBlocks {
    fn print_inline(&mut self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        if self.color == ColorDepth::None {
            return none::Words.print_inline(picture, cells, out);
        }
        let image = scale::resize(picture, cells.width.into(), u32::from(cells.height) * 2)?;
        let row_bytes = usize::from(cells.width) * 3;
        for rows in image.as_raw().chunks_exact(row_bytes * 2) {
            let (upper, lower) = rows.split_at(row_bytes);
            let mut line = String::new();
            let mut last = None;
            for pair in upper.as_chunks::<3>().0.iter().zip(lower.as_chunks::<3>().0) {
                let looks = [pair.0, pair.1].map(|&[r, g, b]| color::limit(rgb(r, g, b), self.color));
                if last != Some(looks) {
                    line.push_str("\x1b[0");
                    color::write_sgr(&mut line, looks[0], Layer::Foreground, self.color);
                    color::write_sgr(&mut line, looks[1], Layer::Background, self.color);
                    line.push('m');
                    last = Some(looks);
                }
                line.push_str(UPPER_HALF);
            }
            line.push_str("\x1b[0m\r\n");
            out.extend_from_slice(line.as_bytes());
        }
        Ok(())
    }

    fn cells(&mut self, _: Slot, picture: &Picture, area: Rect, buffer: &mut Buffer) {
        if self.color == ColorDepth::None {
            return;
        }
        let (width, height) = (u32::from(area.width), u32::from(area.height) * 2);
        let side = if self.slow && is_preview(picture) { budgeted_side(area.area()) } else { 1 };
        let Ok(coarse) = scale::resize(picture, width.div_ceil(side), height.div_ceil(side)) else { return };
        let image = imageops::resize(&coarse, width, height, FilterType::Nearest);
        for position in area.positions() {
            let (x, y) = (u32::from(position.x - area.x), u32::from(position.y - area.y) * 2);
            let (Some(upper), Some(lower)) =
                (image.get_pixel_checked(x, y), image.get_pixel_checked(x, y + 1))
            else {
                continue;
            };
            if let Some(cell) = buffer.cell_mut(position) {
                cell.reset();
                cell.set_symbol(UPPER_HALF)
                    .set_fg(rgb(upper[0], upper[1], upper[2]))
                    .set_bg(rgb(lower[0], lower[1], lower[2]));
            }
        }
    }
}

/// The side of the pixels that keep an area of so many cells within a preview's budget. A cell takes 3 bytes, one
/// that is coloured unlike its neighbour up to 40 more.
fn budgeted_side(cells: u32) -> u32 {
    let cells = cells as usize;
    // Every row of cells names its colours again, so blocks save along the row only.
    (1..16_u32).find(|&side| cells * 3 + cells / side as usize * 40 <= PREVIEW_BUDGET).unwrap_or(16)
}

fn rgb(red: u8, green: u8, blue: u8) -> Color {
    Color::Rgb(red, green, blue)
}
