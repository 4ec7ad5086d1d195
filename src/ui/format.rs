//! How numbers and texts are written, everywhere the same: bytes, seconds, rates, clipped lines, paths.

use std::borrow::Cow;
use std::path::Path;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

const KIB: f64 = 1024.0;

/// `640 KiB`, `12 MiB`, `9.4 GiB`.
pub fn bytes(bytes: u64) -> String {
    let mib = bytes as f64 / KIB / KIB;
    if mib < 1.0 {
        format!("{:.0} KiB", bytes as f64 / KIB)
    } else if mib < 1000.0 {
        format!("{mib:.0} MiB")
    } else {
        format!("{:.1} GiB", mib / KIB)
    }
}

/// `9.4/16.0 GiB`, `60/512 MiB`, `412 MiB/23.5 GiB`: a part and its whole, in one unit where neither becomes nothing.
pub fn bytes_of(part: u64, whole: u64) -> String {
    let (part, whole) = (bytes(part), bytes(whole));
    match (part.split_once(' '), whole.split_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same => format!("{number}/{whole}"),
        // Nothing has no unit.
        (Some(("0", _)), _) => format!("0/{whole}"),
        _ => format!("{part}/{whole}"),
    }
}

/// `80 ms`, `6.2 s`, `42 s`, `1 m 32 s`, `2 h 5 m`.
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    if seconds < 0.0995 {
        format!("{:.0} ms", seconds.max(0.0) * 1000.0)
    } else if seconds < 9.95 {
        format!("{seconds:.1} s")
    } else if whole < 60 {
        format!("{whole} s")
    } else if whole < 3600 {
        format!("{} m {} s", whole / 60, whole % 60)
    } else {
        format!("{} h {} m", whole / 3600, whole % 3600 / 60)
    }
}

/// `3.4 it/s`, or `2.1 s/it` where that is the larger number.
pub fn rate(seconds_per_step: f64) -> String {
    if seconds_per_step <= 1.0 {
        format!("{:.1} it/s", 1.0 / seconds_per_step.max(1e-6))
    } else {
        format!("{seconds_per_step:.1} s/it")
    }
}

/// A number without a needless fraction: `7`, `7.5`.
pub fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// One line without control characters: line breaks become `⏎`.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let clean = text.replace("\r\n", "\n").replace(['\n', '\r'], "⏎").replace('\t', " ");
    Cow::Owned(clean.chars().filter(|c| !c.is_control()).collect())
}

/// Text of at most `width` cells; what is cut ends in `…`.
pub fn clip(text: &str, width: usize) -> Cow<'_, str> {
    let text = one_line(text);
    if text.width() <= width {
        return text;
    }
    let mut clipped = String::new();
    let mut used = 0;
    for grapheme in text.graphemes(true) {
        if used + grapheme.width() + 1 > width {
            break;
        }
        used += grapheme.width();
        clipped.push_str(grapheme);
    }
    if width > 0 {
        clipped.push('…');
    }
    Cow::Owned(clipped)
}

/// A path with `~` for the home folder.
pub fn path(path: &Path, home: Option<&Path>) -> String {
    match home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// A path of at most `width` cells: the middle is cut, the file's name stays if it fits, else its end.
pub fn clip_path(text: &str, width: usize) -> Cow<'_, str> {
    if text.width() <= width || width < 8 {
        return clip(text, width);
    }
    let name = text.rfind('/').map_or(0, |at| text[at..].width());
    let tail_width = if name < width { name.max((width - 1) / 3) } else { (width - 1) / 3 };
    let mut tail: Vec<&str> = Vec::new();
    let mut used = 0;
    for grapheme in text.graphemes(true).rev() {
        if used + grapheme.width() > tail_width {
            break;
        }
        used += grapheme.width();
        tail.push(grapheme);
    }
    tail.reverse();
    let head = clip(text, width - used);
    Cow::Owned(head.into_owned() + &tail.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let mib = 1 << 20;
        assert_eq!(
            [bytes(0), bytes(650_000), bytes(12 * mib), bytes(9_663_676_416)],
            ["0 KiB", "635 KiB", "12 MiB", "9.0 GiB"]
        );
        assert_eq!(bytes(1023 * mib), "1.0 GiB");
        assert_eq!(bytes_of(9_663_676_416, 16384 * mib), "9.0/16.0 GiB");
        assert_eq!(bytes_of(41 * mib, 4096 * mib), "41 MiB/4.0 GiB");
        assert_eq!(bytes_of(0, 4096 * mib), "0/4.0 GiB");
        assert_eq!(bytes_of(60 * mib, 512 * mib), "60/512 MiB");
        let times = [0.0, 0.08, 0.0999, 6.24, 9.96, 59.4, 59.6, 92.0, 7500.0].map(seconds);
        assert_eq!(
            times,
            ["0 ms", "80 ms", "0.1 s", "6.2 s", "10 s", "59 s", "1 m 0 s", "1 m 32 s", "2 h 5 m"]
        );
        assert_eq!([rate(0.29), rate(1.0), rate(2.14)], ["3.4 it/s", "1.0 it/s", "2.1 s/it"]);
        assert_eq!([number(7.0), number(7.5), number(0.75), number(100.0)], ["7", "7.5", "0.75", "100"]);
    }

    #[test]
    fn clipping_counts_cells_and_keeps_graphemes_whole() {
        assert_eq!(clip("a red fox", 9), "a red fox");
        assert_eq!(clip("a red fox", 8), "a red f…");
        assert_eq!(clip("狐狸在雪地里", 7), "狐狸在…");
        assert_eq!(clip("狐狸在雪地里", 6), "狐狸…");
        assert_eq!(clip("👩‍👩‍👧 family", 4), "👩‍👩‍👧 …");
        assert_eq!(clip("anything", 0), "");
        assert_eq!(clip("two\nlines\tand \x1b[31mred", 30), "two⏎lines and [31mred");
    }

    #[test]
    fn paths() {
        let home = Path::new("/home/ada");
        assert_eq!(path(Path::new("/home/ada/Pictures/a.png"), Some(home)), "~/Pictures/a.png");
        assert_eq!(path(Path::new("/srv/a.png"), Some(home)), "/srv/a.png");
        assert_eq!(clip_path("~/Pictures/tintype/2026-08-17-0012.png", 24), "~/P…/2026-08-17-0012.png");
        assert_eq!(clip_path("~/Pictures/tintype/2026-08-17-0012.png", 18), "~/Pictures/t…2.png");
        assert_eq!(clip_path("~/Pictures/tintype/12.png", 18), "~/Pictures…/12.png");
        assert_eq!(clip_path("~/Pictures/a.png", 24), "~/Pictures/a.png");
    }
}
