//! What a whole line is.

use std::fmt;

use unicode_width::UnicodeWidthStr;

use super::grammar::{self, Span};
use super::switches::{self, Typed};
use super::table::{self, Found};
use crate::session::derive::{Derivation, Edit};

/// A line, understood.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// Nothing, or a comment (`# …`, `// …`).
    Empty,
    /// A prompt with its switches.
    Prompt(Typed),
    /// A change of the last picture.
    Derive(Derivation),
    /// A slash command.
    Command(CommandLine),
    /// Not understood.
    ParseError(ParseError),
}

/// A slash command, its arguments not read yet.
#[derive(Clone)]
pub struct CommandLine {
    /// The command, or the setting that it sets.
    pub found: Found,
    /// Where its arguments are.
    pub args: Span,
}

impl CommandLine {
    /// The command's name, or the setting's.
    pub fn name(&self) -> &'static str {
        self.found.setting.map_or(self.found.command.name, |setting| setting.name)
    }
}

impl PartialEq for CommandLine {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.args == other.args
    }
}

impl fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{} {:?}", self.name(), self.args)
    }
}

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// The place.
    pub span: Span,
    /// One line that says what to type instead.
    pub message: String,
    /// The nearest right word.
    pub did_you_mean: Option<String>,
}

impl ParseError {
    /// An error at a place.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), did_you_mean: None }
    }

    /// The message, the line and a mark under the place: three lines of text.
    pub fn render(&self, line: &str) -> String {
        // The mark lies under one row, so the row with the place is shown and no other.
        let start = line[..self.span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = line[self.span.start..].find('\n').map_or(line.len(), |at| self.span.start + at);
        let before = line[start..self.span.start].width();
        let marked = line[self.span.start..self.span.end.clamp(self.span.start, end)].width().max(1);
        let hint =
            self.did_you_mean.as_ref().map(|word| format!(" did you mean {word}?")).unwrap_or_default();
        let row = &line[start..end];
        format!("{}\n  {row}\n  {:before$}{}{hint}", self.message, "", "^".repeat(marked))
    }
}

/// Reads a line.
pub fn parse(line: &str) -> Line {
    match parse_line(line) {
        Ok(line) => line,
        Err(error) => Line::ParseError(error),
    }
}

fn parse_line(line: &str) -> Result<Line, ParseError> {
    let start = line.len() - line.trim_start().len();
    let text = &line[start..];
    if text.is_empty() || text.starts_with('#') || text.starts_with("//") {
        return Ok(Line::Empty);
    }
    if let Some(name) = command_name(text) {
        let end = start + 1 + name.len();
        let found = table::find(name).ok_or_else(|| unknown_command(name, start..end))?;
        return Ok(Line::Command(CommandLine { found, args: end..line.len() }));
    }
    if let (true, Some(found)) = (LEAVE.contains(&text.trim_end()), table::find("quit")) {
        return Ok(Line::Command(CommandLine { found, args: line.len()..line.len() }));
    }
    if let Some((edit, at)) = edit(line, start)? {
        let typed = switches::parse_at(line, at)?;
        return Ok(Line::Derive(Derivation { edit: Some(edit), typed }));
    }
    let parts = grammar::parts(line);
    let mut typed = switches::parse_at(line, parts.words)?;
    if parts.text.trim().is_empty() {
        return Ok(Line::Derive(Derivation { edit: None, typed }));
    }
    typed.request.prompt = parts.text;
    Ok(Line::Prompt(typed))
}

/// Lines that nobody wants to see painted.
const LEAVE: [&str; 3] = ["quit", "exit", "q"];

fn unknown_command(name: &str, span: Span) -> ParseError {
    let message = if name.is_empty() {
        "type a command after the slash; /help lists them".to_owned()
    } else {
        format!("there is no command /{name}; /help lists them")
    };
    let did_you_mean = table::suggest(name).map(|name| format!("/{name}"));
    ParseError { span, message, did_you_mean }
}

/// The name of the command that a line is: `/help`, and `!history` as InvokeAI has it.
pub(super) fn command_name(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('/').or_else(|| text.strip_prefix('!'))?;
    let name =
        rest.split_whitespace().next().filter(|_| !rest.starts_with(char::is_whitespace)).unwrap_or("");
    let command = text.starts_with('/') || name.starts_with(|c: char| c.is_ascii_alphabetic());
    command.then_some(name)
}

/// The change of a prompt that a line begins with, and where its switches begin.
pub(super) fn edit(line: &str, start: usize) -> Result<Option<(Edit, usize)>, ParseError> {
    let text = &line[start..];
    let sign = text.chars().next().filter(|c| matches!(c, '+' | '-'));
    if let Some(sign) = sign {
        let spaced = text[1..].starts_with(char::is_whitespace) || text.len() == 1;
        if sign == '-' && !spaced {
            return Ok(None);
        }
        let parts = grammar::parts(&line[start + 1..]);
        if parts.text.is_empty() {
            let words = if sign == '+' { "add" } else { "take out" };
            return Err(ParseError::new(
                start..start + 1,
                format!("type the words to {words} after `{sign}`"),
            ));
        }
        let edit = if sign == '+' { Edit::Add(parts.text) } else { Edit::Remove(parts.text) };
        return Ok(Some((edit, start + 1 + parts.words)));
    }
    if text.starts_with("s/") { replacement(line, start).map(Some) } else { Ok(None) }
}

