//! Takes the terminal's byte stream apart: keys, pastes, answers.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const PASTE_END: &[u8] = b"\x1b[201~";
/// No sequence that we know is longer; what is, is noise.
const LONGEST_CSI: usize = 128;
/// The longest answer that we may get is a terminal's name.
const LONGEST_STRING: usize = 4096;

/// An answer of the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// DA1; the last answer of the probe.
    PrimaryAttributes { sixel: bool },
    /// XTVERSION, such as `kitty(0.41.1)`.
    Version(String),
    /// OSC 11: background, 8 bits a channel.
    Background([u8; 3]),
    /// `CSI 16 t`: pixels of a cell.
    CellSize { width: u16, height: u16 },
    /// DECRPM: a mode and its state (1 set, 2 reset, 0 unknown, 3 and 4 fixed).
    Mode { mode: u16, state: u8 },
    /// Answer to a kitty graphics query.
    Kitty { id: u32, ok: bool },
    /// An answer that nobody asked for.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Key(KeyEvent),
    Paste(String),
    Report(Report),
}

/// What the unfinished bytes may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// A key that starts with `ESC`, or `ESC` itself.
    Escape,
    /// An answer that has begun.
    Report,
}

/// What stands at the start of the buffer.
enum Step {
    /// So many bytes, and what they are; `None` is noise.
    Token(usize, Option<Token>),
    /// A paste begins after so many bytes.
    PasteStart(usize),
    Unfinished,
}

#[derive(Debug, Default)]
pub(super) struct Tokenizer {
    buffer: Vec<u8>,
    /// The text of a paste that is not complete yet.
    paste: Option<Vec<u8>>,
}

impl Tokenizer {
    /// Takes bytes and returns what became complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Token> {
        self.buffer.extend_from_slice(bytes);
        let mut tokens = Vec::new();
        loop {
            if self.paste.is_some() {
                let Some(text) = self.take_paste() else { break };
                tokens.push(Token::Paste(text));
                continue;
            }
            match step(&self.buffer) {
                Step::Token(length, token) => {
                    self.buffer.drain(..length);
                    tokens.extend(token);
                }
                Step::PasteStart(length) => {
                    self.buffer.drain(..length);
                    self.paste = Some(Vec::new());
                }
                Step::Unfinished => break,
            }
        }
        tokens
    }

    /// What the unfinished bytes are waiting for, if there are any.
    pub(super) fn pending(&self) -> Option<Pending> {
        match self.buffer.as_slice() {
            [] => None,
            _ if self.paste.is_some() => None,
            buffer if string_kind(buffer).is_some() => Some(Pending::Report),
            _ => Some(Pending::Escape),
        }
    }

    /// Decides the unfinished bytes: nothing more will come.
    pub(super) fn flush(&mut self) -> Vec<Token> {
        if self.paste.is_some() {
            return Vec::new();
        }
        let buffer = std::mem::take(&mut self.buffer);
        if string_kind(&buffer).is_some() {
            return Vec::new();
        }
        match buffer.as_slice() {
            [ESC, ESC] => vec![key(KeyCode::Esc, KeyModifiers::NONE), key(KeyCode::Esc, KeyModifiers::NONE)],
            [ESC] => vec![key(KeyCode::Esc, KeyModifiers::NONE)],
            &[ESC, byte] if byte.is_ascii_graphic() => {
                vec![key(KeyCode::Char(char::from(byte)), KeyModifiers::ALT)]
            }
            _ => Vec::new(),
        }
    }

    /// The pasted text, if its end is there; otherwise keeps what came so far.
    fn take_paste(&mut self) -> Option<String> {
        let paste = self.paste.as_mut()?;
        if let Some(end) = find(&self.buffer, PASTE_END) {
            paste.extend(self.buffer.drain(..end + PASTE_END.len()).take(end));
            let text = String::from_utf8_lossy(paste).replace("\r\n", "\n").replace('\r', "\n");
            self.paste = None;
            return Some(text);
        }
        // The end mark may be cut in two: keep as much as could be its start.
        let keep = (0..PASTE_END.len()).rev().find(|&n| self.buffer.ends_with(&PASTE_END[..n])).unwrap_or(0);
        let whole = self.buffer.len() - keep;
        paste.extend(self.buffer.drain(..whole));
        None
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Token {
    Token::Key(KeyEvent::new(code, modifiers))
}

/// The introducer of a terminal's answer that is a string. People press Alt-P, Alt-] and Alt-_ too: only the
/// beginnings that our questions can have for an answer count.
fn string_kind(buffer: &[u8]) -> Option<u8> {
    match *buffer {
        [ESC, b'P', b'>' | b'!' | b'0'..=b'9', ..] => Some(b'P'),
        [ESC, b']', b'0'..=b'9', ..] => Some(b']'),
        [ESC, b'_', b'G', ..] => Some(b'_'),
        _ => None,
    }
}

fn step(buffer: &[u8]) -> Step {
    match *buffer {
        [] | [ESC] | [ESC, b'[' | b'O' | b'P' | b']' | b'_' | ESC] => Step::Unfinished,
        [ESC, b'[', ..] => csi(buffer),
        [ESC, b'O', last, ..] => Step::Token(3, ss3(last).map(|code| key(code, KeyModifiers::NONE))),
        _ if string_kind(buffer).is_some() => string(buffer),
        [ESC, ..] => alt(buffer),
        _ => character(buffer, KeyModifiers::NONE),
    }
}

/// `ESC` and then a key: Alt and that key.
fn alt(buffer: &[u8]) -> Step {
    let rest = buffer.get(1..).unwrap_or_default();
    let inner = if rest.first() == Some(&ESC) { step(rest) } else { character(rest, KeyModifiers::ALT) };
    match inner {
        Step::Token(length, Some(Token::Key(mut event))) => {
            event.modifiers |= KeyModifiers::ALT;
            Step::Token(length + 1, Some(Token::Key(event)))
        }
        // ESC before an answer or a paste: the Esc key, then the answer.
        Step::Token(_, Some(_)) | Step::PasteStart(_) => {
            Step::Token(1, Some(key(KeyCode::Esc, KeyModifiers::NONE)))
        }
        Step::Token(length, None) => Step::Token(length + 1, None),
        Step::Unfinished => Step::Unfinished,
    }
}

/// One character, UTF-8 or control.
fn character(buffer: &[u8], modifiers: KeyModifiers) -> Step {
    let Some(&first) = buffer.first() else { return Step::Unfinished };
    let length = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    if first.is_ascii_control() {
        let (code, extra) = control(first);
        return Step::Token(1, Some(key(code, modifiers | extra)));
    }
    let Some(bytes) = buffer.get(..length) else {
        let cut = buffer.iter().skip(1).all(|byte| (0x80..0xc0).contains(byte));
        return if cut { Step::Unfinished } else { Step::Token(1, None) };
    };
    match std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next()) {
        Some(c) => {
            let shift = if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE };
            Step::Token(length, Some(key(KeyCode::Char(c), modifiers | shift)))
        }
        None => Step::Token(1, None),
    }
}

