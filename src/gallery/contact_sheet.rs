//! Many pictures on one sheet: small copies, and a sheet of them with its axes written on it.

use font8x8::{BASIC_FONTS, BOX_FONTS, GREEK_FONTS, LATIN_FONTS, UnicodeFonts};
use image::imageops;
use image::{ImageBuffer, Rgb, RgbImage};

use crate::request::{ImageSize, Picture};

/// Largest side of a sheet, in pixels.
const LARGEST_SIDE: u32 = 8192;
/// Pixels between cells and around them.
const GAP: u32 = 8;
/// Side of a character, in pixels: the font's eight, twice as large.
const LETTER: u32 = 16;
const PAPER: Rgb<u8> = Rgb([24, 24, 24]);
const INK: Rgb<u8> = Rgb([220, 220, 220]);
/// Where a picture is still to come.
const EMPTY: Rgb<u8> = Rgb([48, 48, 48]);

/// What a sheet's columns and rows stand for: one text each, empty texts for no label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Above each column; their number is the number of columns.
    pub columns: Vec<String>,
    /// To the left of each row.
    pub rows: Vec<String>,
}

impl Labels {
    /// No labels, in as many columns as make `count` cells nearly a square.
    pub fn none(count: usize) -> Self {
        let columns = (1..=count).find(|columns| columns * columns >= count.max(1)).unwrap_or(1);
        Self { columns: vec![String::new(); columns], rows: vec![String::new(); count.div_ceil(columns)] }
    }
}

/// The same picture with no side longer than `longest` pixels; a smaller one stays as it is.
pub fn thumbnail(picture: &Picture, longest: u32) -> Picture {
    let ImageSize { width, height } = picture.size;
    let longest = longest.max(1);
    if width.max(height) <= longest {
        return picture.clone();
    }
    let scaled =
        |side: u32| (side as f64 * longest as f64 / width.max(height) as f64).round().max(1.0) as u32;
    let (width, height) = (scaled(width), scaled(height));
    let Some(view) = view(picture) else { return picture.clone() };
    let small = imageops::thumbnail(&view, width, height);
    Picture { size: ImageSize::new(width, height), rgb: small.into_raw().into() }
}

/// The cells row by row, each no larger than `longest` pixels and smaller where the sheet would pass 8192; a `None`
/// is a picture that is still to come, so that a sheet can fill in place.
pub fn contact_sheet(cells: &[Option<&Picture>], labels: &Labels, longest: u32) -> Picture {
    let columns = labels.columns.len().max(1) as u32;
    let rows = (labels.rows.len() as u32).max((cells.len() as u32).div_ceil(columns)).max(1);
    let layout = Layout::new(cells, labels, columns, rows, longest);
    let mut sheet = RgbImage::from_pixel(
        layout.side(columns, layout.left, layout.cell.width),
        layout.side(rows, layout.top, layout.cell.height),
        PAPER,
    );
    for (i, label) in labels.columns.iter().enumerate() {
        write(&mut sheet, label, layout.x(i as u32), GAP, layout.cell.width);
    }
    for (i, label) in labels.rows.iter().enumerate() {
        let middle = layout.y(i as u32) + layout.cell.height.saturating_sub(LETTER) / 2;
        write(&mut sheet, label, GAP, middle, layout.left);
    }
    for (i, cell) in cells.iter().enumerate() {
        let (x, y) = (layout.x(i as u32 % columns), layout.y(i as u32 / columns));
        match cell {
            Some(picture) => place(&mut sheet, picture, x, y, layout.cell),
            None => fill(&mut sheet, x, y, layout.cell),
        }
    }
    let (width, height) = sheet.dimensions();
    Picture { size: ImageSize::new(width, height), rgb: sheet.into_raw().into() }
}

/// Where things lie on a sheet.
struct Layout {
    /// Size of a cell.
    cell: ImageSize,
    /// Room for the rows' labels, 0 without any.
    left: u32,
    /// Room for the columns' labels, 0 without any.
    top: u32,
}

