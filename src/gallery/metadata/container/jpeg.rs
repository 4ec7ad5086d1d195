//! JPEG: EXIF and XMP in APP1 segments, and the comment (ITU-T T.81, B.1; EXIF 2.32, 4.5.4).

use std::io::{BufReader, Read, Seek};

use super::{MOST_CHUNKS, ReadProblem, Texts, exif, read_bounded, skip, xmp};

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

pub(super) fn read(file: impl Read + Seek, texts: &mut Texts) -> Result<(), ReadProblem> {
    let mut file = BufReader::new(file);
    skip(&mut file, 2)?;
    for _ in 0..MOST_CHUNKS {
        let mut marker = [0; 2];
        file.read_exact(&mut marker).map_err(|_| ReadProblem::Damaged("a JPEG file without a picture"))?;
        // Fill bytes may stand before a marker.
        while marker == [0xff, 0xff] {
            marker[1] = read_bounded(&mut file, 1)?.first().copied().unwrap_or(0);
        }
        let [0xff, marker] = marker else { return Err(ReadProblem::Damaged("a JPEG segment is misplaced")) };
        match marker {
            // The picture itself begins, or the file ends: texts stand before.
            0xda | 0xd9 => return Ok(()),
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let mut length = [0; 2];
        file.read_exact(&mut length).map_err(|_| ReadProblem::Damaged("a JPEG segment is cut off"))?;
        let length = u64::from(u16::from_be_bytes(length))
            .checked_sub(2)
            .ok_or(ReadProblem::Damaged("a JPEG segment shorter than its own length"))?;
        if !matches!(marker, 0xe1 | 0xfe) {
            skip(&mut file, length)?;
            continue;
        }
        let data = read_bounded(&mut file, length)?;
        if let Some(data) = data.strip_prefix(b"Exif\0\0") {
            exif::read(data, texts);
        } else if let Some(data) = data.strip_prefix(XMP) {
            xmp::read(&String::from_utf8_lossy(data), texts);
        } else if marker == 0xfe {
            texts.add(Texts::COMMENT, String::from_utf8_lossy(&data));
        }
    }
    Err(ReadProblem::Damaged("a JPEG file of more than a hundred thousand segments"))
}