fn control(byte: u8) -> (KeyCode, KeyModifiers) {
    match byte {
        b'\r' => (KeyCode::Enter, KeyModifiers::NONE),
        b'\t' => (KeyCode::Tab, KeyModifiers::NONE),
        0x7f => (KeyCode::Backspace, KeyModifiers::NONE),
        ESC => (KeyCode::Esc, KeyModifiers::NONE),
        0 => (KeyCode::Char(' '), KeyModifiers::CONTROL),
        byte => (KeyCode::Char(char::from(byte | 0x40).to_ascii_lowercase()), KeyModifiers::CONTROL),
    }
}

fn ss3(last: u8) -> Option<KeyCode> {
    Some(match last {
        b'P'..=b'S' => KeyCode::F(last - b'P' + 1),
        b'M' => KeyCode::Enter,
        _ => return cursor_key(last),
    })
}

fn cursor_key(last: u8) -> Option<KeyCode> {
    Some(match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        _ => return None,
    })
}

fn csi(buffer: &[u8]) -> Step {
    if let [ESC, b'[', b'[', rest @ ..] = buffer {
        // the Linux console's F1 to F5
        return match rest.first() {
            None => Step::Unfinished,
            Some(last @ b'A'..=b'E') => {
                Step::Token(4, Some(key(KeyCode::F(last - b'A' + 1), KeyModifiers::NONE)))
            }
            Some(_) => Step::Token(4, None),
        };
    }
    let body = buffer.get(2..).unwrap_or_default();
    let Some(end) = body.iter().position(|byte| !(0x20..0x40).contains(byte)) else {
        return if body.len() > LONGEST_CSI { Step::Token(buffer.len(), None) } else { Step::Unfinished };
    };
    let (Some(parameters), Some(&last)) = (body.get(..end), body.get(end)) else { return Step::Unfinished };
    if !(0x40..0x7f).contains(&last) {
        // broken off by something else: that something stays
        return Step::Token(2 + end, None);
    }
    let length = 2 + end + 1;
    let text = std::str::from_utf8(parameters).unwrap_or_default();
    if (text, last) == ("200", b'~') {
        return Step::PasteStart(length);
    }
    let token = csi_report(text, last).map(Token::Report).or_else(|| csi_key(text, last).map(Token::Key));
    Step::Token(length, token)
}

fn csi_report(text: &str, last: u8) -> Option<Report> {
    let numbers = |text: &str| -> Vec<u16> { text.split(';').filter_map(|n| n.parse().ok()).collect() };
    if let Some(private) = text.strip_prefix('?') {
        return Some(match last {
            b'c' => Report::PrimaryAttributes { sixel: numbers(private).iter().skip(1).any(|&n| n == 4) },
            b'y' => match numbers(private.trim_end_matches('$')).as_slice() {
                &[mode, state] => Report::Mode { mode, state: u8::try_from(state).unwrap_or(0) },
                _ => Report::Other,
            },
            _ => Report::Other,
        });
    }
    match last {
        b't' => Some(match numbers(text).as_slice() {
            &[6, height, width] => Report::CellSize { width, height },
            _ => Report::Other,
        }),
        b'c' | b'n' | b'y' | b'I' | b'O' => Some(Report::Other),
        b'R' if text.contains(';') && !text.starts_with("1;") => Some(Report::Other),
        _ => None,
    }
}

