//! iTerm2's inline pictures, which `WezTerm` and Konsole show too.
//!
//! Source: <https://iterm2.com/documentation-images.html>. A picture is one long sequence, or many short ones
//! (`MultipartFile`, iTerm2 3.5 and later) where it is large or tmux is in between.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ratatui::layout::Size;

use super::{GraphicsProtocol, Slot, scale};
use crate::request::Picture;
use crate::term::probe::{Brand, Capabilities};

/// Base64 characters beyond which the picture is cut into parts: sequences over a mebibyte are thrown away.
const SINGLE_LIMIT: usize = 512 * 1024;
/// Base64 characters of a part.
const PART: usize = 128 * 1024;
/// Base64 characters of a part through tmux, whose buffer is small in old versions.
const TMUX_PART: usize = 4096;
/// The longer side of a picture in the scrollback, in pixels.
const INLINE_LIMIT: u32 = 1024;
/// The same where a picture must fit into one sequence: the PNG of a noisy one takes 800 kB.
const SINGLE_INLINE_LIMIT: u32 = 448;

/// Writes pictures as iTerm2 reads them.
pub(super) struct ITerm2 {
    tmux: bool,
    multipart: bool,
}

impl ITerm2 {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        let version = capabilities.version.as_deref().and_then(|name| name.strip_prefix("iTerm2 "));
        let multipart = capabilities.tmux
            || capabilities.brand == Brand::ITerm2
                && version.is_some_and(|version| at_least(version, (3, 5)));
        Self { tmux: capabilities.tmux, multipart }
    }

    fn sequence(&self, body: &str, out: &mut Vec<u8>) {
        let text = if self.tmux {
            format!("\x1bPtmux;\x1b\x1b]1337;{body}\x07\x1b\\")
        } else {
            format!("\x1b]1337;{body}\x07")
        };
        out.extend_from_slice(text.as_bytes());
    }

    fn draw(&self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        let png = scale::png(picture)?;
        let encoded = STANDARD.encode(&png);
        let keys = format!(
            "inline=1;size={};width={};height={};preserveAspectRatio=0;doNotMoveCursor=1",
            png.len(),
            cells.width,
            cells.height
        );
        if !self.multipart || encoded.len() <= SINGLE_LIMIT && !self.tmux {
            self.sequence(&format!("File={keys}:{encoded}"), out);
            return Ok(());
        }
        self.sequence(&format!("MultipartFile={keys}"), out);
        let part = if self.tmux { TMUX_PART } else { PART };
        for chunk in encoded.as_bytes().chunks(part) {
            self.sequence(&format!("FilePart={}", String::from_utf8_lossy(chunk)), out);
        }
        self.sequence("FileEnd", out);
        Ok(())
    }
}

/// Whether a version such as `3.5.10` is `(major, minor)` or later.
fn at_least(version: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

impl GraphicsProtocol for ITerm2 {
    fn print_inline(&mut self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        let limit = if self.multipart { INLINE_LIMIT } else { SINGLE_INLINE_LIMIT };
        super::reserve_rows(cells.height, out);
        self.draw(&*scale::at_most(picture, limit)?, cells, out)?;
        super::leave_rows(cells.height, out);
        Ok(())
    }

    fn overlay(&mut self, _: Slot, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        self.draw(picture, cells, out)
    }

    fn stains_cells(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::at_least;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(at_least("3.5.10", (3, 5)) && at_least("3.10", (3, 5)) && at_least("4.0beta1", (3, 5)));
        assert!(!at_least("3.4.23", (3, 5)) && !at_least("", (3, 5)));
    }
}
