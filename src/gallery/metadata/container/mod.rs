//! The texts in a picture file, whatever its format, with every length bounded.
//!
//! Nothing is decoded: pixels are skipped. A length that a file claims is never trusted with memory: at most
//! [`LONGEST`] bytes of a text are kept, and at most [`MOST`] of all, compressed or not.

mod exif;
mod jpeg;
mod png;
mod webp;
mod xmp;

use std::io::{Read, Seek, SeekFrom};

use super::ReadProblem;

/// Longest text that is read, in bytes; a large ComfyUI graph has a few hundred thousand.
const LONGEST: usize = 2 << 20;
/// Most bytes of text that are read from one file.
const MOST: usize = 4 << 20;
/// Most chunks or segments that are looked at in one file.
const MOST_CHUNKS: usize = 1 << 17;

/// A file's texts by keyword, in the file's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    entries: Vec<(String, String)>,
    too_long: Vec<String>,
    bytes: usize,
}

impl Texts {
    /// EXIF's `UserComment`, or the one in XMP.
    pub const USER_COMMENT: &str = "UserComment";
    /// EXIF's `Make`, `Model` and `ImageDescription`, where some programs put texts that PNG has keywords for.
    pub const MAKE: &str = "Make";
    /// See [`Texts::MAKE`].
    pub const MODEL: &str = "Model";
    /// See [`Texts::MAKE`].
    pub const DESCRIPTION: &str = "ImageDescription";
    /// XMP's `CreatorTool`.
    pub const CREATOR: &str = "CreatorTool";
    /// A JPEG comment.
    pub const COMMENT: &str = "comment";
    /// All of a file that is JSON.
    pub const JSON: &str = "json";

    /// The first text with this keyword.
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.entries.iter().find(|entry| entry.0 == keyword).map(|entry| entry.1.as_str())
    }

    /// Keywords of texts that were left out for their length.
    pub fn too_long(&self) -> impl Iterator<Item = &str> {
        self.too_long.iter().map(String::as_str)
    }

    fn add(&mut self, keyword: &str, text: impl Into<String>) {
        let text = text.into();
        let text = text.trim_matches('\0');
        if self.bytes + text.len() > MOST || self.entries.len() == 256 {
            self.leave_out(keyword);
            return;
        }
        self.bytes += text.len();
        self.entries.push((keyword.to_owned(), text.to_owned()));
    }

    fn leave_out(&mut self, keyword: &str) {
        if self.too_long.len() < 16 {
            self.too_long.push(keyword.to_owned());
        }
    }
}

/// The texts of a picture file, or of a text file.
///
/// # Errors
/// When it is neither, or contradicts itself.
pub(super) fn read(mut file: impl Read + Seek) -> Result<Texts, ReadProblem> {
    let mut magic = Vec::new();
    file.by_ref().take(12).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let mut texts = Texts::default();
    match magic.as_slice() {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => png::read(file, &mut texts)?,
        [0xff, 0xd8, 0xff, ..] => jpeg::read(file, &mut texts)?,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => webp::read(file, &mut texts)?,
        _ => plain(file, &mut texts)?,
    }
    Ok(texts)
}

/// A text file: JSON, or A1111's `parameters` as it writes beside pictures.
fn plain(mut file: impl Read, texts: &mut Texts) -> Result<(), ReadProblem> {
    let text = read_bounded(&mut file, LONGEST as u64 + 1)?;
    let text = Some(text).filter(|text| text.len() <= LONGEST).and_then(|text| String::from_utf8(text).ok());
    let text = text.filter(|text| !text.contains('\0')).ok_or(ReadProblem::NotAPicture)?;
    let keyword = if text.trim_start().starts_with('{') { Texts::JSON } else { super::a1111::KEYWORD };
    texts.add(keyword, text);
    Ok(())
}

/// What there is of the next `length` bytes: memory grows with what is read, not with what is claimed.
fn read_bounded(file: &mut impl Read, length: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Skips bytes without reading them.
fn skip(file: &mut impl Seek, length: u64) -> std::io::Result<()> {
    file.seek_relative(length as i64)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
