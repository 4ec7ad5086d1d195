//! Pictures in the terminal: one protocol a file, behind one trait.
//!
//! A picture is shown in two ways. *Inline*: printed into the scrollback once, where it stays
//! ([`GraphicsProtocol::print_inline`]). As an *overlay*: over an area of a ratatui frame, replaced and taken
//! away again (previews, galleries); [`Canvas`] keeps the books of what is shown where and writes only what
//! changed. Protocols write bytes and never read from the terminal, so typed keys are safe.
//!
//! This module must not know where pictures come from.

mod half_blocks;
mod iterm2;
mod kitty;
mod none;
mod placeholder;
mod scale;
mod sixel;

use std::collections::BTreeMap;
use std::io;

use ratatui::buffer::{Buffer, CellDiffOption};
use ratatui::layout::{Position, Rect, Size};

use super::probe::Capabilities;
use crate::request::Picture;

pub(super) use kitty::one_pixel_file;
pub(super) use placeholder::PLACEHOLDER;
pub use scale::fit;

/// A way to show pictures.
///
/// `print_inline` may run on a thread of its own with a second instance: identifiers are process-wide.
pub trait GraphicsProtocol: Send {
    /// Prints a picture of `cells` into the flow: begins in column 0 and ends in column 0 of the row below.
    ///
    /// # Errors
    /// When the picture cannot be encoded.
    fn print_inline(&mut self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()>;

    /// The share of an overlay that is text: what the cells of `area` hold. Without one they are left blank.
    fn cells(&mut self, slot: Slot, picture: &Picture, area: Rect, buffer: &mut Buffer) {
        let _ = (slot, picture, area, buffer);
    }

    /// The share of an overlay that is no text, drawn at the cursor over `cells`. May leave the cursor anywhere.
    ///
    /// # Errors
    /// When the picture cannot be encoded.
    fn overlay(&mut self, slot: Slot, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        let _ = (slot, picture, cells, out);
        Ok(())
    }

    /// Removes the overlay of `slot` from the terminal's memory and thereby from wherever it is shown.
    fn delete(&mut self, slot: Slot, out: &mut Vec<u8>) {
        let _ = (slot, out);
    }

    /// Whether overlays are pixels in the cells themselves: writing text there is what removes them.
    fn stains_cells(&self) -> bool {
        false
    }
}

/// The longer side of a picture that counts as a preview, in pixels: it comes often and must be cheap. Larger ones
/// are drawn once.
const PREVIEW_LIMIT: u32 = 128;

/// Bytes that an overlay of a preview may take.
const PREVIEW_BUDGET: usize = 20_000;

fn is_preview(picture: &Picture) -> bool {
    picture.size.width.max(picture.size.height) <= PREVIEW_LIMIT
}

/// A place for an overlay that has its own picture; the same slot is the same picture in another state.
pub type Slot = u16;

/// The protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The kitty graphics protocol, placed at the cursor.
    Kitty,
    /// The kitty graphics protocol through Unicode placeholders: the picture is text and lives in tmux.
    Placeholder,
    /// iTerm2's inline pictures; `WezTerm` and Konsole know them too.
    ITerm2,
    /// DEC sixels.
    Sixel,
    /// Two coloured pixels a cell.
    HalfBlocks,
    /// A description in words.
    None,
}

/// A row of the table of protocols.
pub struct ProtocolRow {
    /// What the person types after `--images`.
    pub name: &'static str,
    /// One line for the help.
    pub summary: &'static str,
    /// Which it is.
    pub protocol: Protocol,
    build: fn(&Capabilities) -> Box<dyn GraphicsProtocol>,
}

/// Every protocol; names, completion and help are derived from it.
pub const GRAPHICS_PROTOCOLS: &[ProtocolRow] = &[
    ProtocolRow {
        name: "kitty",
        summary: "kitty graphics protocol",
        protocol: Protocol::Kitty,
        build: |capabilities| Box::new(kitty::Kitty::new(capabilities)),
    },
    ProtocolRow {
        name: "placeholder",
        summary: "kitty graphics protocol through Unicode placeholders, for tmux",
        protocol: Protocol::Placeholder,
        build: |capabilities| Box::new(placeholder::Placeholder::new(capabilities)),
    },
    ProtocolRow {
        name: "iterm2",
        summary: "iTerm2 inline pictures",
        protocol: Protocol::ITerm2,
        build: |capabilities| Box::new(iterm2::ITerm2::new(capabilities)),
    },
    ProtocolRow {
        name: "sixel",
        summary: "sixels",
        protocol: Protocol::Sixel,
        build: |capabilities| Box::new(sixel::Sixel::new(capabilities)),
    },
    ProtocolRow {
        name: "half-blocks",
        summary: "two coloured pixels a cell",
        protocol: Protocol::HalfBlocks,
        build: |capabilities| Box::new(half_blocks::HalfBlocks::new(capabilities)),
    },
    ProtocolRow {
        name: "none",
        summary: "a description in words",
        protocol: Protocol::None,
        build: |_| Box::new(none::Words),
    },
];

/// A name after `--images` that is no protocol.
#[derive(Debug, thiserror::Error)]
#[error("no image protocol {0:?}: use kitty, placeholder, iterm2, sixel, half-blocks or none")]
pub struct UnknownProtocol(String);

impl std::str::FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, UnknownProtocol> {
        let row = GRAPHICS_PROTOCOLS.iter().find(|row| row.name == name);
        row.map(|row| row.protocol).ok_or_else(|| UnknownProtocol(name.to_owned()))
    }
}

