//! A ratatui backend that writes one frame in one `write`, with relative or absolute cursor moves.
//!
//! Relative moves make a region at the end of the normal screen possible without ever asking where the cursor
//! is: no absolute row, no scroll region, no erase beyond a line (`ED` makes tmux push a copy into its
//! scrollback, and a scroll region makes kitty cut pictures off). It must not know what the region is for.

use std::cmp::Ordering;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier, Style};
use unicode_width::UnicodeWidthStr as _;

use super::color;
use super::graphics::{Overlay, PLACEHOLDER};
use super::probe::ColorDepth;

/// How the cursor is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    /// From where it is: the screen above is not ours.
    Relative,
    /// To a row of the screen: the whole screen is ours.
    Absolute,
}

/// How frames are written.
#[derive(Clone, Copy, Debug)]
pub struct FrameOptions {
    /// Colours that the terminal can show; others are replaced by near ones.
    pub color: ColorDepth,
    /// Whether a frame is wrapped in a synchronized update (mode 2026).
    pub sync_output: bool,
    /// Whether the terminal wraps lines anew when its width changes.
    pub reflows: bool,
}

impl Default for FrameOptions {
    fn default() -> Self {
        Self { color: ColorDepth::TrueColor, sync_output: true, reflows: true }
    }
}

/// What was written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames, each one `write`.
    pub frames: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// How long the last one took to write: the terminal's back pressure.
    pub last_write: Duration,
}

type Look = (Color, Color, Modifier);

#[derive(Debug)]
pub(super) struct FrameBackend<W: Write> {
    out: W,
    pub(super) buffer: Vec<u8>,
    pub(super) size: Size,
    moves: Moves,
    pub(super) options: FrameOptions,
    /// The column is `u16::MAX` when it is unknown.
    cursor: Position,
    hidden: bool,
    /// Cells in use of each row, for what a re-flow makes of them.
    row_lengths: Vec<u16>,
    /// Rows that the region takes on the terminal; more than its height after a re-flow.
    occupied: u16,
    pub(super) traffic: Traffic,
}

impl<W: Write> FrameBackend<W> {
    pub(super) fn new(out: W, size: Size, moves: Moves, options: FrameOptions) -> Self {
        Self {
            out,
            buffer: Vec::new(),
            size,
            moves,
            options,
            cursor: Position::ORIGIN,
            hidden: false,
            row_lengths: vec![0; size.height.into()],
            occupied: size.height,
            traffic: Traffic::default(),
        }
    }

    pub(super) fn cursor(&self) -> Position {
        self.cursor
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // a Vec takes everything
        let _ = self.buffer.write_fmt(text);
    }

    pub(super) fn move_to(&mut self, to: Position) {
        if to == self.cursor {
            return;
        }
        if self.moves == Moves::Absolute {
            self.push(format_args!("\x1b[{};{}H", to.y + 1, to.x + 1));
        } else {
            match to.y.cmp(&self.cursor.y) {
                Ordering::Less => self.push(format_args!("\x1b[{}A", self.cursor.y - to.y)),
                Ordering::Greater => self.push(format_args!("\x1b[{}B", to.y - self.cursor.y)),
                Ordering::Equal => {}
            }
            self.buffer.push(b'\r');
            if to.x > 0 {
                self.push(format_args!("\x1b[{}C", to.x));
            }
        }
        self.cursor = to;
    }

    /// Makes room for `height` rows. The cursor stands in column 0 of the first of them.
    pub(super) fn open(&mut self, height: u16) {
        for _ in 1..height {
            self.buffer.extend_from_slice(b"\r\n");
        }
        if height > 1 {
            self.push(format_args!("\x1b[{}A", height - 1));
        }
        self.buffer.push(b'\r');
        self.cursor = Position::ORIGIN;
        self.size.height = height;
        self.row_lengths = vec![0; height.into()];
        self.occupied = height;
    }

