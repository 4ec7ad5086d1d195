//! What a terminal understands of graphics: escape sequences taken apart and decoded back to pixels.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;

/// One whole escape sequence.
pub struct Sequence(Vec<u8>);

/// A picture as the terminal would show it.
pub struct ShownPicture {
    /// Its pixels.
    pub pixels: RgbImage,
    /// Columns and rows that it was scaled to, where the protocol says so.
    pub cells: Option<(u16, u16)>,
    /// The number that it can be replaced and deleted by.
    pub id: Option<u32>,
    /// `kitty`, `placeholder`, `iterm2` or `sixel`.
    pub protocol: &'static str,
    /// Bytes that it took, escape sequences and all.
    pub bytes: usize,
}

/// The whole sequences in `bytes`, and how many bytes were looked at (an unfinished sequence at the end was not).
/// What is passed through tmux is taken out of its wrapping.
pub fn sequences(bytes: &[u8]) -> (Vec<Sequence>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(escape) = bytes[at..].iter().position(|&byte| byte == 0x1b) {
        let start = at + escape;
        let rest = &bytes[start..];
        let string_end = |from: usize| {
            let st = rest[from..].windows(2).position(|pair| pair == b"\x1b\\").map(|n| from + n + 2);
            let bel = rest[from..].iter().position(|&byte| byte == 7).map(|n| from + n + 1);
            if rest[1] == b']' { [st, bel].into_iter().flatten().min() } else { st }
        };
        let length = match rest.get(1) {
            None => return (found, start),
            Some(b'[') => rest[2..].iter().position(|byte| (0x40..0x7f).contains(byte)).map(|n| n + 3),
            // the wrapping's own end is an ESC that is not doubled
            Some(b'P') if rest.starts_with(b"\x1bPtmux;") => tmux_end(rest),
            Some(b'P' | b']' | b'_') => string_end(2),
            Some(_) => Some(2),
        };
        let Some(length) = length else { return (found, start) };
        let whole = &rest[..length];
        if let Some(wrapped) = whole.strip_prefix(b"\x1bPtmux;") {
            let text = wrapped[..wrapped.len() - 2].to_vec();
            let mut inner = Vec::new();
            let mut bytes = text.into_iter().peekable();
            while let Some(byte) = bytes.next() {
                if byte == 0x1b {
                    bytes.next_if_eq(&0x1b);
                }
                inner.push(byte);
            }
            found.push(Sequence(inner));
        } else {
            found.push(Sequence(whole.to_vec()));
        }
        at = start + length;
    }
    (found, bytes.len())
}

fn tmux_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 7;
    loop {
        let escape = at + bytes.get(at..)?.iter().position(|&byte| byte == 0x1b)?;
        match bytes.get(escape + 1)? {
            b'\\' => return Some(escape + 2),
            _ => at = escape + 2,
        }
    }
}

/// A kitty graphics command.
pub struct KittyCommand<'a> {
    keys: BTreeMap<&'a str, &'a str>,
    payload: &'a str,
}

impl Sequence {
    /// Its bytes.
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The kitty graphics command that it is, if it is one.
    pub fn kitty(&self) -> Option<KittyCommand<'_>> {
        let body = self.text().strip_prefix("\x1b_G")?.strip_suffix("\x1b\\")?;
        let (keys, payload) = body.split_once(';').unwrap_or((body, ""));
        Some(KittyCommand {
            keys: keys.split(',').filter_map(|pair| pair.split_once('=')).collect(),
            payload,
        })
    }

    fn iterm2(&self) -> Option<&str> {
        self.text().strip_prefix("\x1b]1337;")?.strip_suffix('\x07')
    }
}

impl<'a> KittyCommand<'a> {
    /// A key's value.
    pub fn key(&self, name: &str) -> Option<&'a str> {
        self.keys.get(name).copied()
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.key(name)?.parse().ok()
    }

    /// The pixels of a command that is whole in itself.
    pub fn pixels(&self) -> Option<RgbImage> {
        kitty_pixels(self, &STANDARD.decode(self.payload).ok()?)
    }
}

