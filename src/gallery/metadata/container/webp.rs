//! WebP: EXIF and XMP chunks of the RIFF file (the WebP container specification).

use std::io::{BufRead, BufReader, Read, Seek};

use super::{LONGEST, MOST_CHUNKS, ReadProblem, Texts, exif, read_bounded, skip, xmp};

pub(super) fn read(file: impl Read + Seek, texts: &mut Texts) -> Result<(), ReadProblem> {
    let mut file = BufReader::new(file);
    skip(&mut file, 12)?;
    for _ in 0..MOST_CHUNKS {
        if file.fill_buf()?.is_empty() {
            return Ok(());
        }
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(|_| ReadProblem::Damaged("a WebP chunk is cut off"))?;
        let [kind @ .., l0, l1, l2, l3] = head;
        let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
        let padded = length + length % 2;
        match &kind {
            b"EXIF" | b"XMP " if length <= LONGEST as u64 => {
                let data = read_bounded(&mut file, length)?;
                skip(&mut file, padded - length)?;
                if &kind == b"EXIF" {
                    exif::read(data.strip_prefix(b"Exif\0\0").unwrap_or(&data), texts);
                } else {
                    xmp::read(&String::from_utf8_lossy(&data), texts);
                }
            }
            b"EXIF" | b"XMP " => {
                texts.leave_out(kind.escape_ascii().to_string().trim());
                skip(&mut file, padded)?;
            }
            _ => skip(&mut file, padded)?,
        }
    }
    Err(ReadProblem::Damaged("a WebP file of more than a hundred thousand chunks"))
}
