//! Keys back into the bytes that a terminal would have sent: what rustyline reads from its pty.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The bytes of a key; empty for one that a line editor has no use for.
///
/// A lone `ESC` is empty too: rustyline would wait for the key after it.
pub fn encode_key(key: &KeyEvent) -> Vec<u8> {
    let modifiers = key.modifiers;
    match key.code {
        KeyCode::Char(c) => character(c, modifiers),
        // Shift-Enter comes from terminals that can tell it apart; both mean a new line.
        KeyCode::Enter if modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SHIFT) => b"\x1b\r".to_vec(),
        KeyCode::Enter => b"\r".to_vec(),
        KeyCode::Tab => b"\t".to_vec(),
        KeyCode::BackTab => b"\x1b[Z".to_vec(),
        KeyCode::Backspace if modifiers.contains(KeyModifiers::ALT) => b"\x1b\x7f".to_vec(),
        KeyCode::Backspace => b"\x7f".to_vec(),
        KeyCode::Up => cursor('A', modifiers),
        KeyCode::Down => cursor('B', modifiers),
        KeyCode::Right => cursor('C', modifiers),
        KeyCode::Left => cursor('D', modifiers),
        KeyCode::Home => cursor('H', modifiers),
        KeyCode::End => cursor('F', modifiers),
        KeyCode::Insert => numbered(2, modifiers),
        KeyCode::Delete => numbered(3, modifiers),
        KeyCode::PageUp => numbered(5, modifiers),
        KeyCode::PageDown => numbered(6, modifiers),
        _ => Vec::new(),
    }
}

/// The bytes of a bracketed paste. An end mark inside the text would end it early, so it is taken out.
pub fn encode_paste(text: &str) -> Vec<u8> {
    format!("\x1b[200~{}\x1b[201~", text.replace("\x1b[201~", "")).into_bytes()
}

fn character(c: char, modifiers: KeyModifiers) -> Vec<u8> {
    let mut bytes = Vec::new();
    if modifiers.contains(KeyModifiers::ALT) {
        bytes.push(0x1b);
    }
    if modifiers.contains(KeyModifiers::CONTROL) {
        let byte = match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '[' | '\\' | ']' | '^' | '_') => c as u8 & 0x1f,
            ' ' | '@' | '2' => 0,
            '3' => 0x1b,
            '4' => 0x1c,
            '5' => 0x1d,
            '6' => 0x1e,
            '7' | '/' | '-' => 0x1f,
            '8' | '?' => 0x7f,
            _ => return Vec::new(),
        };
        bytes.push(byte);
    } else {
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if bytes == [0x1b] { Vec::new() } else { bytes }
}

/// xterm's modifier parameter, of the modifiers that rustyline knows.
fn parameter(modifiers: KeyModifiers) -> u8 {
    1 + u8::from(modifiers.contains(KeyModifiers::SHIFT))
        + 2 * u8::from(modifiers.contains(KeyModifiers::ALT))
        + 4 * u8::from(modifiers.contains(KeyModifiers::CONTROL))
}

fn cursor(last: char, modifiers: KeyModifiers) -> Vec<u8> {
    match parameter(modifiers) {
        1 => format!("\x1b[{last}").into_bytes(),
        n => format!("\x1b[1;{n}{last}").into_bytes(),
    }
}

fn numbered(number: u8, modifiers: KeyModifiers) -> Vec<u8> {
    match parameter(modifiers) {
        1 => format!("\x1b[{number}~").into_bytes(),
        n => format!("\x1b[{number};{n}~").into_bytes(),
    }
}
