//! Ratatui on the alternate screen, one write a frame. It must not know what is drawn.

use std::io::{self, Write};

use ratatui::layout::{Position, Rect, Size};
use ratatui::{Frame, Terminal};

use super::backend::{FrameBackend, FrameOptions, Moves, Traffic};
use super::graphics::{Canvas, Pictures};
use super::live_region::draw_frame;

/// The whole screen; [`super::Guard::set_alternate`] switches to it first.
#[derive(Debug)]
pub struct FullScreen<W: Write> {
    terminal: Terminal<FrameBackend<W>>,
    /// Whether the screen was cleared since the last frame, and the overlays with it.
    cleared: bool,
}

impl<W: Write> FullScreen<W> {
    /// A screen of `size` cells on `out`, which should be unbuffered. It is taken to be empty.
    ///
    /// # Errors
    /// Never in practice: nothing is written before the first frame.
    pub fn new(out: W, size: Size, options: FrameOptions) -> io::Result<Self> {
        let mut backend = FrameBackend::new(out, size, Moves::Absolute, options);
        backend.forget_cursor();
        Ok(Self { terminal: Terminal::new(backend)?, cleared: true })
    }

    /// Draws a frame, as [`super::LiveRegion::draw`] does.
    ///
    /// # Errors
    /// When the terminal cannot be written to or a picture not be encoded.
    pub fn draw(
        &mut self,
        canvas: &mut Canvas,
        view: impl FnOnce(&mut Frame<'_>, &mut Pictures),
    ) -> io::Result<()> {
        if std::mem::take(&mut self.cleared) {
            canvas.forget();
        }
        draw_frame(&mut self.terminal, canvas, view)
    }

    /// The terminal has another size: clears, and draws everything in the next frame.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn set_size(&mut self, size: Size, canvas: &mut Canvas) -> io::Result<()> {
        self.terminal.backend_mut().size = size;
        self.clear(canvas)
    }

    /// Clears, and draws everything in the next frame (Ctrl-L).
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn clear(&mut self, canvas: &mut Canvas) -> io::Result<()> {
        let backend = self.terminal.backend_mut();
        backend.buffer.append(&mut canvas.deletion());
        let area = Rect::from((Position::ORIGIN, backend.size));
        self.cleared = true;
        self.terminal.resize(area)
    }

    /// Takes the pictures away and shows the cursor, before the alternate screen is left.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn close(mut self, canvas: &mut Canvas) -> io::Result<()> {
        self.terminal.show_cursor()?;
        let backend = self.terminal.backend_mut();
        backend.buffer.append(&mut canvas.deletion());
        canvas.forget();
        backend.send()
    }

    /// What was written so far.
    pub fn traffic(&self) -> Traffic {
        self.terminal.backend().traffic
    }
}
