//! What to colour in a line while it is being typed.

use super::grammar::{self, Span, Word};
use super::line::{self, Line};
use super::switches;
use super::table;
use crate::session::settings::{self, Kind, SETTINGS};

/// What a piece of a line is. Text that has no token is plain prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A switch: `--steps`, `-s`.
    Flag,
    /// A switch's value, a bare size.
    Value,
    /// A weighted part of the prompt: `(fox:1.3)`, `(fox)`, `[fox]`.
    Weight,
    /// A choice: `{red|blue}`, `{2$$a|b|c}`.
    Choice,
    /// A wildcard: `__colour__`.
    Wildcard,
    /// A picture: `$`, `$12`, `$@name`.
    Reference,
    /// `+`, `-`, `s/dog/fox/` at the start.
    Edit,
    /// A slash command.
    Command,
    /// A slash command's arguments.
    Argument,
    /// A comment.
    Comment,
    /// Something that will not be understood.
    Error,
}

/// The pieces of a line, in order, without overlap. Unlike [`super::parse`] it forgives what is still being typed:
/// a switch that is begun, a value that is missing, a quote that is open.
pub fn lex(text: &str) -> Vec<(Span, TokenKind)> {
    let start = text.len() - text.trim_start().len();
    let rest = &text[start..];
    let mut tokens = Vec::new();
    if rest.starts_with('#') || rest.starts_with("//") {
        tokens.push((start..text.len(), TokenKind::Comment));
    } else if let Some(name) = line::command_name(rest) {
        let end = start + 1 + name.len();
        tokens.push((start..end, TokenKind::Command));
        arguments(text, end, &mut tokens);
    } else if let Ok(Some((_, at))) = line::edit(text, start) {
        let sign = if rest.starts_with("s/") { at } else { start + 1 };
        tokens.push((start..sign, TokenKind::Edit));
        prompt(text, sign..at, &mut tokens);
        switch_words(text, at, &mut tokens);
    } else {
        let parts = grammar::parts(text);
        prompt(text, parts.prompt.clone(), &mut tokens);
        switch_words(text, parts.words, &mut tokens);
    }
    if let Line::ParseError(error) = line::parse(text)
        && !still_typing(text, &error.span)
    {
        mark(&mut tokens, error.span);
    }
    tokens
}

/// Whether what is wrong ends where the line ends and may yet become right.
fn still_typing(text: &str, span: &Span) -> bool {
    let wrong = &text[span.clone()];
    if let Some(name) = wrong.strip_prefix('/')
        && span.end == text.len()
        && table::names().any(|(command, _)| command.starts_with(name))
    {
        return true;
    }
    // A known switch that waits for its value.
    if switches::resolve(wrong, None).is_some() && text[span.end..].trim().is_empty() {
        return true;
    }
    let mut names = SETTINGS.iter().flat_map(|s| std::iter::once(&s.name).chain(s.aliases));
    let begun = |typed: &str| names.any(|name| name.starts_with(typed));
    span.end == text.len()
        && (wrong.starts_with(['"', '\''])
            || wrong.strip_prefix("--").is_some_and(begun)
            || text.trim_start() == wrong && (wrong.starts_with("s/") || matches!(wrong, "+" | "-"))
            || wrong.ends_with([',', '.', ':']))
}

/// Lays an error over the tokens.
fn mark(tokens: &mut Vec<(Span, TokenKind)>, error: Span) {
    tokens.retain(|(span, _)| span.end <= error.start || span.start >= error.end);
    let at = tokens.partition_point(|(span, _)| span.start < error.start);
    tokens.insert(at, (error, TokenKind::Error));
}

fn arguments(text: &str, at: usize, tokens: &mut Vec<(Span, TokenKind)>) {
    let (words, unclosed) = grammar::plain_words(text, at);
    for Word { span, text, quoted } in words {
        let kind = match () {
            () if quoted => TokenKind::Argument,
            () if text.starts_with(['$', '#']) => TokenKind::Reference,
            () if grammar::is_switch(&text) => TokenKind::Flag,
            () => TokenKind::Argument,
        };
        tokens.push((span, kind));
    }
    tokens.extend(unclosed.map(|quote| (quote.0, TokenKind::Argument)));
}

