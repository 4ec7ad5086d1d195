//! What views draw with: a cell buffer, the theme, and a list of the pictures to show over blank cells.
//!
//! Views stay pure: where a picture belongs its place is noted, and the run loop hands the list to the terminal.
//! Knows nothing of graphics protocols.

use std::borrow::Cow;

use image::{ImageBuffer, Rgb};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::request::{ImageSize, JobId, Picture};
use crate::theme::{Role, Theme};

/// Which picture lies in a place; the same slot drawn again replaces what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// The picture that develops.
    Preview,
    /// The picture in the middle of the screen.
    Large,
    /// Left and right of a comparison.
    Compare(u8),
    /// A small one in a list or grid, by its position on the screen.
    Thumbnail(u16),
}

impl Slot {
    /// A number of its own.
    pub fn number(self) -> u16 {
        match self {
            Self::Preview => 0,
            Self::Large => 1,
            Self::Compare(side) => 2 + u16::from(side),
            Self::Thumbnail(at) => 16 + at,
        }
    }
}

/// A picture to show after the frame.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Which one.
    pub slot: Slot,
    /// Its cells, left blank in the frame.
    pub area: Rect,
    /// The picture.
    pub picture: Picture,
    /// Changes when the slot holds another picture.
    pub version: u64,
}

/// The version of a job's picture after so many steps (`u16::MAX` when it is finished).
pub fn version(job: JobId, step: u32) -> u64 {
    job.0 << 16 | u64::from(step.min(u32::from(u16::MAX)))
}

/// The terminal as far as pictures are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Display {
    /// Size of a cell in pixels; only its proportion matters.
    pub cell: Size,
    /// Whether it can show pictures at all.
    pub pictures: bool,
}

/// What a view draws with.
pub struct Painter<'a> {
    buffer: &'a mut Buffer,
    theme: &'a Theme,
    display: Display,
    placed: Vec<Placed>,
}

impl<'a> Painter<'a> {
    /// A painter for a frame's buffer.
    pub fn new(buffer: &'a mut Buffer, theme: &'a Theme, display: Display) -> Self {
        Self { buffer, theme, display, placed: Vec::new() }
    }

    /// The pictures to show after the frame.
    pub fn into_placed(self) -> Vec<Placed> {
        self.placed
    }

    /// The buffer, for ratatui's own widgets.
    pub fn buffer(&mut self) -> &mut Buffer {
        self.buffer
    }

    /// The terminal as far as pictures are concerned.
    pub fn display(&self) -> Display {
        self.display
    }

    /// A role's style.
    pub fn style(&self, role: Role) -> Style {
        self.theme.style(role)
    }

    /// Text in a role's style.
    pub fn span<'t>(&self, role: Role, text: impl Into<Cow<'t, str>>) -> Span<'t> {
        Span::styled(text, self.style(role))
    }

    /// Writes one line from the area's left edge; what does not fit is cut.
    pub fn line(&mut self, area: Rect, line: &Line<'_>) {
        let area = area.intersection(self.buffer.area);
        if !area.is_empty() {
            self.buffer.set_line(area.x, area.y, line, area.width);
        }
    }

    /// Writes one line against the area's right edge.
    pub fn line_right(&mut self, area: Rect, line: &Line<'_>) {
        let width = (line.width() as u16).min(area.width);
        self.line(Rect { x: area.right() - width, width, ..area }, line);
    }

    /// Shows a picture as large as its shape allows in the area, centred; corners where pictures cannot be shown.
    pub fn picture(&mut self, slot: Slot, picture: &Picture, version: u64, area: Rect) {
        let area = fit(picture.size, area.intersection(self.buffer.area), self.display.cell);
        if area.is_empty() {
            return;
        }
        if self.display.pictures {
            self.placed.push(Placed { slot, area, picture: picture.clone(), version });
        } else {
            self.plate(picture.size, area);
        }
    }

    /// The place where a picture of this size will be: four corners, as in a viewfinder.
    pub fn plate(&mut self, size: ImageSize, area: Rect) {
        let area = fit(size, area.intersection(self.buffer.area), self.display.cell);
        if area.width < 2 || area.height < 2 {
            return;
        }
        let style = self.style(Role::Plate);
        let (right, bottom) = (area.right() - 1, area.bottom() - 1);
        for (x, y, corner) in
            [(area.x, area.y, "┌"), (right, area.y, "┐"), (area.x, bottom, "└"), (right, bottom, "┘")]
        {
            self.buffer.set_string(x, y, corner, style);
        }
    }
}

/// The cells that a picture of this size fills in an area: as large as possible, in proportion, centred.
pub fn fit(size: ImageSize, area: Rect, cell: Size) -> Rect {
    let (width, height) = (f64::from(size.width.max(1)), f64::from(size.height.max(1)));
    let (cell_width, cell_height) = (f64::from(cell.width.max(1)), f64::from(cell.height.max(1)));
    let scale =
        (f64::from(area.width) * cell_width / width).min(f64::from(area.height) * cell_height / height);
    let cells = |pixels: f64, most: u16| (pixels.round() as u16).clamp(most.min(1), most);
    let (w, h) =
        (cells(width * scale / cell_width, area.width), cells(height * scale / cell_height, area.height));
    Rect::new(area.x + (area.width - w) / 2, area.y + (area.height - h) / 2, w, h)
}

