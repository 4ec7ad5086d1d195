//! What follows a slash command: declared in its row, read by one function, completed by another.

use std::path::PathBuf;

use super::grammar::{self, Span, Word};
use super::line::{self, Line, ParseError, nearest};
use super::switches;
use crate::request::JobId;
use crate::session::derive::Derivation;
use crate::session::reference::Reference;
use crate::session::settings::{self, SETTINGS, Setting};

/// One thing that follows a command.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    /// What help calls it.
    pub name: &'static str,
    /// What it looks like.
    pub kind: ArgKind,
    /// Whether it must be there.
    pub required: bool,
}

impl Arg {
    /// One that must be there.
    pub const fn required(name: &'static str, kind: ArgKind) -> Self {
        Self { name, kind, required: true }
    }

    /// One that may be left out; a word that does not look like it is taken for the next one.
    pub const fn optional(name: &'static str, kind: ArgKind) -> Self {
        Self { name, kind, required: false }
    }
}

/// What an argument looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// A picture: `$`, `$12`, `#12`, `$@name`.
    Picture,
    /// A picture, and perhaps a step in the middle of it: `$12@9`; `@9` is that of the current picture.
    Moment,
    /// The name of a setting.
    Setting,
    /// A value of the setting before it: all that follows.
    Value,
    /// A whole number.
    Count,
    /// Any number.
    Number,
    /// This very word.
    Word(&'static str),
    /// The name of a theme.
    Theme,
    /// The name of a command or setting.
    Topic,
    /// A file.
    File,
    /// All that follows.
    Text,
    /// What to look for: all that follows.
    Filter,
    /// A prompt, a change of one, switches: all that follows.
    Change,
}

impl ArgKind {
    /// Whether it takes the rest of the line.
    pub fn takes_rest(self) -> bool {
        matches!(self, Self::Value | Self::Text | Self::Filter | Self::Change | Self::File)
    }
}

/// An argument that was read.
#[derive(Clone, Debug)]
enum Value {
    Picture(Reference),
    Moment(Reference, Option<u32>),
    Setting(&'static Setting),
    Count(u32),
    Number(f64),
    Text(String),
    Change(Box<Derivation>),
}

/// The arguments of a command that was typed.
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// The whole line.
    pub line: String,
    values: Vec<(&'static str, Value)>,
}

impl Args {
    fn value(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// A picture.
    pub fn picture(&self, name: &str) -> Option<&Reference> {
        match self.value(name) {
            Some(Value::Picture(reference) | Value::Moment(reference, _)) => Some(reference),
            _ => None,
        }
    }

    /// The step in the middle of a picture.
    pub fn step(&self, name: &str) -> Option<u32> {
        if let Some(Value::Moment(_, step)) = self.value(name) { *step } else { None }
    }

    /// A setting.
    pub fn setting(&self, name: &str) -> Option<&'static Setting> {
        if let Some(Value::Setting(setting)) = self.value(name) { Some(setting) } else { None }
    }

    /// A whole number.
    pub fn count(&self, name: &str) -> Option<u32> {
        if let Some(Value::Count(count)) = self.value(name) { Some(*count) } else { None }
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<f64> {
        if let Some(Value::Number(number)) = self.value(name) { Some(*number) } else { None }
    }

    /// Text, a name, a given word.
    pub fn text(&self, name: &str) -> Option<&str> {
        if let Some(Value::Text(text)) = self.value(name) { Some(text) } else { None }
    }

    /// A file, `~` resolved.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(crate::paths::expand_tilde)
    }

