//! The kitty graphics protocol with pictures placed at the cursor.
//!
//! Source: <https://sw.kovidgoyal.net/kitty/graphics-protocol/>. Every command says `q=2`: the terminal must not
//! answer, since an answer would have to be read among the typed keys.

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ratatui::layout::Size;
use tempfile::NamedTempFile;

use super::{GraphicsProtocol, Slot, scale};
use crate::request::Picture;
use crate::term::probe::Capabilities;

/// Base64 characters of one command, the protocol's limit.
const CHUNK: usize = 4096;
/// Up to so many bytes pixels travel as they are: noise does not compress, and it costs no time.
const RAW_LIMIT: usize = 16 * 1024;
/// The longer side of a picture in the scrollback, in pixels; kitty's memory for pictures is limited.
const INLINE_LIMIT: u32 = 512;

/// Kitty deletes files with this in their name after reading them, and only those.
const FILE_PREFIX: &str = "tty-graphics-protocol-tintype-";

/// A file of one black pixel, to ask whether the terminal can read it.
pub(in crate::term) fn one_pixel_file() -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(FILE_PREFIX).tempfile()?;
    file.write_all(&[0; 3])?;
    Ok(file)
}

/// Pixels on their way to the terminal.
pub(super) struct Data {
    /// The keys that describe the payload.
    keys: String,
    payload: Vec<u8>,
}

impl Data {
    /// Inside the escape sequence: raw when small, else a PNG.
    pub(super) fn direct(picture: &Picture) -> io::Result<Self> {
        if picture.rgb.len() <= RAW_LIMIT {
            let keys = format!("f=24,s={},v={}", picture.size.width, picture.size.height);
            return Ok(Self { keys, payload: picture.rgb.to_vec() });
        }
        Ok(Self { keys: "f=100".into(), payload: scale::png(picture)? })
    }

    /// In a file that the terminal deletes when it has read it. It knows such files by their name.
    fn file(picture: &Picture) -> io::Result<Self> {
        let mut file = tempfile::Builder::new().prefix(FILE_PREFIX).tempfile()?;
        file.write_all(&picture.rgb)?;
        let (_, path) = file.keep().map_err(|error| error.error)?;
        let keys = format!("f=24,t=t,s={},v={}", picture.size.width, picture.size.height);
        Ok(Self { keys, payload: path.into_os_string().into_encoded_bytes() })
    }
}

/// Writes a transmission in chunks. `place` says what happens with the picture.
pub(super) fn transmit(out: &mut Vec<u8>, place: &str, data: &Data) {
    let encoded = STANDARD.encode(&data.payload);
    let chunks = encoded.as_bytes().chunks(CHUNK);
    let last = chunks.len().saturating_sub(1);
    for (index, chunk) in chunks.enumerate() {
        let more = u8::from(index < last);
        let head = if index == 0 { format!("{place},{},", data.keys) } else { String::new() };
        out.extend_from_slice(format!("\x1b_G{head}q=2,m={more};").as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\x1b\\");
    }
}

/// Deletes a picture and all places where it shows.
pub(super) fn delete(out: &mut Vec<u8>, id: u32) {
    out.extend_from_slice(format!("\x1b_Ga=d,d=I,i={id},q=2\x1b\\").as_bytes());
}

/// The single commands of what [`transmit`] and [`delete`] wrote; base64 has no backslash.
pub(super) fn split_commands(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\\')
}

/// Places pictures at the cursor.
pub(super) struct Kitty {
    /// The first number of our overlays; pictures of the scrollback have none, so that nobody can delete them.
    first_id: u32,
    /// Whether the terminal can read our files.
    files: bool,
}

impl Kitty {
    pub(super) fn new(capabilities: &Capabilities) -> Self {
        Self { first_id: 1 << 31 | (std::process::id() & 0x7fff) << 16, files: capabilities.reads_files }
    }

    fn id(&self, slot: Slot) -> u32 {
        self.first_id | u32::from(slot)
    }
}

impl GraphicsProtocol for Kitty {
    fn print_inline(&mut self, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        let picture = scale::at_most(picture, INLINE_LIMIT)?;
        let data = match self.files.then(|| Data::file(&picture)) {
            Some(Ok(data)) => data,
            _ => Data::direct(&picture)?,
        };
        super::reserve_rows(cells.height, out);
        transmit(out, &format!("a=T,C=1,c={},r={}", cells.width, cells.height), &data);
        super::leave_rows(cells.height, out);
        Ok(())
    }

    fn overlay(&mut self, slot: Slot, picture: &Picture, cells: Size, out: &mut Vec<u8>) -> io::Result<()> {
        // A picture sent under a number that is in use replaces it, so previews take memory once.
        let place = format!("a=T,C=1,i={},p=1,c={},r={}", self.id(slot), cells.width, cells.height);
        transmit(out, &place, &Data::direct(picture)?);
        Ok(())
    }

    fn delete(&mut self, slot: Slot, out: &mut Vec<u8>) {
        delete(out, self.id(slot));
    }
}
