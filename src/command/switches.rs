//! Switches: `-s 20 --cfg 7 768x512` fill a request. One parser for the prompt line and for `tintype generate`.
//!
//! The table is [`settings::SETTINGS`]; nothing here knows a single switch by name.

use crate::command::grammar::{self, Span, Word};
use crate::command::line::{ParseError, nearest};
use crate::session::settings::{self, Kind, SETTINGS, Setting};
pub use crate::session::sweep::Typed;
use crate::session::sweep::{self, Axis};

/// Arguments that could not be understood: the line that they make, and where in it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", error.render(line))]
pub struct ArgvError {
    /// The arguments as one line, quoted as a shell would want them.
    pub line: String,
    /// What is wrong, with a place in `line`.
    pub error: ParseError,
}

/// Reads the switches of `line` from byte `at`; words that are neither switch nor value are errors, but for a
/// bare size.
///
/// # Errors
/// The first thing that cannot be understood.
pub fn parse_at(line: &str, at: usize) -> Result<Typed, ParseError> {
    let (words, unclosed) = grammar::words(line, at);
    let mut parser = Parser::new(&words, true);
    let stray = parser.run();
    match (stray, unclosed) {
        (_, Some(quote)) => {
            Err(ParseError::new(quote.0, "this quote is not closed; type another one at its end"))
        }
        (Err(error), None) => Err(error),
        (Ok(stray), None) => match stray.first() {
            Some(word) => Err(ParseError::new(
                word.span.start..stray.last().map_or(word.span.end, |last| last.span.end),
                "these words follow the switches; the prompt comes first, and values of several words go in quotes",
            )),
            None => Ok(parser.typed),
        },
    }
}

/// Reads command-line arguments: words that are no switches and no values are the prompt, wherever they stand.
///
/// # Errors
/// The first thing that cannot be understood.
pub fn parse_argv<S: AsRef<str>>(args: &[S]) -> Result<Typed, ArgvError> {
    let mut line = String::new();
    let mut words = Vec::new();
    for arg in args {
        let text = arg.as_ref();
        if !line.is_empty() {
            line.push(' ');
        }
        let start = line.len();
        line.push_str(&shell_quoted(text));
        // A shell took the quotes off: an argument with spaces in it had some, and is no switch.
        let quoted = text.contains(char::is_whitespace) && !text.starts_with("--");
        words.push(Word { span: start..line.len(), text: text.to_owned(), quoted });
    }
    let mut parser = Parser::new(&words, false);
    match parser.run() {
        Ok(prompt) => {
            let texts: Vec<_> = prompt.iter().map(|word| word.text.as_str()).collect();
            parser.typed.request.prompt = texts.join(" ");
            Ok(parser.typed)
        }
        Err(error) => Err(ArgvError { line, error }),
    }
}

fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=./:,+@%×".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { quoted(text) }
}

struct Parser<'a> {
    words: &'a [Word],
    next: usize,
    /// Whether text values run on to the next switch, as they may on a line where no prompt can follow.
    greedy: bool,
    typed: Typed,
    given: Vec<(&'static str, Span)>,
}

impl<'a> Parser<'a> {
    fn new(words: &'a [Word], greedy: bool) -> Self {
        Self { words, next: 0, greedy, typed: Typed::default(), given: Vec::new() }
    }

    fn peek(&self) -> Option<&'a Word> {
        self.words.get(self.next)
    }

    /// Reads all words and returns those that are neither switches nor values.
    fn run(&mut self) -> Result<Vec<&'a Word>, ParseError> {
        let mut stray = Vec::new();
        while let Some(word) = self.peek() {
            self.next += 1;
            if !self.greedy && word.text == "--" {
                stray.extend(&self.words[self.next..]);
                break;
            } else if !word.quoted && grammar::is_switch(&word.text) {
                self.switch(word)?;
            } else if !word.quoted && settings::parse_size(&word.text).is_some() {
                self.fill(setting("size"), word, word)?;
            } else {
                stray.push(word);
            }
        }
        Ok(stray)
    }

    fn switch(&mut self, word: &'a Word) -> Result<(), ParseError> {
        let found = resolve(&word.text, self.peek()).ok_or_else(|| unknown(word))?;
        let setting = found.setting;
        if let Some(value) = found.attached {
            let value = Word { span: word.span.clone(), text: value, quoted: true };
            return self.fill(setting, word, &value);
        }
        if matches!(setting.kind, Kind::Flag(_)) {
            let yes = Word { span: word.span.clone(), text: "on".into(), quoted: false };
            return self.fill(setting, word, &yes);
        }
        let Some(value) = self.peek().filter(|value| value.quoted || !grammar::is_switch(&value.text)) else {
            let message = format!("{} needs a value: {}", word.text, setting.expected());
            return Err(ParseError::new(word.span.clone(), message));
        };
        self.next += 1;
        let mut value = value.clone();
        if self.greedy && matches!(setting.kind, Kind::Text(_)) && !value.quoted {
            while let Some(more) = self.peek().filter(|more| belongs_to_text(more)) {
                self.next += 1;
                value.text.push(' ');
                value.text.push_str(&more.text);
                value.span.end = more.span.end;
            }
        }
        self.fill(setting, word, &value)
    }

    fn fill(&mut self, setting: &'static Setting, switch: &Word, value: &Word) -> Result<(), ParseError> {
        let twice = |name: &str| {
            let message = format!("{name} is given twice; take one of them out");
            ParseError::new(switch.span.start..value.span.end, message)
        };
        // A size is a width and a height.
        let names: &[&'static str] =
            if matches!(setting.kind, Kind::Size) { &["width", "height"] } else { &[setting.name] };
        for name in names.iter().copied() {
            if self.given.iter().any(|(given, _)| *given == name) {
                return Err(twice(name));
            }
            self.given.push((name, switch.span.clone()));
        }
        let wrong = |error: settings::ValueError| ParseError::new(value.span.clone(), error.to_string());
        let values = sweep::values(setting, &value.text).map_err(wrong)?;
        if let [value] = values.as_slice() {
            return setting.set(&mut self.typed.request, value).map_err(wrong);
        }
        self.typed.axes.push(Axis { setting, values });
        Ok(())
    }
}

