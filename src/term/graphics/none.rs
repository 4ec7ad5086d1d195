//! No picture at all: a line of words for terminals without colours, and for screen readers.

use std::io::{self, Write as _};

use ratatui::layout::Size;

use super::{GraphicsProtocol, scale};
use crate::request::Picture;

/// Describes pictures.
pub(super) struct Words;

impl GraphicsProtocol for Words {
    fn print_inline(&mut self, picture: &Picture, _: Size, out: &mut Vec<u8>) -> io::Result<()> {
        let mean = scale::resize(picture, 1, 1)?;
        let [red, green, blue] = mean.get_pixel(0, 0).0;
        write!(out, "[picture {}, mean colour #{red:02x}{green:02x}{blue:02x}]\r\n", picture.size)
    }
}