impl Protocol {
    fn row(self) -> &'static ProtocolRow {
        GRAPHICS_PROTOCOLS.iter().find(|row| row.protocol == self).unwrap_or(&GRAPHICS_PROTOCOLS[0])
    }

    /// What the person types for it.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

/// A writer for the terminal's protocol, for example for a thread that encodes finished pictures.
pub fn new_protocol(capabilities: &Capabilities) -> Box<dyn GraphicsProtocol> {
    (capabilities.protocol.row().build)(capabilities)
}

/// Bytes to write at a cell of the frame, after the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Overlay {
    /// The cell.
    pub at: Position,
    /// What to write there.
    pub bytes: Vec<u8>,
}

/// The pictures that a frame wants to show; filled by views while they render.
#[derive(Debug, Default)]
pub struct Pictures {
    wanted: Vec<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    slot: Slot,
    area: Rect,
    picture: Picture,
    version: u64,
}

impl Pictures {
    /// Wants `picture` over the whole of `area` (see [`fit`] for one that keeps its shape). `version` says when
    /// the picture in this slot is another one, such as `job << 16 | step`.
    pub fn put(&mut self, slot: Slot, area: Rect, picture: &Picture, version: u64) {
        if !area.is_empty() {
            self.wanted.push(Wanted { slot, area, picture: picture.clone(), version });
        }
    }

    /// Those that lie wholly in the frame, the last of each slot: half a picture cannot be shown.
    fn within(&self, frame: Rect) -> BTreeMap<Slot, &Wanted> {
        let fits = |wanted: &&Wanted| wanted.area.intersection(frame) == wanted.area;
        self.wanted.iter().filter(fits).map(|wanted| (wanted.slot, wanted)).collect()
    }
}

/// What is shown on the screen now, and the protocol to change it.
pub struct Canvas {
    protocol: Box<dyn GraphicsProtocol>,
    shown: BTreeMap<Slot, (Rect, u64)>,
}

impl std::fmt::Debug for Canvas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Canvas").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl Canvas {
    /// An empty canvas for this terminal.
    pub fn new(capabilities: &Capabilities) -> Self {
        Self { protocol: new_protocol(capabilities), shown: BTreeMap::new() }
    }

    /// Prints a picture into the scrollback.
    ///
    /// # Errors
    /// When the picture cannot be encoded.
    pub fn print_inline(&mut self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        self.protocol.print_inline(picture, cells, out)
    }

    /// Puts the textual share of the pictures into the frame, and has the cells under vanished ones written anew.
    pub(super) fn render(&mut self, pictures: &Pictures, buffer: &mut Buffer) {
        let wanted = pictures.within(buffer.area);
        for (_, area) in self.vanished(&wanted).filter(|_| self.protocol.stains_cells()) {
            for position in area.positions() {
                if let Some(cell) = buffer.cell_mut(position) {
                    cell.set_diff_option(CellDiffOption::AlwaysUpdate);
                }
            }
        }
        for (slot, wanted) in wanted {
            self.protocol.cells(slot, &wanted.picture, wanted.area, buffer);
        }
    }

    /// What has to be written after the frame's text so that exactly `pictures` are shown over `frame`.
    pub(super) fn update(&mut self, pictures: &Pictures, frame: Rect) -> io::Result<Vec<Overlay>> {
        let wanted = pictures.within(frame);
        let mut overlays = Vec::new();
        let mut add = |at: Rect, bytes: Vec<u8>| {
            if !bytes.is_empty() {
                overlays.push(Overlay { at: at.as_position(), bytes });
            }
        };
        let vanished: Vec<_> = self.vanished(&wanted).collect();
        for (slot, area) in vanished {
            let mut bytes = Vec::new();
            self.protocol.delete(slot, &mut bytes);
            add(area, bytes);
            self.shown.remove(&slot);
        }
        for (slot, wanted) in wanted {
            let now = (wanted.area, wanted.version);
            if self.shown.get(&slot) != Some(&now) {
                let mut bytes = Vec::new();
                self.protocol.overlay(slot, &wanted.picture, wanted.area.as_size(), &mut bytes)?;
                add(wanted.area, bytes);
                self.shown.insert(slot, now);
            }
        }
        Ok(overlays)
    }

    /// What is shown now and is not wanted, or is wanted elsewhere.
    fn vanished(&self, wanted: &BTreeMap<Slot, &Wanted>) -> impl Iterator<Item = (Slot, Rect)> {
        let stays = |slot, area| wanted.get(slot).is_some_and(|wanted| wanted.area == area);
        self.shown
            .iter()
            .filter(move |&(slot, &(area, _))| !stays(slot, area))
            .map(|(&slot, &(area, _))| (slot, area))
    }

    /// Bytes that take every overlay out of the terminal's memory; erasing the cells is the caller's part.
    pub(super) fn deletion(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for slot in self.shown.keys() {
            self.protocol.delete(*slot, &mut bytes);
        }
        bytes
    }

    /// Nothing is shown any more: the screen was erased.
    pub(super) fn forget(&mut self) {
        self.shown.clear();
    }
}

/// Makes room for a picture of `rows` by real newlines and goes back to its first row; remembers the place.
fn reserve_rows(rows: u16, out: &mut Vec<u8>) {
    for _ in 0..rows {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("\x1b[{rows}A\x1b7").as_bytes());
}

/// Goes to the row below a picture that began where [`reserve_rows`] left the cursor.
fn leave_rows(rows: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\x1b8\x1b[{rows}B\r").as_bytes());
}

#[cfg(test)]
mod tests;
