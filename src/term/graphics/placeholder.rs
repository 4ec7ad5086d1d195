//! The kitty graphics protocol through Unicode placeholders: the picture is transmitted once and the text says
//! where it shows, so tmux scrolls, copies and redraws it like any text.
//!
//! Source: <https://sw.kovidgoyal.net/kitty/graphics-protocol/#unicode-placeholders>. The picture's number is
//! carried by the cell's colour (lowest byte, as one of 256 colours: those survive every tmux) and a diacritic
//! (highest byte).

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Color;

use super::kitty::{self, Data};
use super::{GraphicsProtocol, Slot, scale};
use crate::request::Picture;
use crate::term::probe::Capabilities;

/// The character whose cell shows a piece of a picture.
pub(in crate::term) const PLACEHOLDER: char = '\u{10eeee}';

/// The longer side of a picture in the scrollback, in pixels; kitty's memory for pictures is limited.
const INLINE_LIMIT: u32 = 512;

/// Code points of the diacritics that count rows and columns, in order, as ranges (kitty's
/// `rowcolumn-diacritics.txt`: class 230 of Unicode 6.0 without those that normalization fuses).
#[rustfmt::skip]
const DIACRITIC_RANGES: &[(u32, u32)] = &[
    (0x0305, 0x0305), (0x030d, 0x030e), (0x0310, 0x0310), (0x0312, 0x0312), (0x033d, 0x033f), (0x0346,
    0x0346), (0x034a, 0x034c), (0x0350, 0x0352), (0x0357, 0x0357), (0x035b, 0x035b), (0x0363, 0x036f),
    (0x0483, 0x0487), (0x0592, 0x0595), (0x0597, 0x0599), (0x059c, 0x05a1), (0x05a8, 0x05a9), (0x05ab,
    0x05ac), (0x05af, 0x05af), (0x05c4, 0x05c4), (0x0610, 0x0617), (0x0657, 0x065b), (0x065d, 0x065e),
    (0x06d6, 0x06dc), (0x06df, 0x06e2), (0x06e4, 0x06e4), (0x06e7, 0x06e8), (0x06eb, 0x06ec), (0x0730,
    0x0730), (0x0732, 0x0733), (0x0735, 0x0736), (0x073a, 0x073a), (0x073d, 0x073d), (0x073f, 0x0741),
    (0x0743, 0x0743), (0x0745, 0x0745), (0x0747, 0x0747), (0x0749, 0x074a), (0x07eb, 0x07f1), (0x07f3,
    0x07f3), (0x0816, 0x0819), (0x081b, 0x0823), (0x0825, 0x0827), (0x0829, 0x082d), (0x0951, 0x0951),
    (0x0953, 0x0954), (0x0f82, 0x0f83), (0x0f86, 0x0f87), (0x135d, 0x135f), (0x17dd, 0x17dd), (0x193a,
    0x193a), (0x1a17, 0x1a17), (0x1a75, 0x1a7c), (0x1b6b, 0x1b6b), (0x1b6d, 0x1b73), (0x1cd0, 0x1cd2),
    (0x1cda, 0x1cdb), (0x1ce0, 0x1ce0), (0x1dc0, 0x1dc1), (0x1dc3, 0x1dc9), (0x1dcb, 0x1dcc), (0x1dd1,
    0x1de6), (0x1dfe, 0x1dfe), (0x20d0, 0x20d1), (0x20d4, 0x20d7), (0x20db, 0x20dc), (0x20e1, 0x20e1),
    (0x20e7, 0x20e7), (0x20e9, 0x20e9), (0x20f0, 0x20f0), (0x2cef, 0x2cf1), (0x2de0, 0x2dff), (0xa66f,
    0xa66f), (0xa67c, 0xa67d), (0xa6f0, 0xa6f1), (0xa8e0, 0xa8f1), (0xaab0, 0xaab0), (0xaab2, 0xaab3),
    (0xaab7, 0xaab8), (0xaabe, 0xaabf), (0xaac1, 0xaac1), (0xfe20, 0xfe26), (0x10a0f, 0x10a0f), (0x10a38,
    0x10a38), (0x1d185, 0x1d189), (0x1d1aa, 0x1d1ad), (0x1d242, 0x1d244),
];

static DIACRITICS: LazyLock<Vec<char>> =
    LazyLock::new(|| DIACRITIC_RANGES.iter().flat_map(|&(a, b)| a..=b).filter_map(char::from_u32).collect());

