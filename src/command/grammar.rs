//! Where a line's parts are: prompt, switches, words. InvokeAI's rule, made safe.
//!
//! InvokeAI: a line that begins with `-` is all switches; one that begins with `"` is a quoted prompt and
//! switches; else the prompt is everything before the first thing that looks like a switch. Here a dash followed
//! by a space or a digit looks like none ("a well-known fox - close up, at -5 degrees"), nor does anything
//! between double quotes, and a word that looks like a switch and is none is an error, not a part of the prompt.

use std::ops::Range;

use crate::session::settings::parse_size;

/// Bytes of a line.
pub type Span = Range<usize>;

/// A word of the switch part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Where it stands, quotes included.
    pub span: Span,
    /// What it says, quotes and backslashes taken off.
    pub text: String,
    /// Whether it began with a quote: then it is no switch and no number.
    pub quoted: bool,
}

/// A prompt line, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// The prompt's bytes, quotes not included.
    pub prompt: Span,
    /// The prompt.
    pub text: String,
    /// Where the words after the prompt begin.
    pub words: usize,
}

/// A quote that is never closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclosed(pub Span);

/// Whether a word looks like a switch: one or two dashes and a letter.
pub fn is_switch(word: &str) -> bool {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Takes a prompt line apart.
pub fn parts(line: &str) -> Parts {
    let start = line.len() - line.trim_start().len();
    if let Some(parts) = quoted_prompt(line, start) {
        return parts;
    }
    let mut words = first_switch(line, start);
    let mut end = start + line[start..words].trim_end().len();
    // A size before the switches, or at the end of a line without any, belongs to them.
    while let Some(at) = last_word(&line[start..end]).map(|at| start + at) {
        if parse_size(&line[at..end]).is_none() {
            break;
        }
        words = at;
        end = start + line[start..at].trim_end().len();
    }
    Parts { prompt: start..end, text: line[start..end].to_owned(), words }
}

fn quoted_prompt(line: &str, start: usize) -> Option<Parts> {
    if !line[start..].starts_with('"') {
        return None;
    }
    let (word, after) = word(line, start).ok()?;
    let rest = line[after..].trim_start();
    let first = rest.split_whitespace().next().unwrap_or("");
    // `"hello" says the fox` is a prompt with quotes in it.
    let closed =
        first.is_empty() || is_switch(first) || first.starts_with('#') || parse_size(first).is_some();
    closed.then(|| Parts { prompt: start + 1..after - 1, text: word.text, words: after })
}

/// Where the first word that looks like a switch begins, or the end. What lies between a pair of `"` counts not.
fn first_switch(line: &str, start: usize) -> usize {
    let mut at = start;
    while at < line.len() {
        let rest = &line[at..];
        let word = rest.len() - rest.trim_start().len();
        if word > 0 {
            at += word;
        } else if is_switch(rest) {
            return at;
        } else {
            at += skip_word(rest);
        }
    }
    line.len()
}

/// Length of the word at the start of `rest`, where a closed pair of double quotes holds spaces together.
fn skip_word(rest: &str) -> usize {
    let mut at = 0;
    while let Some(c) = rest[at..].chars().next().filter(|c| !c.is_whitespace()) {
        at += c.len_utf8();
        if c == '"'
            && let Some(close) = rest[at..].find('"')
        {
            at += close + 1;
        }
    }
    at
}

fn last_word(text: &str) -> Option<usize> {
    let text = text.trim_end();
    let word = text.rsplit(char::is_whitespace).next().filter(|word| !word.is_empty())?;
    Some(text.len() - word.len())
}

/// The words from `at` to the end or to a `#` that begins a word, and the quote that is not closed, if any.
pub fn words(line: &str, at: usize) -> (Vec<Word>, Option<Unclosed>) {
    split(line, at, true)
}

/// The same where `#12` is a picture and no comment: after a slash command.
pub fn plain_words(line: &str, at: usize) -> (Vec<Word>, Option<Unclosed>) {
    split(line, at, false)
}

fn split(line: &str, mut at: usize, comments: bool) -> (Vec<Word>, Option<Unclosed>) {
    let mut words = Vec::new();
    loop {
        at += line[at..].len() - line[at..].trim_start().len();
        if at == line.len() || comments && line[at..].starts_with('#') {
            return (words, None);
        }
        match word(line, at) {
            Ok((word, after)) => {
                words.push(word);
                at = after;
            }
            Err(unclosed) => return (words, Some(unclosed)),
        }
    }
}

/// One word at `start`, and where it ends. Quotes hold it together where they begin it or follow an `=`;
/// elsewhere an apostrophe is an apostrophe. A backslash makes the next space, quote or backslash plain.
fn word(line: &str, start: usize) -> Result<(Word, usize), Unclosed> {
    let mut text = String::new();
    let mut open: Option<(char, usize)> = None;
    let mut chars = line[start..].char_indices().map(|(i, c)| (start + i, c)).peekable();
    let mut end = line.len();
    let mut quoted = false;
    while let Some((at, c)) = chars.next() {
        match (c, open) {
            ('\\', _) if chars.peek().is_some_and(|&(_, next)| escapes(next, open)) => {
                text.extend(chars.next().map(|(_, c)| c));
            }
            (c, Some((quote, _))) if c == quote => {
                open = None;
                // A closed quote ends the word, so that `"a"b` is not read as one.
                end = at + c.len_utf8();
                break;
            }
            ('"' | '\'', None) if at == start || text.ends_with('=') => {
                open = Some((c, at));
                quoted = quoted || at == start;
            }
            (c, None) if c.is_whitespace() => {
                end = at;
                break;
            }
            _ => text.push(c),
        }
    }
    match open {
        Some((_, at)) => Err(Unclosed(at..line.len())),
        None => Ok((Word { span: start..end, text, quoted }, end)),
    }
}

fn escapes(next: char, open: Option<(char, usize)>) -> bool {
    match open {
        Some((quote, _)) => next == quote || next == '\\',
        None => next.is_whitespace() || matches!(next, '"' | '\'' | '\\'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(line: &str) -> (String, &str) {
        let parts = parts(line);
        (parts.text, &line[parts.words..])
    }

    #[test]
    fn prompts_end_where_switches_begin() {
        let cases = [
            ("a red fox", "a red fox", ""),
            ("a red fox -s 20", "a red fox", "-s 20"),
            ("a well-known fox - close up", "a well-known fox - close up", ""),
            ("a fox -- at -5 degrees --steps 4", "a fox -- at -5 degrees", "--steps 4"),
            ("a sign \"-s 20\" here -s 4", "a sign \"-s 20\" here", "-s 4"),
            ("5\" nails -s 4", "5\" nails", "-s 4"),
            ("\"a fox -s 4\" -s 20", "a fox -s 4", " -s 20"),
            ("\"a \\\"big\\\" fox\" # note", "a \"big\" fox", " # note"),
            ("\"hello\" says the fox -s 4", "\"hello\" says the fox", "-s 4"),
            ("a red fox 768x512", "a red fox", "768x512"),
            ("a red fox 768x512 -s 4", "a red fox", "768x512 -s 4"),
            ("a 24x36 poster of 2x4", "a 24x36 poster of 2x4", ""),
            ("-s 20", "", "-s 20"),
            ("768x512", "", "768x512"),
            ("", "", ""),
            ("a fox\n-s 20", "a fox", "-s 20"),
            ("ein Füchschen 🦊 -s 20", "ein Füchschen 🦊", "-s 20"),
        ];
        for (line, text, rest) in cases {
            assert_eq!(prompt(line), (text.to_owned(), rest), "{line}");
        }
    }

    #[test]
    fn words_quotes_and_comments() {
        let line = r#"-n "blurry, \"ugly\"" -I a\ b.png --neg='x y' don't # rest"#;
        let (words, unclosed) = words(line, 0);
        assert_eq!(unclosed, None);
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["-n", "blurry, \"ugly\"", "-I", "a b.png", "--neg=x y", "don't"]);
        assert_eq!(words.iter().map(|word| word.quoted).collect::<Vec<_>>()[..2], [false, true]);
        assert_eq!(super::words("-n \"blur", 0).1, Some(Unclosed(3..8)));
    }
}