fn belongs_to_text(word: &Word) -> bool {
    !word.quoted && !grammar::is_switch(&word.text) && settings::parse_size(&word.text).is_none()
}

fn setting(name: &str) -> &'static Setting {
    settings::find(name).unwrap_or(&SETTINGS[0])
}

/// A switch that was found.
pub(super) struct Found {
    /// What it sets.
    pub setting: &'static Setting,
    /// The value in the same word: `--steps=20`, `-s20`.
    pub attached: Option<String>,
}

/// What a switch sets, given the word after it.
pub(super) fn resolve(switch: &str, after: Option<&Word>) -> Option<Found> {
    if let Some(long) = switch.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let attached = value.map(str::to_owned);
        return settings::find(name).map(|setting| Found { setting, attached });
    }
    let mut chars = switch.strip_prefix('-')?.chars();
    let letter = chars.next()?;
    let mut candidates = SETTINGS.iter().filter(|setting| setting.shorts.contains(&letter));
    let attached = chars.as_str();
    if attached.is_empty() {
        let last = candidates.clone().next_back();
        return candidates
            .find(|setting| after.is_some_and(|word| takes(setting, word)))
            .or(last)
            .map(|setting| Found { setting, attached: None });
    }
    // `-s20`, as argparse allows; only for numbers, so that a misspelt `-step` is not `-s tep`.
    let value = Word { span: 0..0, text: attached.to_owned(), quoted: false };
    candidates
        .find(|setting| is_numeric(setting) && takes(setting, &value))
        .map(|setting| Found { setting, attached: Some(attached.to_owned()) })
}

fn is_numeric(setting: &Setting) -> bool {
    matches!(setting.kind, Kind::Count(..) | Kind::Number(..) | Kind::Seed | Kind::OtherSeed(_))
}

/// Whether the word after a switch whose letter two settings share is a value of this one. A number counts
/// even if it is out of range: then that is what is wrong with it.
fn takes(setting: &Setting, word: &Word) -> bool {
    match setting.kind {
        Kind::Flag(_) => true,
        Kind::Count(..) => !word.quoted && word.text.parse::<i64>().is_ok(),
        Kind::Number(..) => {
            let first = word.text.split([',', ':']).next().unwrap_or("");
            let first = first.split_once("..").map_or(first, |(low, _)| low);
            !word.quoted && first.parse::<f64>().is_ok()
        }
        Kind::Seed => settings::parse_seed(&word.text).is_some(),
        _ => word.quoted || !grammar::is_switch(&word.text),
    }
}

fn unknown(word: &Word) -> ParseError {
    let name = word.text.split('=').next().unwrap_or("");
    let longs = SETTINGS.iter().flat_map(|s| std::iter::once(s.name).chain(s.aliases.iter().copied()));
    let mut error = ParseError::new(
        word.span.clone(),
        format!("there is no switch {name}; if it belongs to the prompt, put the prompt in \"quotes\""),
    );
    error.did_you_mean = nearest(name.trim_start_matches('-'), longs).map(|name| format!("--{name}"));
    error
}

/// One line a switch, for `--help`, `/help switches` and the documentation: its forms and its help.
pub fn help() -> Vec<(String, &'static str)> {
    SETTINGS.iter().map(|setting| (forms(setting), setting.help)).collect()
}

/// All forms of a switch: `-s, --steps N`.
pub fn forms(setting: &Setting) -> String {
    let shorts = setting.shorts.iter().map(|c| format!("-{c}"));
    let longs =
        std::iter::once(setting.name).chain(setting.aliases.iter().copied()).map(|l| format!("--{l}"));
    let forms = shorts.chain(longs).collect::<Vec<_>>().join(", ");
    match setting.placeholder() {
        Some(value) => format!("{forms} {value}"),
        None => forms,
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
