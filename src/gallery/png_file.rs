//! A picture as PNG bytes with its texts.

use std::borrow::Cow;

use png::text_metadata::{ITXtChunk, TEXtChunk};

use crate::request::Picture;

/// A keyword of 1 to 79 Latin-1 characters, such as `parameters`, and its text.
pub type TextEntry<'a> = (&'a str, Cow<'a, str>);

/// Encodes RGB, 8 bits. A text goes into a `tEXt` chunk if Latin-1 holds it, else into an `iTXt` chunk in UTF-8:
/// what Pillow does, so every tool that reads its files reads ours.
///
/// # Errors
/// When a keyword is not valid or the picture is larger than PNG allows.
pub fn encode(picture: &Picture, texts: &[TextEntry<'_>]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::with_capacity(picture.rgb.len() / 2);
    let mut encoder = png::Encoder::new(&mut bytes, picture.size.width, picture.size.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    for (keyword, text) in texts {
        if text.chars().all(|c| u32::from(c) < 256 && c != '\0') {
            writer.write_text_chunk(&TEXtChunk::new(*keyword, text.as_ref()))?;
        } else {
            writer.write_text_chunk(&ITXtChunk::new(*keyword, text.as_ref()))?;
        }
    }
    writer.write_image_data(&picture.rgb)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ImageSize;

    #[test]
    fn pixels_and_texts_come_back() {
        let rgb: Vec<u8> = (0..5 * 3 * 3).map(|i| (i * 7) as u8).collect();
        let picture = Picture { size: ImageSize::new(5, 3), rgb: rgb.clone().into() };
        let bytes =
            encode(&picture, &[("parameters", "a fox\nSteps: 3".into()), ("note", "狐 🦊".into())]).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels, rgb);
        assert_eq!(reader.info().uncompressed_latin1_text[0].text, "a fox\nSteps: 3");
        assert_eq!(reader.info().utf8_text[0].get_text().unwrap(), "狐 🦊");
    }
}