impl Layout {
    fn new(cells: &[Option<&Picture>], labels: &Labels, columns: u32, rows: u32, longest: u32) -> Self {
        let widest = labels.rows.iter().map(|label| label.chars().count() as u32).max().unwrap_or(0);
        let left = widest.min(24) * LETTER;
        let top = if labels.columns.iter().all(String::is_empty) { 0 } else { LETTER };
        // As large as the cells' largest, but together within the sheet.
        let room = |count: u32, label: u32| {
            let margins = u64::from(label) + u64::from(GAP) * (u64::from(count) + 2);
            (u64::from(LARGEST_SIDE).saturating_sub(margins) / u64::from(count)).max(1) as u32
        };
        let longest = longest.clamp(1, LARGEST_SIDE).min(room(columns, left)).min(room(rows, top));
        let largest = |side: fn(ImageSize) -> u32| {
            let sides = cells.iter().flatten().map(|picture| {
                let longer = picture.size.width.max(picture.size.height).max(1);
                let scaled = u64::from(side(picture.size)) * u64::from(longest) / u64::from(longer);
                side(picture.size).min(scaled as u32).max(1)
            });
            sides.max().unwrap_or(longest)
        };
        Self { cell: ImageSize::new(largest(|size| size.width), largest(|size| size.height)), left, top }
    }

    fn x(&self, column: u32) -> u32 {
        GAP + if self.left > 0 { self.left + GAP } else { 0 } + column * (self.cell.width + GAP)
    }

    fn y(&self, row: u32) -> u32 {
        GAP + if self.top > 0 { self.top + GAP } else { 0 } + row * (self.cell.height + GAP)
    }

    fn side(&self, count: u32, label: u32, cell: u32) -> u32 {
        GAP + if label > 0 { label + GAP } else { 0 } + count * (cell + GAP)
    }
}

fn view(picture: &Picture) -> Option<ImageBuffer<Rgb<u8>, &[u8]>> {
    ImageBuffer::from_raw(picture.size.width, picture.size.height, &picture.rgb[..])
}

/// A picture in the middle of its cell.
fn place(sheet: &mut RgbImage, picture: &Picture, x: u32, y: u32, cell: ImageSize) {
    let small = thumbnail(picture, cell.width.max(cell.height));
    let Some(view) = view(&small) else { return };
    let (dx, dy) =
        (cell.width.saturating_sub(small.size.width) / 2, cell.height.saturating_sub(small.size.height) / 2);
    imageops::replace(sheet, &view, i64::from(x + dx), i64::from(y + dy));
}

fn fill(sheet: &mut RgbImage, x: u32, y: u32, cell: ImageSize) {
    let empty = RgbImage::from_pixel(cell.width, cell.height, EMPTY);
    imageops::replace(sheet, &empty, i64::from(x), i64::from(y));
}

/// Writes what fits into `width` pixels, the last letters as dots if it does not.
fn write(sheet: &mut RgbImage, text: &str, x: u32, y: u32, width: u32) {
    let fits = (width / LETTER).max(1) as usize;
    let cut = text.chars().count() > fits;
    let shown = text.chars().take(if cut { fits.saturating_sub(2) } else { fits });
    let dots = std::iter::repeat_n('.', if cut { fits.min(2) } else { 0 });
    for (i, c) in shown.chain(dots).enumerate() {
        letter(sheet, c, x + i as u32 * LETTER, y);
    }
}

