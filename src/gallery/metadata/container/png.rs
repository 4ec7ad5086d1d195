//! PNG: `tEXt`, `zTXt`, `iTXt` and `eXIf` chunks (the PNG specification, third edition, 11.3.3).

use std::io::{BufRead, BufReader, Read, Seek};

use super::{LONGEST, MOST_CHUNKS, ReadProblem, Texts, exif, latin1, read_bounded, skip, xmp};

pub(super) fn read(file: impl Read + Seek, texts: &mut Texts) -> Result<(), ReadProblem> {
    let mut file = BufReader::new(file);
    skip(&mut file, 8)?;
    for _ in 0..MOST_CHUNKS {
        if file.fill_buf()?.is_empty() {
            // Cut off after a whole chunk: what was read counts.
            return Ok(());
        }
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(|_| ReadProblem::Damaged("a PNG chunk is cut off"))?;
        let [l0, l1, l2, l3, kind @ ..] = head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if length > i32::MAX as u32 {
            return Err(ReadProblem::Damaged("a PNG chunk claims more than 2 GiB"));
        }
        match &kind {
            b"IEND" => return Ok(()),
            b"tEXt" | b"zTXt" | b"iTXt" | b"eXIf" => chunk(&mut file, kind, length as usize, texts)?,
            _ => skip(&mut file, u64::from(length) + 4)?,
        }
    }
    Err(ReadProblem::Damaged("a PNG file of more than a hundred thousand chunks"))
}

fn chunk(
    file: &mut (impl BufRead + Seek),
    kind: [u8; 4],
    length: usize,
    texts: &mut Texts,
) -> Result<(), ReadProblem> {
    let kept = length.min(LONGEST + 128);
    let data = read_bounded(file, kept as u64)?;
    if data.len() < kept {
        return Err(ReadProblem::Damaged("a PNG chunk claims more than the file has"));
    }
    if kept < length {
        texts.leave_out(&keyword(&data).map_or_else(|| latin1(&kind), |(keyword, _)| keyword));
        return Ok(skip(file, (length - kept) as u64 + 4)?);
    }
    let stored = read_bounded(file, 4)?;
    let mut crc = flate2::Crc::new();
    crc.update(&kind);
    crc.update(&data);
    if stored != crc.sum().to_be_bytes() {
        return Err(ReadProblem::Damaged("the checksum of a PNG text is wrong"));
    }
    if &kind == b"eXIf" {
        exif::read(&data, texts);
        return Ok(());
    }
    let damaged = || ReadProblem::Damaged("a PNG text has no keyword");
    let (keyword, rest) = keyword(&data).ok_or_else(damaged)?;
    match &kind {
        b"tEXt" => texts.add(&keyword, text_of(rest)),
        b"zTXt" => {
            let [0, stream @ ..] = rest else { return Err(ReadProblem::Damaged("an unknown compression")) };
            inflated(&keyword, stream, texts, text_of)?;
        }
        _ => international(&keyword, rest, texts)?,
    }
    Ok(())
}

/// A keyword of 1 to 79 characters, and what follows its zero byte.
fn keyword(data: &[u8]) -> Option<(String, &[u8])> {
    let end = data.iter().take(80).position(|byte| *byte == 0).filter(|end| *end > 0)?;
    Some((latin1(&data[..end]), &data[end + 1..]))
}

/// `tEXt` is Latin-1; but many programs write UTF-8 into it, and text that is valid as such hardly ever is not.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| latin1(bytes))
}

/// `iTXt`: compression flag and method, language tag, translated keyword, UTF-8.
fn international(keyword: &str, rest: &[u8], texts: &mut Texts) -> Result<(), ReadProblem> {
    let damaged = || ReadProblem::Damaged("a PNG iTXt text is cut off");
    let [flag, method, rest @ ..] = rest else { return Err(damaged()) };
    let mut parts = rest.splitn(3, |byte| *byte == 0);
    let text = parts.nth(2).ok_or_else(damaged)?;
    let utf8 = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match (flag, method) {
        (0, _) => add(keyword, utf8(text), texts),
        (1, 0) => inflated(keyword, text, texts, utf8)?,
        _ => return Err(ReadProblem::Damaged("an unknown compression")),
    }
    Ok(())
}

/// Adds a zlib stream's text, if it is not too long.
fn inflated(
    keyword: &str,
    stream: &[u8],
    texts: &mut Texts,
    decode: impl Fn(&[u8]) -> String,
) -> Result<(), ReadProblem> {
    let bytes = read_bounded(&mut flate2::read::ZlibDecoder::new(stream), LONGEST as u64 + 1)
        .map_err(|_| ReadProblem::Damaged("a compressed PNG text"))?;
    if bytes.len() > LONGEST {
        texts.leave_out(keyword);
    } else {
        add(keyword, decode(&bytes), texts);
    }
    Ok(())
}

fn add(keyword: &str, text: String, texts: &mut Texts) {
    if keyword == "XML:com.adobe.xmp" {
        xmp::read(&text, texts);
    } else {
        texts.add(keyword, text);
    }
}
