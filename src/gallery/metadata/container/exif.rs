//! EXIF: the few texts in it that programs put settings into (EXIF 2.32, 4.6).
//!
//! Damage is no error: what cannot be read is left out, as the picture is fine without.

use super::Texts;

const MAKE: u16 = 0x010f;
const MODEL: u16 = 0x0110;
const DESCRIPTION: u16 = 0x010e;
const EXIF_IFD: u16 = 0x8769;
const USER_COMMENT: u16 = 0x9286;

/// Most entries of a directory that are looked at.
const MOST_ENTRIES: usize = 512;

/// Reads a TIFF structure.
pub(super) fn read(tiff: &[u8], texts: &mut Texts) {
    let tiff = tiff.strip_prefix(b"Exif\0\0").unwrap_or(tiff);
    let big_endian = match tiff {
        [b'I', b'I', 42, 0, ..] => false,
        [b'M', b'M', 0, 42, ..] => true,
        _ => return,
    };
    let exif = Exif { tiff, big_endian };
    let mut user_comment = None;
    for entry in exif.u32(4).into_iter().flat_map(|at| exif.entries(at)) {
        match entry.tag {
            MAKE => exif.ascii(&entry, Texts::MAKE, texts),
            MODEL => exif.ascii(&entry, Texts::MODEL, texts),
            DESCRIPTION => exif.ascii(&entry, Texts::DESCRIPTION, texts),
            EXIF_IFD => {
                user_comment =
                    exif.entries(entry.value).find(|e| e.tag == USER_COMMENT).and_then(|e| exif.data(&e));
            }
            _ => {}
        }
    }
    if let Some(comment) = user_comment {
        texts.add(Texts::USER_COMMENT, exif.user_comment(comment));
    }
}

struct Exif<'a> {
    tiff: &'a [u8],
    big_endian: bool,
}

/// A directory's entry.
struct Entry {
    tag: u16,
    /// Length of one value times their count, in bytes.
    length: usize,
    /// Where the entry's value field is.
    at: usize,
    /// The value field as a number: an offset when the value does not fit.
    value: u32,
}

impl<'a> Exif<'a> {
    fn u16(&self, at: usize) -> Option<u16> {
        let bytes: [u8; 2] = self.tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn entries(&self, at: u32) -> impl Iterator<Item = Entry> {
        let at = at as usize;
        let count = usize::from(self.u16(at).unwrap_or(0)).min(MOST_ENTRIES);
        (0..count).map_while(move |i| {
            let at = at.checked_add(2 + i * 12)?;
            let unit = match self.u16(at + 2)? {
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                5 | 10 | 12 => 8,
                _ => 1,
            };
            let length = (self.u32(at + 4)? as usize).saturating_mul(unit);
            Some(Entry { tag: self.u16(at)?, length, at: at + 8, value: self.u32(at + 8)? })
        })
    }

    fn data(&self, entry: &Entry) -> Option<&'a [u8]> {
        let start = if entry.length <= 4 { entry.at } else { entry.value as usize };
        self.tiff.get(start..start.checked_add(entry.length)?)
    }

    fn ascii(&self, entry: &Entry, keyword: &str, texts: &mut Texts) {
        if let Some(bytes) = self.data(entry) {
            texts.add(keyword, String::from_utf8_lossy(bytes));
        }
    }

    /// The comment's first eight bytes name its encoding; `UNICODE` is UTF-16 of either byte order, whatever the
    /// file's, since writers do not agree.
    fn user_comment(&self, bytes: &[u8]) -> String {
        let Some((code, text)) = bytes.split_at_checked(8) else { return String::new() };
        match code {
            b"UNICODE\0" => self.utf16(text),
            b"ASCII\0\0\0" | [0, 0, 0, 0, 0, 0, 0, 0] | b"JIS\0\0\0\0\0" => {
                String::from_utf8_lossy(text).into_owned()
            }
            _ => String::from_utf8_lossy(bytes).into_owned(),
        }
    }

    fn utf16(&self, bytes: &[u8]) -> String {
        let units =
            |to_u16: fn([u8; 2]) -> u16| bytes.as_chunks::<2>().0.iter().map(move |pair| to_u16(*pair));
        // Settings are mostly ASCII: in the right order, most of their high bytes are zero.
        let ascii = |to_u16: fn([u8; 2]) -> u16| units(to_u16).filter(|unit| *unit < 0x80).count();
        let (big, little) = (ascii(u16::from_be_bytes), ascii(u16::from_le_bytes));
        let big_endian = if big == little { self.big_endian } else { big > little };
        let decode = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        char::decode_utf16(units(decode)).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}