fn csi_key(text: &str, last: u8) -> Option<KeyEvent> {
    // sub-parameters (`1:3`, the kitty protocol's event kinds) do not change which key it was
    let mut numbers =
        text.split(';').map(|part| part.split(':').next().unwrap_or_default().parse::<u32>().ok());
    let first = numbers.next().flatten();
    let modifiers = modifiers_of(numbers.next().flatten().unwrap_or(1));
    let code = match last {
        b'~' => numbered_key(first?)?,
        b'u' => unicode_key(first?)?,
        b'Z' => return Some(KeyEvent::new(KeyCode::BackTab, modifiers | KeyModifiers::SHIFT)),
        b'P'..=b'S' => KeyCode::F(last - b'P' + 1),
        _ => cursor_key(last)?,
    };
    Some(KeyEvent::new(code, modifiers))
}

/// xterm's modifier parameter: 1 + (1 Shift, 2 Alt, 4 Ctrl, 8 Meta).
fn modifiers_of(parameter: u32) -> KeyModifiers {
    let bits = parameter.saturating_sub(1);
    let mut modifiers = KeyModifiers::NONE;
    for (bit, modifier) in [
        (1, KeyModifiers::SHIFT),
        (2, KeyModifiers::ALT),
        (4, KeyModifiers::CONTROL),
        (8, KeyModifiers::SUPER),
        (32, KeyModifiers::META),
    ] {
        modifiers.set(modifier, bits & bit != 0);
    }
    modifiers
}

fn numbered_key(number: u32) -> Option<KeyCode> {
    Some(match number {
        1 | 7 => KeyCode::Home,
        2 => KeyCode::Insert,
        3 => KeyCode::Delete,
        4 | 8 => KeyCode::End,
        5 => KeyCode::PageUp,
        6 => KeyCode::PageDown,
        11..=15 => KeyCode::F(u8::try_from(number).ok()? - 10),
        17..=21 => KeyCode::F(u8::try_from(number).ok()? - 11),
        23..=24 => KeyCode::F(u8::try_from(number).ok()? - 12),
        _ => return None,
    })
}

/// A key of the `CSI u` encoding, which some terminals use for what has no other (Shift-Enter).
fn unicode_key(number: u32) -> Option<KeyCode> {
    Some(match number {
        9 => KeyCode::Tab,
        13 | 57414 => KeyCode::Enter,
        27 => KeyCode::Esc,
        8 | 127 => KeyCode::Backspace,
        _ => KeyCode::Char(char::from_u32(number).filter(|c| !c.is_control() && *c < '\u{e000}')?),
    })
}

/// A string of the terminal: `ESC P … ST`, `ESC ] … ST` or `BEL`, `ESC _ … ST`.
fn string(buffer: &[u8]) -> Step {
    let bel =
        if string_kind(buffer) == Some(b']') { buffer.iter().position(|&byte| byte == BEL) } else { None };
    let st = find(buffer, b"\x1b\\");
    let (end, length) = match (st, bel) {
        (Some(st), Some(bel)) if bel < st => (bel, bel + 1),
        (Some(st), _) => (st, st + 2),
        (None, Some(bel)) => (bel, bel + 1),
        (None, None) if buffer.len() > LONGEST_STRING => return Step::Token(buffer.len(), None),
        (None, None) => return Step::Unfinished,
    };
    let text = String::from_utf8_lossy(buffer.get(1..end).unwrap_or_default()).into_owned();
    Step::Token(length, Some(Token::Report(string_report(&text).unwrap_or(Report::Other))))
}

fn string_report(text: &str) -> Option<Report> {
    if let Some(name) = text.strip_prefix("P>|") {
        return Some(Report::Version(name.to_owned()));
    }
    if let Some(colour) = text.strip_prefix("]11;") {
        return parse_colour(colour).map(Report::Background);
    }
    let (keys, message) = text.strip_prefix("_G")?.split_once(';')?;
    let id = keys.split(',').find_map(|pair| pair.strip_prefix("i="))?.parse().ok()?;
    Some(Report::Kitty { id, ok: message == "OK" })
}

/// `rgb:RRRR/GGGG/BBBB` with one to four digits a channel (X11's form), or `rgba:`.
fn parse_colour(text: &str) -> Option<[u8; 3]> {
    let channels = text.strip_prefix("rgb:").or_else(|| text.strip_prefix("rgba:"))?;
    let mut values = channels.split('/').map(|digits| {
        let largest =
            16_u32.checked_pow(u32::try_from(digits.len()).ok()?)?.checked_sub(1).filter(|&n| n > 0)?;
        u8::try_from(u32::from_str_radix(digits, 16).ok()? * 255 / largest).ok()
    });
    Some([values.next()??, values.next()??, values.next()??])
}