/// A picture's number: low byte 1 to 255 (a colour), high byte 1 to 255 (a diacritic).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ImageId {
    high: u8,
    low: u8,
}

impl ImageId {
    /// The next one of the process. Programs beside us in the same terminal start elsewhere.
    fn next() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let start = std::process::id().wrapping_mul(251);
        let number = start.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) % (255 * 255);
        Self { high: (number / 255 + 1) as u8, low: (number % 255 + 1) as u8 }
    }

    fn number(self) -> u32 {
        u32::from(self.high) << 24 | u32::from(self.low)
    }
}

/// Writes pictures as placeholders, through tmux if that is in between.
pub(super) struct Placeholder {
    tmux: bool,
    slots: BTreeMap<Slot, ImageId>,
}

impl Placeholder {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        Self { tmux: capabilities.tmux, slots: BTreeMap::new() }
    }

    fn transmit(&self, id: ImageId, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let place = format!("a=T,U=1,i={},c={},r={}", id.number(), cells.width, cells.height);
        kitty::transmit(&mut bytes, &place, &Data::direct(picture)?);
        self.pass_through(&bytes, out);
        Ok(())
    }

    /// tmux hands one wrapped sequence at a time to the terminal around it, with each ESC doubled.
    fn pass_through(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if !self.tmux {
            out.extend_from_slice(bytes);
            return;
        }
        for sequence in kitty::split_commands(bytes) {
            out.extend_from_slice(b"\x1bPtmux;");
            for &byte in sequence {
                if byte == 0x1b {
                    out.push(0x1b);
                }
                out.push(byte);
            }
            out.extend_from_slice(b"\x1b\\");
        }
    }
}

/// The cell that shows column `x` of row `y` of a picture; `None` beyond what can be counted.
fn symbol(id: ImageId, x: u16, y: u16) -> Option<String> {
    let mark = |n: usize| DIACRITICS.get(n);
    Some([&PLACEHOLDER, mark(y.into())?, mark(x.into())?, mark(id.high.into())?].into_iter().collect())
}

impl GraphicsProtocol for Placeholder {
    fn print_inline(&mut self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        let id = ImageId::next();
        self.transmit(id, scale::at_most(picture, INLINE_LIMIT)?.as_ref(), cells, out)?;
        for y in 0..cells.height {
            write!(out, "\x1b[38;5;{}m", id.low)?;
            for x in 0..cells.width {
                out.extend_from_slice(symbol(id, x, y).as_deref().unwrap_or(" ").as_bytes());
            }
            out.extend_from_slice(b"\x1b[0m\r\n");
        }
        Ok(())
    }

    fn cells(&mut self, slot: Slot, _: &Picture, area: Rect, buffer: &mut Buffer) {
        let id = *self.slots.entry(slot).or_insert_with(ImageId::next);
        for position in area.positions() {
            if let (Some(cell), Some(symbol)) =
                (buffer.cell_mut(position), symbol(id, position.x - area.x, position.y - area.y))
            {
                cell.reset();
                cell.set_symbol(&symbol).set_fg(Color::Indexed(id.low));
            }
        }
    }

    fn overlay(&mut self, slot: Slot, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        let id = *self.slots.entry(slot).or_insert_with(ImageId::next);
        self.transmit(id, picture, cells, out)
    }

    fn delete(&mut self, slot: Slot, out: &mut Vec<u8>) {
        if let Some(id) = self.slots.get(&slot) {
            let mut bytes = Vec::new();
            kitty::delete(&mut bytes, id.number());
            self.pass_through(&bytes, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_diacritics_as_kitty_has() {
        assert_eq!(DIACRITICS.len(), 297);
        assert_eq!((DIACRITICS[0], DIACRITICS[255]), ('\u{305}', '\u{a8e5}'));
        assert!(DIACRITICS.is_sorted());
    }

    #[test]
    fn numbers_are_distinct_and_have_no_zero_byte() {
        let ids: Vec<_> = (0..600).map(|_| ImageId::next()).collect();
        assert!(ids.iter().all(|id| id.high > 0 && id.low > 0));
        let numbers: std::collections::BTreeSet<_> = ids.iter().map(|id| id.number()).collect();
        assert_eq!(numbers.len(), 600);
    }
}