/// Two pictures side by side in one, as high as the second; what is between them has the terminal's brightness.
pub fn beside(left: &Picture, right: &Picture, dark: bool) -> Picture {
    let height = right.size.height.max(1);
    let buffer = |picture: &Picture| {
        ImageBuffer::<Rgb<u8>, Vec<u8>>::from_raw(
            picture.size.width,
            picture.size.height,
            picture.rgb.to_vec(),
        )
    };
    let (Some(mut one), Some(other)) = (buffer(left), buffer(right)) else { return right.clone() };
    if one.height() != height {
        let width = u64::from(one.width()) * u64::from(height) / u64::from(one.height().max(1));
        let filter = image::imageops::FilterType::Triangle;
        one = image::imageops::resize(&one, width.max(1) as u32, height, filter);
    }
    let gap = (other.width() / 32).max(2);
    let paper = if dark { Rgb([0; 3]) } else { Rgb([255; 3]) };
    let mut both = image::RgbImage::from_pixel(one.width() + gap + other.width(), height, paper);
    image::imageops::replace(&mut both, &one, 0, 0);
    image::imageops::replace(&mut both, &other, i64::from(one.width() + gap), 0);
    Picture { size: ImageSize::new(both.width(), height), rgb: both.into_raw().into() }
}

/// A picture of at most `side` pixels in either direction, for lists and grids.
pub fn thumbnail(picture: &Picture, side: u32) -> Picture {
    let size = picture.size;
    let longest = size.width.max(size.height);
    let buffer = ImageBuffer::<Rgb<u8>, &[u8]>::from_raw(size.width, size.height, &picture.rgb);
    let Some(view) = buffer.filter(|_| longest > side) else { return picture.clone() };
    let scaled = |n: u32| (u64::from(n) * u64::from(side) / u64::from(longest)).max(1) as u32;
    let small = image::imageops::thumbnail(&view, scaled(size.width), scaled(size.height));
    Picture { size: ImageSize::new(small.width(), small.height()), rgb: small.into_raw().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISPLAY: Display = Display { cell: Size::new(8, 16), pictures: true };

    fn picture(width: u32, height: u32) -> Picture {
        Picture { size: ImageSize::new(width, height), rgb: vec![7; (width * height * 3) as usize].into() }
    }

    #[test]
    fn pictures_keep_their_proportion_and_stay_inside() {
        let area = Rect::new(2, 1, 40, 10);
        let fit = |w, h, area| fit(ImageSize::new(w, h), area, DISPLAY.cell);
        assert_eq!(fit(512, 512, area), Rect::new(12, 1, 20, 10));
        assert_eq!(fit(1024, 256, area), Rect::new(2, 3, 40, 5));
        assert_eq!(fit(10, 10_000, area).width, 1);
        assert_eq!(fit(64, 64, Rect::new(0, 0, 0, 5)).width, 0);
    }

    #[test]
    fn pictures_leave_their_cells_blank_and_plates_mark_corners() {
        let (theme, area) = (Theme::default(), Rect::new(0, 0, 4, 2));
        let mut buffer = Buffer::empty(area);
        let mut painter = Painter::new(&mut buffer, &theme, DISPLAY);
        painter.picture(Slot::Preview, &picture(8, 8), version(JobId(1), 2), area);
        let placed = painter.into_placed();
        assert_eq!((placed.len(), placed[0].area, placed[0].version), (1, area, 1 << 16 | 2));
        assert_eq!(buffer, Buffer::empty(area));
        let mut painter = Painter::new(&mut buffer, &theme, Display { pictures: false, ..DISPLAY });
        painter.picture(Slot::Preview, &picture(8, 8), 0, area);
        assert!(painter.into_placed().is_empty());
        let symbols: String = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        assert_eq!(symbols, "┌  ┐└  ┘");
    }

    #[test]
    fn slots_have_numbers_of_their_own() {
        use Slot::{Compare, Large, Preview, Thumbnail};
        let slots = [Preview, Large, Compare(0), Compare(1), Thumbnail(0), Thumbnail(1)].map(Slot::number);
        assert_eq!(slots.iter().collect::<std::collections::BTreeSet<_>>().len(), slots.len());
    }

    #[test]
    fn pictures_stand_side_by_side_at_one_height() {
        let both = beside(&picture(32, 64), &picture(64, 128), true);
        assert_eq!(both.size, ImageSize::new(64 + 2 + 64, 128));
        let at = |x: usize| both.rgb[x * 3];
        assert_eq!([at(0), at(63), at(64), at(65), at(66), at(129)], [7, 7, 0, 0, 7, 7]);
        assert_eq!(beside(&picture(8, 8), &picture(8, 8), false).rgb[8 * 3], 255);
    }

    #[test]
    fn thumbnails_are_never_enlarged() {
        assert_eq!(thumbnail(&picture(200, 100), 50).size, ImageSize::new(50, 25));
        assert_eq!(thumbnail(&picture(20, 10), 50), picture(20, 10));
    }
}