fn kitty_pixels(command: &KittyCommand<'_>, payload: &[u8]) -> Option<RgbImage> {
    let data = match command.key("t") {
        Some("t") => {
            let path = std::path::Path::new(std::str::from_utf8(payload).ok()?);
            assert!(
                path.to_string_lossy().contains("tty-graphics-protocol"),
                "kitty would not delete {path:?}"
            );
            let data = std::fs::read(path).ok()?;
            std::fs::remove_file(path).ok()?;
            data
        }
        _ => payload.to_vec(),
    };
    match command.key("f") {
        Some("24") => RgbImage::from_raw(command.number("s")?, command.number("v")?, data),
        Some("100") => image::load_from_memory(&data).ok().map(|image| image.to_rgb8()),
        _ => None,
    }
}

/// All pictures in `bytes`, in order.
pub fn decode(bytes: &[u8]) -> Vec<ShownPicture> {
    let (sequences, _) = sequences(bytes);
    let mut pictures = Vec::new();
    let mut kitty: Option<(&Sequence, String, usize)> = None;
    let mut iterm2: Option<(String, String, usize)> = None;
    for sequence in &sequences {
        if let Some(command) = sequence.kitty() {
            let (first, payload, size) = kitty.get_or_insert_with(|| (sequence, String::new(), 0));
            payload.push_str(command.payload);
            *size += sequence.0.len();
            assert!(command.payload.len() <= 4096, "kitty takes at most 4096 characters at a time");
            let is_query = command.key("a") == Some("q");
            assert!(is_query || command.key("q") == Some("2"), "an answer that nobody reads");
            if command.key("m") != Some("1") {
                let (head, payload) =
                    (first.kitty().expect("a command"), STANDARD.decode(payload).expect("base64"));
                let shows = matches!(head.key("a"), Some("T"));
                if let Some(pixels) = shows.then(|| kitty_pixels(&head, &payload)).flatten() {
                    pictures.push(ShownPicture {
                        pixels,
                        cells: head.number("c").zip(head.number("r")),
                        id: head.number("i"),
                        protocol: if head.key("U") == Some("1") { "placeholder" } else { "kitty" },
                        bytes: *size,
                    });
                }
                kitty = None;
            }
        } else if let Some(body) = sequence.iterm2() {
            if let Some((keys, data)) = body.strip_prefix("File=").and_then(|rest| rest.split_once(':')) {
                pictures.push(iterm2_picture(keys, data, sequence.0.len()));
            } else if let Some(keys) = body.strip_prefix("MultipartFile=") {
                iterm2 = Some((keys.to_owned(), String::new(), sequence.0.len()));
            } else if let (Some(part), Some((_, data, size))) = (body.strip_prefix("FilePart="), &mut iterm2)
            {
                data.push_str(part);
                *size += sequence.0.len();
            } else if body == "FileEnd" {
                let (keys, data, size) = iterm2.take().expect("parts before their end");
                pictures.push(iterm2_picture(&keys, &data, size + sequence.0.len()));
            }
        } else if sequence.0.starts_with(b"\x1bP") && sequence.0.contains(&b'q') && sequence.0[2] != b'>' {
            let decoded = icy_sixel::SixelImage::decode(&sequence.0).expect("sixels");
            let rgb =
                decoded.pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
            let pixels =
                RgbImage::from_raw(decoded.width as u32, decoded.height as u32, rgb).expect("a picture");
            pictures.push(ShownPicture {
                pixels,
                cells: None,
                id: None,
                protocol: "sixel",
                bytes: sequence.0.len(),
            });
        }
    }
    pictures
}

fn iterm2_picture(keys: &str, data: &str, bytes: usize) -> ShownPicture {
    let keys: BTreeMap<&str, &str> = keys.split(';').filter_map(|pair| pair.split_once('=')).collect();
    let data = STANDARD.decode(data).expect("base64");
    assert_eq!(keys["size"].parse(), Ok(data.len()), "iTerm2 checks the size");
    assert_eq!((keys["inline"], keys["preserveAspectRatio"]), ("1", "0"));
    let cells = (keys["width"].parse().expect("columns"), keys["height"].parse().expect("rows"));
    let pixels = image::load_from_memory(&data).expect("a PNG").to_rgb8();
    ShownPicture { pixels, cells: Some(cells), id: None, protocol: "iterm2", bytes }
}
