//! Whether a stream stands inside a synchronized update.

const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";

/// Follows the marks, also where a read cuts one in two.
#[derive(Default)]
pub(super) struct Updating {
    open: bool,
    /// What the last bytes have matched of a mark, its last byte aside.
    matched: usize,
}

impl Updating {
    /// Bytes that go by.
    pub fn see(&mut self, bytes: &[u8]) {
        let common = BEGIN.len() - 1;
        for byte in bytes {
            if self.matched == common && (*byte == b'h' || *byte == b'l') {
                self.open = BEGIN.ends_with(&[*byte]);
                self.matched = 0;
            } else if self.matched < common && *byte == BEGIN[self.matched] {
                self.matched += 1;
            } else {
                self.matched = usize::from(*byte == BEGIN[0]);
            }
        }
        debug_assert_eq!(BEGIN[..common], END[..common]);
    }

    /// An update has begun and not ended.
    pub fn is_open(&self) -> bool {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_seen_wherever_a_read_cuts_them() {
        let stream = b"a\x1b[?2026hb\x1b[K\x1b\x1b[?2026lc\x1b[?2004h";
        let opened = 1 + BEGIN.len();
        let closed = stream.len() - 1 - b"\x1b[?2004h".len();
        for cut in 0..=stream.len() {
            let mut updating = Updating::default();
            updating.see(&stream[..cut]);
            assert_eq!(updating.is_open(), (opened..closed).contains(&cut), "after {cut} bytes");
            updating.see(&stream[cut..]);
            assert!(!updating.is_open(), "cut at {cut}");
        }
    }
}