    /// A prompt, a change, switches; nothing changes nothing.
    pub fn change(&self, name: &str) -> Derivation {
        if let Some(Value::Change(change)) = self.value(name) {
            (**change).clone()
        } else {
            Derivation::default()
        }
    }
}

/// Reads the arguments of a command. `preset` is the setting when its name was the command: `/steps 30`.
///
/// # Errors
/// When one is missing, too much, or not what it should be; `usage` is said then.
pub fn bind(
    args: &[Arg],
    preset: Option<&'static Setting>,
    line: &str,
    span: &Span,
    usage: &str,
) -> Result<Args, ParseError> {
    let (words, _) = grammar::plain_words(line, span.start);
    let mut bound = Args { line: line.to_owned(), values: Vec::new() };
    let mut words = words.iter().peekable();
    for arg in args {
        if let (ArgKind::Setting, Some(setting)) = (arg.kind, preset) {
            bound.values.push((arg.name, Value::Setting(setting)));
            continue;
        }
        let Some(word) = words.peek().copied() else {
            if arg.required {
                let message = format!("this needs more; type {usage}");
                return Err(ParseError::new(0..line.trim_end().len(), message));
            }
            continue;
        };
        if arg.kind.takes_rest() {
            let value = rest(arg.kind, line, word.span.start)?;
            bound.values.push((arg.name, value));
            return Ok(bound);
        }
        match read(arg.kind, word, line) {
            Ok(value) => {
                bound.values.push((arg.name, value));
                words.next();
            }
            // Perhaps it is the next one. If that cannot be, either, it is this one that was meant.
            Err(error) if arg.required || arg.kind == ArgKind::Setting => return Err(error),
            Err(_) => {}
        }
    }
    match words.next() {
        Some(word) => {
            let message = format!("this is too much, or not what is wanted here; type {usage}");
            Err(ParseError::new(word.span.start..line.trim_end().len(), message))
        }
        None => Ok(bound),
    }
}

fn rest(kind: ArgKind, line: &str, at: usize) -> Result<Value, ParseError> {
    let text = line[at..].trim_end();
    if kind == ArgKind::Change {
        return change(line, at).map(|change| Value::Change(Box::new(change)));
    }
    // Quotes around all of it are quotes; `""` is how to say nothing.
    let (words, unclosed) = grammar::plain_words(line, at);
    let text = match (words.as_slice(), unclosed) {
        ([word], None) if word.quoted || kind == ArgKind::File => word.text.clone(),
        _ => text.to_owned(),
    };
    Ok(Value::Text(text))
}

fn change(line: &str, at: usize) -> Result<Derivation, ParseError> {
    let shift = |span: Span| span.start + at..span.end + at;
    let text = line[at..].trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let end = at + line[at..].trim_end().len();
        return Err(ParseError::new(
            at..end,
            format!("type ${text} for picture {text}, or a change such as + rain"),
        ));
    }
    match line::parse(&line[at..]) {
        Line::Empty => Ok(Derivation::default()),
        Line::Prompt(typed) => Ok(Derivation { edit: None, typed }),
        Line::Derive(change) => Ok(change),
        Line::ParseError(error) => Err(ParseError { span: shift(error.span.clone()), ..error }),
        Line::Command(_) => {
            Err(ParseError::new(at..line.len(), "type a prompt, a change such as + rain, or switches here"))
        }
    }
}

fn read(kind: ArgKind, word: &Word, line: &str) -> Result<Value, ParseError> {
    let text = word.text.as_str();
    let wrong = |message: String| ParseError::new(word.span.clone(), message);
    match kind {
        ArgKind::Picture => reference(text).map(Value::Picture).ok_or_else(|| {
            wrong(format!("`{text}` names no picture; type $ for the last one, $12, or $@name"))
        }),
        ArgKind::Moment => moment(text).map(|(of, step)| Value::Moment(of, step)).ok_or_else(|| {
            wrong(format!("`{text}` names no picture; type $12, or $12@9 for the middle of it after step 9"))
        }),
        ArgKind::Setting => setting(word, line).map(Value::Setting),
        ArgKind::Count => text
            .parse()
            .map(Value::Count)
            .map_err(|_| wrong(format!("type a whole number here, not `{text}`"))),
        ArgKind::Number => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Number(number)),
            _ => Err(wrong(format!("type a number here, not `{text}`"))),
        },
        ArgKind::Word(expected) if expected != text => {
            Err(wrong(format!("type {expected} here, not `{text}`")))
        }
        _ => Ok(Value::Text(text.to_owned())),
    }
}

/// `$12`, `$12@9`, `$@fox@9`, `@9`.
fn moment(text: &str) -> Option<(Reference, Option<u32>)> {
    let split = text.rsplit_once('@').and_then(|(of, step)| Some((of, step.parse().ok()?)));
    match split {
        Some(("", step)) => Some((Reference::Back(1), Some(step))),
        // `$@9` is a name.
        Some((of, step)) if of != "$" => Some((reference(of)?, Some(step))),
        _ => Some((reference(text)?, None)),
    }
}

fn reference(text: &str) -> Option<Reference> {
    match text.strip_prefix('#') {
        Some(number) => number.parse().ok().map(|n| Reference::Number(JobId(n))),
        None => Reference::parse(text),
    }
}

/// A setting by its name, its alias, or its letter (`/set s 20` as in ollama).
fn setting(word: &Word, line: &str) -> Result<&'static Setting, ParseError> {
    let mut letters = word.text.chars();
    let by_letter = || match (letters.next(), letters.next()) {
        (Some(letter), None) => {
            let after = grammar::plain_words(line, word.span.end).0;
            switches::resolve(&format!("-{letter}"), after.first()).map(|found| found.setting)
        }
        _ => None,
    };
    settings::find(&word.text).or_else(by_letter).ok_or_else(|| {
        let names = SETTINGS.iter().flat_map(|s| std::iter::once(s.name).chain(s.aliases.iter().copied()));
        let mut error = ParseError::new(
            word.span.clone(),
            format!("there is no setting `{}`; /show lists them", word.text),
        );
        error.did_you_mean = nearest(&word.text, names).map(str::to_owned);
        error
    })
}