/// Each bit of the font is a square of [`LETTER`] / 8 pixels; what the font lacks is a question mark.
fn letter(sheet: &mut RgbImage, c: char, x: u32, y: u32) {
    let glyph = BASIC_FONTS.get(c).or_else(|| LATIN_FONTS.get(c)).or_else(|| GREEK_FONTS.get(c));
    let glyph = glyph.or_else(|| BOX_FONTS.get(c)).or_else(|| BASIC_FONTS.get('?')).unwrap_or_default();
    let dot = LETTER / 8;
    for row in 0..LETTER {
        for column in 0..LETTER {
            let set = glyph[(row / dot) as usize] >> (column / dot) & 1 == 1;
            if let Some(pixel) = sheet.get_pixel_mut_checked(x + column, y + row).filter(|_| set) {
                *pixel = INK;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: u32, height: u32, colour: [u8; 3]) -> Picture {
        Picture { size: ImageSize::new(width, height), rgb: colour.repeat((width * height) as usize).into() }
    }

    fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
        let at = ((y * picture.size.width + x) * 3) as usize;
        picture.rgb[at..at + 3].try_into().unwrap()
    }

    #[test]
    fn thumbnails_keep_the_shape_and_colour() {
        let small = thumbnail(&plain(300, 100, [10, 20, 30]), 60);
        assert_eq!(small.size, ImageSize::new(60, 20));
        assert_eq!(pixel(&small, 30, 10), [10, 20, 30]);
        assert_eq!(thumbnail(&plain(20, 5, [1, 2, 3]), 60).size, ImageSize::new(20, 5));
        assert_eq!(thumbnail(&plain(5000, 1, [1, 2, 3]), 10).size, ImageSize::new(10, 1));
    }

    #[test]
    fn cells_lie_in_rows_and_what_is_to_come_is_empty() {
        let (red, blue) = (plain(64, 64, [255, 0, 0]), plain(64, 32, [0, 0, 255]));
        let sheet = contact_sheet(&[Some(&red), Some(&blue), None], &Labels::none(3), 64);
        assert_eq!(sheet.size, ImageSize::new(3 * GAP + 128, 3 * GAP + 128));
        assert_eq!(pixel(&sheet, GAP, GAP), [255, 0, 0]);
        // The lower picture is in the middle of its cell.
        assert_eq!(pixel(&sheet, 2 * GAP + 64, GAP + 15), PAPER.0);
        assert_eq!(pixel(&sheet, 2 * GAP + 64, GAP + 16), [0, 0, 255]);
        assert_eq!(pixel(&sheet, GAP, 2 * GAP + 64), EMPTY.0);
        assert_eq!(pixel(&sheet, 2 * GAP + 64, 2 * GAP + 64), PAPER.0);
    }

    #[test]
    fn labels_are_drawn_and_cut_to_their_room() {
        let cell = plain(64, 64, [0, 0, 0]);
        let labels =
            Labels { columns: vec!["cfg 5".into(), "a very long label".into()], rows: vec!["ä狐".into()] };
        let sheet = contact_sheet(&[Some(&cell), Some(&cell)], &labels, 64);
        let left = 2 * LETTER + GAP;
        assert_eq!(sheet.size, ImageSize::new(left + 3 * GAP + 128, LETTER + 3 * GAP + 64));
        let ink = |x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
            y.flat_map(|y| x.clone().map(move |x| (x, y)))
                .filter(|(x, y)| pixel(&sheet, *x, *y) == INK.0)
                .count()
        };
        assert!(ink(left + GAP..left + GAP + 64, GAP..GAP + LETTER) > 50, "column label");
        assert!(ink(GAP..left, LETTER + GAP..sheet.size.height) > 50, "row label");
        assert_eq!(
            ink(left + GAP + 64..left + 2 * GAP + 64, 0..sheet.size.height),
            0,
            "nothing between the columns"
        );
    }

    #[test]
    fn sheets_stay_within_their_largest_size() {
        let cell = plain(64, 64, [0, 0, 0]);
        let cells = vec![Some(&cell); 1000];
        for labels in [
            Labels::none(1000),
            Labels { columns: vec!["x".into()], rows: vec!["y".into(); 1000] },
            Labels { columns: vec!["x".into(); 1000], rows: Vec::new() },
        ] {
            let sheet = contact_sheet(&cells, &labels, 4096);
            assert!(sheet.size.width.max(sheet.size.height) <= LARGEST_SIDE + 1000 * GAP, "{}", sheet.size);
        }
        assert_eq!(
            contact_sheet(&[], &Labels::default(), 64).size,
            ImageSize::new(64 + 2 * GAP, 64 + 2 * GAP)
        );
    }
}