    /// Erases every row of the region; the cursor ends in column 0 of the first.
    pub(super) fn erase(&mut self) {
        // The row is known even when the column is not.
        let up = self.cursor.y;
        if up > 0 {
            self.push(format_args!("\x1b[{up}A"));
        }
        self.buffer.extend_from_slice(b"\r\x1b[0m");
        for row in 0..self.occupied {
            if row > 0 {
                self.buffer.extend_from_slice(b"\x1b[B");
            }
            self.buffer.extend_from_slice(b"\x1b[2K");
        }
        if self.occupied > 1 {
            self.push(format_args!("\x1b[{}A", self.occupied - 1));
        }
        self.buffer.push(b'\r');
        self.cursor = Position::ORIGIN;
        self.row_lengths.fill(0);
    }

    /// The terminal has another width: works out where a re-flow moved the cursor and how many rows it made.
    pub(super) fn set_width(&mut self, width: u16) {
        let old = self.size.width;
        let new = width.max(1);
        if new < old && self.options.reflows {
            let rows = |cells: &u16| (*cells).max(1).div_ceil(new);
            let above: u16 = self.row_lengths.iter().take(self.cursor.y.into()).map(rows).sum();
            self.cursor.y = above + self.cursor.x.min(old.saturating_sub(1)) / new;
            self.occupied = self.row_lengths.iter().map(rows).sum();
        }
        self.cursor.x = u16::MAX;
        self.size.width = width;
    }

    fn set_look(&mut self, (foreground, background, modifier): Look, depth: ColorDepth) {
        let style =
            Style { fg: Some(foreground), bg: Some(background), add_modifier: modifier, ..Style::new() };
        self.buffer.extend_from_slice(color::sgr(style, depth).as_bytes());
    }

    fn put(&mut self, position: Position, cell: &Cell, look: &mut Option<Look>) {
        self.move_to(position);
        let symbol = cell.symbol();
        let wanted = (cell.fg, cell.bg, cell.modifier);
        if *look != Some(wanted) {
            // the colour of a placeholder is the picture's number: it must arrive unchanged
            let is_placeholder = symbol.starts_with(PLACEHOLDER);
            self.set_look(wanted, if is_placeholder { ColorDepth::TrueColor } else { self.options.color });
            *look = Some(wanted);
        }
        self.buffer.extend_from_slice(symbol.as_bytes());
        self.cursor.x += u16::try_from(symbol.width()).unwrap_or(1).max(1);
        if let Some(length) = self.row_lengths.get_mut(usize::from(position.y)) {
            *length = (*length).max(self.cursor.x);
        }
        if self.cursor.x >= self.size.width || has_disputed_width(symbol) {
            // The cursor waits before the wrap, or terminals disagree where it is: position before the next cell.
            self.cursor.x = u16::MAX;
        }
    }

    /// Puts pictures over cells of the frame; the cursor ends where it was.
    pub(super) fn put_overlays(&mut self, overlays: &[Overlay]) {
        let back = self.cursor;
        // a frame that tears would show the cursor on its way
        let flickers = !(overlays.is_empty() || self.hidden || self.options.sync_output);
        if flickers {
            self.buffer.extend_from_slice(b"\x1b[?25l");
        }
        for overlay in overlays {
            self.move_to(overlay.at);
            // saved and restored, so that the protocol may leave the cursor anywhere
            self.buffer.extend_from_slice(b"\x1b7");
            self.buffer.extend_from_slice(&overlay.bytes);
            self.buffer.extend_from_slice(b"\x1b8");
        }
        if back.x != u16::MAX {
            self.move_to(back);
        }
        if flickers {
            self.buffer.extend_from_slice(b"\x1b[?25h");
        }
    }

    /// Nobody knows where the cursor is.
    pub(super) fn forget_cursor(&mut self) {
        self.cursor.x = u16::MAX;
    }