/// `s/from/to/` or `s/from/to/g`, the last slash optional at the end of the line; `\/` is a plain slash.
fn replacement(line: &str, start: usize) -> Result<(Edit, usize), ParseError> {
    let mut fields = [String::new(), String::new()];
    let mut field = 0;
    let mut at = start + 2;
    let mut chars = line[at..].chars().peekable();
    while let Some(c) = chars.next() {
        at += c.len_utf8();
        match c {
            '\\' if chars.peek() == Some(&'/') => {
                chars.next();
                at += 1;
                fields[field].push('/');
            }
            '/' => field += 1,
            c => fields[field].push(c),
        }
        if field == 2 {
            break;
        }
    }
    let [from, to] = fields;
    if field == 0 || from.is_empty() {
        return Err(ParseError::new(start..line.len(), "type a replacement as s/old words/new words/"));
    }
    let flags = if field == 2 { line[at..].split_whitespace().next().unwrap_or("") } else { "" };
    let all = line[at..].starts_with('g') && flags == "g";
    let at = if all { at + 1 } else { at };
    if !line[at..].is_empty() && !line[at..].starts_with(char::is_whitespace) {
        let message = "after s/old/new/ only a `g` (every place) and switches can follow";
        return Err(ParseError::new(at..line.len(), message));
    }
    Ok((Edit::Replace { from, to, all }, at))
}

/// The word of `words` that `typed` most likely means: one it begins, or one that few letters away.
pub(super) fn nearest<'a>(typed: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let distance = |word: &str| {
        if typed.chars().count() >= 3 && word.starts_with(&typed) {
            // A word that was begun beats one that is misspelt; the shortest of those first.
            return Some((0, word.len()));
        }
        let letters = strsim::damerau_levenshtein(&typed, word);
        (letters <= (typed.chars().count().max(word.len()) + 1) / 3).then_some((letters, word.len()))
    };
    words.into_iter().filter_map(|word| Some((distance(word)?, word))).min().map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive(line: &str) -> Derivation {
        match parse(line) {
            Line::Derive(derivation) => derivation,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn lines_are_what_they_look_like() {
        assert_eq!(parse("  "), Line::Empty);
        assert_eq!(parse("# a note"), Line::Empty);
        assert_eq!(parse("// a note"), Line::Empty);
        let command = |line: &str| match parse(line) {
            Line::Command(command) => format!("{command:?}"),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(command("/set width 768"), "/set 4..14");
        assert_eq!(command(" /cfg 7"), "/guidance-scale 5..7");
        assert_eq!(command("!history"), "/history 8..8");
        assert_eq!(command("quit"), "/quit 4..4");
        let Line::ParseError(error) = parse("/histroy all") else { panic!() };
        assert_eq!((error.span, error.did_you_mean.as_deref()), (0..8, Some("/history")));
        assert!(matches!(parse("! what a fox"), Line::Prompt(_)));
        assert!(matches!(parse("a fox /set"), Line::Prompt(_)));
        let Line::Prompt(typed) = parse("a well-known fox - close up -s 20") else { panic!() };
        assert_eq!(typed.request.prompt, "a well-known fox - close up");
        assert_eq!(typed.request.steps, Some(20));
        assert!(matches!(parse("a fox --stesp 20"), Line::ParseError(error) if error.span == (6..13)));
    }

    #[test]
    fn changes_of_the_last_picture() {
        assert_eq!(derive("+ rain, at night -s 40").edit, Some(Edit::Add("rain, at night".into())));
        assert_eq!(derive("+ rain -s 40").typed.request.steps, Some(40));
        assert_eq!(derive("- hat").edit, Some(Edit::Remove("hat".into())));
        let replace = |all| Some(Edit::Replace { from: "dog".into(), to: "fox".into(), all });
        assert_eq!(derive("s/dog/fox/").edit, replace(false));
        assert_eq!(derive("s/dog/fox").edit, replace(false));
        assert_eq!(derive("s/dog/fox/g -C 6").edit, replace(true));
        assert_eq!(derive("s/dog/fox/g -C 6").typed.request.guidance_scale, Some(6.0));
        assert_eq!(
            derive("s/a\\/b/c d/").edit,
            Some(Edit::Replace { from: "a/b".into(), to: "c d".into(), all: false })
        );
        assert_eq!(derive("-C 6").edit, None);
        assert_eq!(derive("768x512").typed.request.width, Some(768));
        for wrong in ["+", "- ", "s/", "s/dog", "s//fox/", "s/dog/fox/x"] {
            assert!(matches!(parse(wrong), Line::ParseError(_)), "{wrong}");
        }
    }

    #[test]
    fn errors_mark_the_place() {
        let line = "a 狐 fox\nin snow --stesp 20";
        let Line::ParseError(error) = parse(line) else { panic!() };
        insta::assert_snapshot!(error.render(line), @r#"
        there is no switch --stesp; if it belongs to the prompt, put the prompt in "quotes"
          in snow --stesp 20
                  ^^^^^^^ did you mean --steps?
        "#);
    }
}