fn switch_words(text: &str, at: usize, tokens: &mut Vec<(Span, TokenKind)>) {
    let (words, unclosed) = grammar::words(text, at);
    let mut wants_value = false;
    for (i, word) in words.iter().enumerate() {
        let kind = if !word.quoted && grammar::is_switch(&word.text) {
            let found = switches::resolve(&word.text, words.get(i + 1));
            wants_value = found.is_some_and(|found| {
                found.attached.is_none() && !matches!(found.setting.kind, Kind::Flag(_))
            });
            TokenKind::Flag
        } else if !word.quoted && word.text.starts_with('$') {
            TokenKind::Reference
        } else if wants_value || settings::parse_size(&word.text).is_some() {
            TokenKind::Value
        } else {
            continue;
        };
        tokens.push((word.span.clone(), kind));
    }
    if let Some(quote) = unclosed {
        tokens.push((quote.0, TokenKind::Value));
        return;
    }
    let end = words.last().map_or(at, |word| word.span.end);
    let comment = text.len() - text[end..].trim_start().len();
    if comment < text.len() {
        tokens.push((comment..text.len(), TokenKind::Comment));
    }
}

/// Weights, choices and wildcards of a prompt.
fn prompt(text: &str, span: Span, tokens: &mut Vec<(Span, TokenKind)>) {
    let mut at = span.start;
    while let Some(c) = text[at..span.end].chars().next() {
        let rest = &text[at..span.end];
        let found = match c {
            '\\' => {
                at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                continue;
            }
            '(' => closing(rest, '(', ')').map(|end| (end, TokenKind::Weight)),
            '[' => closing(rest, '[', ']').map(|end| (end, TokenKind::Weight)),
            '{' => closing(rest, '{', '}').map(|end| (end, TokenKind::Choice)),
            '_' => wildcard(rest).map(|end| (end, TokenKind::Wildcard)),
            _ => None,
        };
        match found {
            Some((end, kind)) => {
                tokens.push((at..at + end, kind));
                at += end;
            }
            None => at += c.len_utf8(),
        }
    }
}

/// Length of the bracket group that `text` begins with.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == open => depth += 1,
            c if c == close => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + c.len_utf8());
        }
    }
    None
}

/// Length of the `__name__` that `text` begins with.
fn wildcard(text: &str) -> Option<usize> {
    let name = text.strip_prefix("__")?;
    let end = name.find("__")?;
    let good = |c: char| c.is_alphanumeric() || "-_/.".contains(c);
    (end > 0 && name[..end].chars().all(good)).then_some(end + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(line: &str) -> Vec<(&str, TokenKind)> {
        lex(line).into_iter().map(|(span, kind)| (&line[span], kind)).collect()
    }

    #[test]
    fn everything_has_its_colour() {
        use TokenKind::*;
        assert_eq!(
            kinds("a (red:1.3) {dog|fox} in __place__ -s 20 -n \"x y\" -I $12 768x512 # note"),
            [
                ("(red:1.3)", Weight),
                ("{dog|fox}", Choice),
                ("__place__", Wildcard),
                ("-s", Flag),
                ("20", Value),
                ("-n", Flag),
                ("\"x y\"", Value),
                ("-I", Flag),
                ("$12", Reference),
                ("768x512", Value),
                ("# note", Comment),
            ]
        );
        assert_eq!(
            kinds("/rerun $5 -s 40"),
            [("/rerun", Command), ("$5", Reference), ("-s", Flag), ("40", Argument),]
        );
        assert_eq!(kinds("+ rain -s 40"), [("+", Edit), ("-s", Flag), ("40", Value)]);
        assert_eq!(kinds("s/dog/fox/ -s 40"), [("s/dog/fox/", Edit), ("-s", Flag), ("40", Value)]);
        assert_eq!(kinds("a fox --stesp 20"), [("--stesp", Error)]);
        assert_eq!(kinds("a fox -s many -C 7"), [("-s", Flag), ("many", Error), ("-C", Flag), ("7", Value)]);
        assert_eq!(kinds("a \\(fox\\)"), []);
    }

    #[test]
    fn what_is_still_being_typed_is_no_error() {
        use TokenKind::*;
        assert_eq!(kinds("a fox --ste"), [("--ste", Flag)]);
        assert_eq!(kinds("a fox --steps"), [("--steps", Flag)]);
        assert_eq!(kinds("a fox -n \"blurry, "), [("-n", Flag), ("\"blurry, ", Value)]);
        assert_eq!(kinds("a fox --cfg 5,"), [("--cfg", Flag), ("5,", Value)]);
        assert_eq!(kinds("a fox --steps "), [("--steps", Flag)]);
        assert_eq!(kinds("a fox --ste "), [("--ste", Error)]);
        assert_eq!(kinds("a fox -s 20 s/"), [("-s", Flag), ("20", Value), ("s/", Error)]);
        assert_eq!(kinds("s/dog"), []);
        assert_eq!(kinds("/gal"), [("/gal", Command)]);
        assert_eq!(kinds("/gax"), [("/gax", Error)]);
    }
}