    /// Writes everything collected since the last time, in one write. Nothing collected, nothing written.
    pub(super) fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut frame = Vec::with_capacity(self.buffer.len() + 16);
        if self.options.sync_output {
            frame.extend_from_slice(b"\x1b[?2026h");
        }
        // A frame that comes after the window became narrower would wrap and take more rows than we know of. Where
        // nothing re-flows a row that is cut stays one row; where it does, wrapped rows are counted.
        let cut = self.moves == Moves::Relative && !self.options.reflows;
        if cut {
            frame.extend_from_slice(b"\x1b[?7l");
        }
        frame.append(&mut self.buffer);
        if cut {
            frame.extend_from_slice(b"\x1b[?7h");
        }
        if self.options.sync_output {
            frame.extend_from_slice(b"\x1b[?2026l");
        }
        let start = Instant::now();
        self.out.write_all(&frame)?;
        self.out.flush()?;
        self.traffic.frames += 1;
        self.traffic.bytes += frame.len() as u64;
        self.traffic.last_write = start.elapsed();
        Ok(())
    }
}

/// Terminals disagree on the width of joined and emoji-presented symbols.
fn has_disputed_width(symbol: &str) -> bool {
    symbol.chars().any(|c| matches!(c, '\u{200d}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}'))
}

/// A cell that an erased line shows as well.
fn is_blank(cell: &Cell) -> bool {
    cell.symbol() == " "
        && cell.bg == Color::Reset
        && !cell.modifier.intersects(Modifier::REVERSED | Modifier::UNDERLINED | Modifier::CROSSED_OUT)
}

/// For each cell whether it begins a run of blanks that reaches the right edge.
fn blank_tails(cells: &[(u16, u16, &Cell)], width: u16) -> Vec<bool> {
    let mut tails = vec![false; cells.len()];
    let mut next: Option<(u16, u16)> = None;
    for (tail, &(x, y, cell)) in tails.iter_mut().zip(cells).rev() {
        *tail = is_blank(cell) && (x + 1 >= width || next == Some((x + 1, y)));
        next = tail.then_some((x, y));
    }
    tails
}

impl<W: Write> Backend for FrameBackend<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let cells: Vec<_> = content.collect();
        let tails = blank_tails(&cells, self.size.width);
        let mut look: Option<Look> = None;
        let mut erased_row = None;
        for (&(x, y, cell), tail) in cells.iter().zip(tails) {
            if !tail {
                self.put(Position { x, y }, cell, &mut look);
            } else if erased_row != Some(y) {
                // EL instead of blanks: fewer bytes, and a terminal that re-flows does not count them as text.
                erased_row = Some(y);
                self.move_to(Position { x, y });
                self.buffer.extend_from_slice(b"\x1b[0m\x1b[K");
                look = None;
                if let Some(length) = self.row_lengths.get_mut(usize::from(y)) {
                    *length = (*length).min(x);
                }
            }
        }
        if look.is_some() {
            self.buffer.extend_from_slice(b"\x1b[0m");
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if !self.hidden {
            self.buffer.extend_from_slice(b"\x1b[?25l");
            self.hidden = true;
        }
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if self.hidden {
            self.buffer.extend_from_slice(b"\x1b[?25h");
            self.hidden = false;
        }
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.move_to(position.into());
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        match (clear_type, self.moves) {
            (ClearType::UntilNewLine, _) => self.buffer.extend_from_slice(b"\x1b[0m\x1b[K"),
            (ClearType::CurrentLine, _) => self.buffer.extend_from_slice(b"\x1b[0m\x1b[2K"),
            (_, Moves::Absolute) => self.buffer.extend_from_slice(b"\x1b[0m\x1b[2J"),
            // Only ratatui's resize asks for this, and only from the first row on.
            (_, Moves::Relative) => self.erase(),
        }
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.size)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size, pixels: Size::ZERO })
    }

    /// Does nothing: a frame is complete only when its owner says so.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
