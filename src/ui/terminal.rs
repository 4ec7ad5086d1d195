//! The screen as the run loop uses it: the live region or the full screen, pictures, and what is printed above.
//!
//! Joins `term`'s parts; decides nothing about content.

use std::fs::File;
use std::io::{self, Write as _};
use std::time::Duration;

use base64::Engine as _;
use ratatui::Frame;
use ratatui::layout::{Position, Rect, Size};
use ratatui::text::Line;

use super::painter::{Display, Painter, Placed};
use crate::request::Picture;
use crate::term::graphics::fit;
use crate::term::{
    Canvas, Capabilities, ColorDepth, FullScreen, Guard, LiveRegion, Pictures, Protocol, output, sgr,
};
use crate::theme::Theme;

/// Pictures in the scrollback are at most this many rows high.
const INLINE_ROWS: u16 = 20;
/// Rows that stay free below a picture in the scrollback.
const FREE_ROWS: u16 = 4;

/// Something finished, for the scrollback.
#[derive(Clone, Debug)]
pub enum Block {
    /// Lines of text.
    Text(Vec<Line<'static>>),
    /// A picture and the lines below it.
    Picture(Picture, Vec<Line<'static>>),
}

/// The screen; see the module.
pub struct Terminal {
    guard: Guard,
    capabilities: Capabilities,
    out: File,
    size: Size,
    canvas: Canvas,
    live: LiveRegion<File>,
    full: Option<FullScreen<File>>,
    /// What finished while the screen was full.
    held: Vec<Block>,
}

impl Terminal {
    /// Takes the terminal, which was asked what it can do.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn new(guard: Guard, capabilities: Capabilities, size: Size) -> io::Result<Self> {
        let out = output()?;
        let options = capabilities.frame_options();
        Ok(Self {
            live: LiveRegion::new(out.try_clone()?, size.width, options)?,
            canvas: Canvas::new(&capabilities),
            full: None,
            held: Vec::new(),
            guard,
            capabilities,
            out,
            size,
        })
    }

    /// What the terminal can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Columns and rows.
    pub fn size(&self) -> Size {
        self.size
    }

    /// How views draw pictures here.
    pub fn display(&self) -> Display {
        let pictures = self.capabilities.protocol != Protocol::None;
        Display { cell: self.capabilities.cell_size, pictures }
    }

    /// How long the last frame took to write.
    pub fn last_write(&self) -> Duration {
        self.full.as_ref().map_or_else(|| self.live.traffic(), FullScreen::traffic).last_write
    }

    /// Draws a frame; `view` paints and says where the cursor is.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn draw(
        &mut self,
        height: u16,
        theme: &Theme,
        view: impl FnOnce(Rect, &mut Painter<'_>) -> Option<Position>,
    ) -> io::Result<()> {
        let display = self.display();
        let paint = |frame: &mut Frame<'_>, pictures: &mut Pictures| {
            let area = frame.area();
            let mut painter = Painter::new(frame.buffer_mut(), theme, display);
            let cursor = view(area, &mut painter);
            for Placed { slot, area, picture, version } in painter.into_placed() {
                pictures.put(slot.number(), area, &picture, version);
            }
            if let Some(cursor) = cursor {
                frame.set_cursor_position(cursor);
            }
        };
        match &mut self.full {
            Some(full) => full.draw(&mut self.canvas, paint),
            None => self.live.draw(height.min(self.size.height), &mut self.canvas, paint),
        }
    }

    /// Prints into the scrollback, or keeps it until the live region is back.
    ///
    /// # Errors
    /// When a picture cannot be encoded.
    pub fn print(&mut self, block: Block) -> io::Result<()> {
        if self.full.is_some() {
            self.held.push(block);
            return Ok(());
        }
        let (canvas, capabilities, size) = (&mut self.canvas, &self.capabilities, self.size);
        self.live.above(|out| write_block(out, &block, canvas, capabilities, size))
    }

    /// Whether colours are shown.
    pub fn has_color(&self) -> bool {
        self.capabilities.color != ColorDepth::None
    }

    /// Puts text on the clipboard, by the terminal's own means (OSC 52).
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        // no sequence of a frame may be cut by this, so it goes out between two of them
        self.out.write_all(format!("\x1b]52;c;{encoded}\x1b\\").as_bytes())
    }

    /// Whether the screen is full.
    pub fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Goes to the full screen, or back to the live region; what finished meanwhile is printed then.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn set_full(&mut self, on: bool) -> io::Result<()> {
        if on == self.full.is_some() {
            return Ok(());
        }
        if on {
            self.live.flush()?;
            self.guard.set_alternate(true)?;
            self.full =
                Some(FullScreen::new(self.out.try_clone()?, self.size, self.capabilities.frame_options())?);
            return Ok(());
        }
        self.leave_full()?;
        self.live.set_width(self.size.width)?;
        for block in std::mem::take(&mut self.held) {
            self.print(block)?;
        }
        Ok(())
    }

    fn leave_full(&mut self) -> io::Result<()> {
        if let Some(full) = self.full.take() {
            full.close(&mut self.canvas)?;
            self.guard.set_alternate(false)?;
        }
        Ok(())
    }

    /// The window has another size.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn resize(&mut self, size: Size) -> io::Result<()> {
        self.size = size;
        match &mut self.full {
            Some(full) => full.set_size(size, &mut self.canvas),
            None => self.live.set_width(size.width),
        }
    }

    /// Clears the screen; the next frame draws everything.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn redraw(&mut self) -> io::Result<()> {
        match &mut self.full {
            Some(full) => full.clear(&mut self.canvas),
            None => self.live.above(|out| out.write_all(b"\x1b[H\x1b[2J")),
        }
    }

    /// Stops the program as Ctrl-Z does and takes the terminal again afterwards.
    ///
    /// # Errors
    /// When the terminal cannot be written to or raw mode is refused afterwards.
    pub fn suspend(&mut self) -> io::Result<()> {
        let full = self.full.is_some();
        self.leave_full()?;
        self.live.close()?;
        self.guard.suspend()?;
        if full {
            self.set_full(true)?;
        }
        Ok(())
    }

    /// Gives the terminal back: the region is erased, what was held is printed.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn finish(mut self) -> io::Result<()> {
        self.set_full(false)?;
        self.live.close()
    }
}

fn write_block(
    out: &mut Vec<u8>,
    block: &Block,
    canvas: &mut Canvas,
    capabilities: &Capabilities,
    size: Size,
) -> io::Result<()> {
    let lines = match block {
        Block::Text(lines) => lines,
        Block::Picture(picture, lines) => {
            let rows = INLINE_ROWS.min(size.height.saturating_sub(FREE_ROWS));
            if rows > 0 {
                let limit = Size::new(size.width, rows);
                let cells = fit(picture.size, limit, capabilities.cell_size);
                canvas.print_inline(picture, cells, out)?;
            }
            lines
        }
    };
    for line in lines {
        write_line(out, line, capabilities.color)?;
    }
    Ok(())
}

/// A styled line and a line end.
fn write_line(out: &mut Vec<u8>, line: &Line<'_>, color: ColorDepth) -> io::Result<()> {
    for span in &line.spans {
        let style = line.style.patch(span.style);
        write!(out, "{}{}", sgr(style, color), span.content)?;
    }
    out.extend_from_slice(b"\x1b[0m\r\n");
    Ok(())
}
