//! The live region: ratatui at the end of the normal screen, finished output above it.
//!
//! The region owns the rows from its first to its last and nothing else. What is finished is printed *above* it:
//! the region is erased row by row, the output follows with real newlines, and the region is drawn again, all in
//! one write. The scrollback is therefore the terminal's own, and pictures in it stay. It must not know what is
//! drawn.

use std::io::{self, Write};

use ratatui::layout::{Rect, Size};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

use super::backend::{FrameBackend, FrameOptions, Moves, Traffic};
use super::graphics::{Canvas, Pictures};
use super::guard;

/// A region of rows at the end of the normal screen.
#[derive(Debug)]
pub struct LiveRegion<W: Write> {
    terminal: Terminal<FrameBackend<W>>,
    /// 0 while it is closed.
    height: u16,
    /// What takes the overlays that are shown now out of the terminal's memory. Written before the region is
    /// erased: a picture left behind would scroll away with the text.
    deletion: Vec<u8>,
    /// Whether the region was erased since the last frame, and the overlays with it.
    erased: bool,
}

impl<W: Write> LiveRegion<W> {
    /// A closed region on `out`, which should be unbuffered. `width` is the terminal's.
    ///
    /// # Errors
    /// Never in practice: nothing is written before the first frame.
    pub fn new(out: W, width: u16, options: FrameOptions) -> io::Result<Self> {
        let backend = FrameBackend::new(out, Size::new(width, 0), Moves::Relative, options);
        let viewport = Viewport::Fixed(Rect::new(0, 0, width, 0));
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        Ok(Self { terminal, height: 0, deletion: Vec::new(), erased: true })
    }

    /// Rows of the region; 0 while it is closed.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// What was written so far.
    pub fn traffic(&self) -> Traffic {
        self.terminal.backend().traffic
    }

    /// Draws a frame of `height` rows, opening the region or changing its height as needed. The view puts the
    /// pictures that it wants to be seen into `Pictures`; `canvas` draws what is new among them.
    ///
    /// # Errors
    /// When the terminal cannot be written to or a picture not be encoded.
    pub fn draw(
        &mut self,
        height: u16,
        canvas: &mut Canvas,
        view: impl FnOnce(&mut Frame<'_>, &mut Pictures),
    ) -> io::Result<()> {
        let height = height.max(1);
        if height != self.height {
            self.erase();
            self.reopen(height)?;
        }
        if std::mem::take(&mut self.erased) {
            canvas.forget();
        }
        draw_frame(&mut self.terminal, canvas, view)?;
        self.deletion = canvas.deletion();
        let below = height.saturating_sub(1).saturating_sub(self.terminal.backend().cursor().y);
        guard::set_rows_below(Some(below));
        Ok(())
    }

    /// Prints into the scrollback above the region. `print` begins in column 0 and must end there; lines end in
    /// CR LF. Written together with the next frame, or by [`LiveRegion::flush`].
    ///
    /// # Errors
    /// Those of `print`.
    pub fn above(&mut self, print: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        let height = self.height;
        self.erase();
        print(&mut self.terminal.backend_mut().buffer)?;
        if height > 0 {
            self.reopen(height)?;
        }
        Ok(())
    }

    /// The terminal has another width. Erases the region, however a re-flow left it; the next frame draws it.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn set_width(&mut self, width: u16) -> io::Result<()> {
        let height = self.height;
        self.terminal.backend_mut().set_width(width);
        self.erase();
        if height > 0 {
            self.reopen(height)?;
        }
        Ok(())
    }

    /// Erases the region and shows the cursor in column 0 of where it began. The next frame opens it again.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn close(&mut self) -> io::Result<()> {
        self.erase();
        self.height = 0;
        self.terminal.show_cursor()?;
        self.terminal.backend_mut().send()?;
        guard::set_rows_below(None);
        Ok(())
    }

    /// Writes what [`LiveRegion::above`] printed, without waiting for the next frame.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn flush(&mut self) -> io::Result<()> {
        self.terminal.backend_mut().send()
    }

    fn erase(&mut self) {
        let backend = self.terminal.backend_mut();
        backend.buffer.append(&mut self.deletion);
        self.erased = true;
        if self.height > 0 {
            backend.erase();
        }
    }

    fn reopen(&mut self, height: u16) -> io::Result<()> {
        self.terminal.backend_mut().open(height);
        self.height = height;
        let width = self.terminal.backend().size.width;
        // Forgets the last frame; its clear-all only reaches the region (see the backend).
        self.terminal.resize(Rect::new(0, 0, width, height))
    }
}

/// Draws a frame and its pictures in one write.
pub(super) fn draw_frame<W: Write>(
    terminal: &mut Terminal<FrameBackend<W>>,
    canvas: &mut Canvas,
    view: impl FnOnce(&mut Frame<'_>, &mut Pictures),
) -> io::Result<()> {
    let mut pictures = Pictures::default();
    let area = terminal
        .draw(|frame| {
            view(frame, &mut pictures);
            canvas.render(&pictures, frame.buffer_mut());
        })?
        .area;
    let overlays = canvas.update(&pictures, area)?;
    let backend = terminal.backend_mut();
    backend.put_overlays(&overlays);
    backend.send()
}

#[cfg(test)]
mod tests;
