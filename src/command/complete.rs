//! What can be typed next.

use std::path::Path;

use super::args::{Arg, ArgKind};
use super::grammar::{self, Span, Word};
use super::line::command_name;
use super::switches;
use super::table;
use crate::session::filter::FIELDS;
use crate::session::settings::{Kind, Names, SETTINGS, Setting};
use crate::session::{Catalog, Name, Session};

/// Everything that completion knows: plain data, to be handed to the editor's thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompletionContext {
    /// Models, schedulers, themes.
    pub catalog: Catalog,
    /// Seeds of this session, newest first, with their prompts.
    pub seeds: Vec<Name>,
    /// Pictures of this session as `$12` and `$@name`, newest first, with their prompts.
    pub pictures: Vec<Name>,
    /// Wildcards, without the underscores.
    pub wildcards: Vec<String>,
}

impl CompletionContext {
    /// What this session knows now.
    pub fn of(session: &Session) -> Self {
        let entries = || session.ledger().entries().rev().filter(|entry| entry.state.is_alive());
        let mut seeds: Vec<Name> = Vec::new();
        let mut pictures = Vec::new();
        for entry in entries() {
            let help = entry.request.prompt.clone();
            if let Some(seed) = entry.seed().map(|seed| seed.to_string())
                && !seeds.iter().any(|known| known.name == seed)
            {
                seeds.push(Name { name: seed, help: help.clone() });
            }
            let named = entry.name.as_ref().map(|name| format!("$@{name}"));
            let names = std::iter::once(format!("${}", entry.id.0)).chain(named);
            pictures.extend(names.map(|name| Name { name, help: help.clone() }));
        }
        let mut wildcards = Vec::new();
        find_wildcards(&session.wildcards.folder, "", &mut wildcards);
        wildcards.sort();
        Self { catalog: session.catalog.clone(), seeds, pictures, wildcards }
    }
}

fn find_wildcards(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    // Two levels are as deep as anybody sorts them; links in circles end here, too.
    let deepest = prefix.matches('/').count() >= 2;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if path.is_dir() && !deepest {
            find_wildcards(&path, &format!("{prefix}{stem}/"), found);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            found.push(format!("{prefix}{stem}"));
        }
    }
}

/// What can stand at the cursor, and which bytes of the line it takes the place of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// What is replaced.
    pub span: Span,
    /// What with, best first.
    pub candidates: Vec<Candidate>,
}

/// Something that can be typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The text.
    pub text: String,
    /// A few words about it; may be empty.
    pub help: String,
}

/// Completes the word at the cursor, a byte of the line.
pub fn complete(line: &str, cursor: usize, context: &CompletionContext) -> Completions {
    let mut cursor = cursor.min(line.len());
    while !line.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let text = &line[..cursor];
    let start = text.len() - text.trim_start().len();
    match command_name(&text[start..]) {
        Some(name) if start + 1 + name.len() == text.len() => {
            let span = start..cursor;
            offer(span, name, table::names().map(|(name, help)| (format!("/{name}"), help)), |text| {
                &text[1..]
            })
        }
        Some(name) => command(text, name, start + 1 + name.len(), context),
        None => prompt(text, context),
    }
}

/// Those of `all` that begin with what was typed; those that hold it somewhere, if none does.
fn offer<H: Into<String>>(
    span: Span,
    typed: &str,
    all: impl IntoIterator<Item = (String, H)>,
    key: impl Fn(&str) -> &str,
) -> Completions {
    let all: Vec<_> = all.into_iter().map(|(text, help)| Candidate { text, help: help.into() }).collect();
    let typed = typed.to_lowercase();
    let begins = |c: &&Candidate| key(&c.text).to_lowercase().starts_with(&typed);
    let mut candidates: Vec<_> = all.iter().filter(begins).cloned().collect();
    if candidates.is_empty() {
        candidates = all.into_iter().filter(|c| key(&c.text).to_lowercase().contains(&typed)).collect();
    }
    Completions { span, candidates }
}

fn names(span: Span, typed: &str, names: &[Name]) -> Completions {
    offer(span, typed, names.iter().map(|name| (name.name.clone(), name.help.clone())), |text| text)
}

/// The word that the cursor is at the end of; empty after a space.
fn last_word(words: &[Word], text: &str) -> Word {
    match words.last() {
        Some(word) if word.span.end == text.len() => word.clone(),
        _ => Word { span: text.len()..text.len(), text: String::new(), quoted: false },
    }
}

fn prompt(text: &str, context: &CompletionContext) -> Completions {
    let parts = grammar::parts(text);
    let (mut words, unclosed) = grammar::words(text, parts.words);
    if let Some(quote) = unclosed {
        // A file with spaces in its name is typed in quotes.
        let inside = quote.0.start + 1..quote.0.end;
        words.push(Word { text: text[inside].to_owned(), span: quote.0, quoted: true });
    }
    let word = last_word(&words, text);
    if word.text.is_empty() && word.span.start < parts.words.max(parts.prompt.end) {
        return Completions::default();
    }
    if words.is_empty() || parts.words >= text.len() {
        return in_prompt(text, context);
    }
    switch_part(&words, &word, context)
}

/// Within a prompt: a switch that begins, a wildcard.
fn in_prompt(text: &str, context: &CompletionContext) -> Completions {
    let at = text
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + text[at..].chars().next().map_or(1, char::len_utf8));
    let word = &text[at..];
    if word.starts_with('-') && at > 0 {
        return switch_names(at..text.len(), word);
    }
    let Some(open) = word.rfind("__").filter(|open| word[..*open].matches("__").count().is_multiple_of(2))
    else {
        return Completions::default();
    };
    let typed = &word[open + 2..];
    let all = context.wildcards.iter().map(|name| (format!("__{name}__"), ""));
    offer(at + open..text.len(), typed, all, |text| &text[2..])
}

fn switch_part(words: &[Word], word: &Word, context: &CompletionContext) -> Completions {
    if !word.quoted
        && let Some((name, value)) = word.text.split_once('=').filter(|(name, _)| name.starts_with("--"))
        && let Some(found) = switches::resolve(name, None)
    {
        let start = word.span.end - value.len();
        return values(found.setting, start..word.span.end, value, context);
    }
    let is_switch = |word: &Word| !word.quoted && grammar::is_switch(&word.text);
    let before = if word.text.is_empty() && !word.quoted { words.last() } else { words.iter().rev().nth(1) };
    let waiting = before
        .filter(|before| is_switch(before))
        .and_then(|before| switches::resolve(&before.text, Some(word).filter(|word| !word.text.is_empty())))
        .filter(|found| found.attached.is_none() && !matches!(found.setting.kind, Kind::Flag(_)));
    match waiting {
        Some(found) if !is_switch(word) => values(found.setting, word.span.clone(), &word.text, context),
        _ if word.text.starts_with('-') && !word.quoted => switch_names(word.span.clone(), &word.text),
        _ => Completions::default(),
    }
}

fn switch_names(span: Span, typed: &str) -> Completions {
    let all = SETTINGS.iter().map(|setting| (format!("--{}", setting.name), setting.help));
    let typed = typed.trim_start_matches('-');
    let by_name = offer(span.clone(), typed, all, |text| &text[2..]);
    // `--cfg` is complete as it is; of `--cfg-until` alone it would become another setting.
    let complete = SETTINGS.iter().any(|s| s.aliases.contains(&typed) && !s.name.starts_with(typed));
    if typed.is_empty() || (!by_name.candidates.is_empty() && !complete) {
        return by_name;
    }
    let aliases = SETTINGS.iter().flat_map(|s| s.aliases.iter().map(|alias| (format!("--{alias}"), s.help)));
    let mut offered = offer(span, typed, aliases, |text| &text[2..]);
    offered.candidates.extend(by_name.candidates);
    offered
}

/// Values of a setting.
fn values(setting: &Setting, span: Span, typed: &str, context: &CompletionContext) -> Completions {
    // Of a list, the last item.
    let typed = if setting.sweeps() { typed.rsplit(',').next().unwrap_or(typed) } else { typed };
    let item = span.end - typed.len().min(span.len())..span.end;
    match setting.kind {
        Kind::Name(Names::Models, _) => names(item, typed, &context.catalog.models),
        Kind::Name(Names::Schedulers, _) => names(item, typed, &context.catalog.schedulers),
        Kind::Seed => names(item, typed, &context.seeds),
        Kind::Picture(_) if typed.starts_with('$') => names(span, typed, &context.pictures),
        Kind::Picture(_) | Kind::File(_) => {
            let mut completions = files(span.clone(), typed);
            if typed.is_empty() && matches!(setting.kind, Kind::Picture(_)) {
                completions.candidates.splice(0..0, names(span, typed, &context.pictures).candidates);
            }
            completions
        }
        Kind::Flag(_) => offer(item, typed, [("on".to_owned(), ""), ("off".to_owned(), "")], |text| text),
        _ => Completions::default(),
    }
}

fn command(text: &str, name: &str, at: usize, context: &CompletionContext) -> Completions {
    let Some(found) = table::find(name) else { return Completions::default() };
    let (words, unclosed) = grammar::plain_words(text, at);
    if unclosed.is_some() {
        return Completions::default();
    }
    let word = last_word(&words, text);
    let before = words.len() - usize::from(!word.text.is_empty());
    let mut args = found.command.args.iter();
    let mut setting = found.setting;
    if setting.is_some() {
        args.next();
    }
    for given in &words[..before] {
        // An optional argument that the word is not, was left out.
        let Some(arg) = args.by_ref().find(|arg| arg.required || looks_like(arg, given)) else {
            return Completions::default();
        };
        if arg.kind == ArgKind::Setting {
            setting = crate::session::settings::find(&given.text);
        }
        if arg.kind.takes_rest() {
            return rest(arg.kind, text, &words, &word, context);
        }
    }
    let mut all = Completions { span: word.span.clone(), candidates: Vec::new() };
    for arg in args {
        let more = argument(arg.kind, setting, text, &word, context);
        if !more.candidates.is_empty() {
            all.span = more.span;
            all.candidates.extend(more.candidates);
        }
        if arg.required || arg.kind == ArgKind::Setting || arg.kind.takes_rest() {
            break;
        }
    }
    all
}

fn looks_like(arg: &Arg, word: &Word) -> bool {
    match arg.kind {
        ArgKind::Picture => word.text.starts_with(['$', '#']),
        ArgKind::Count | ArgKind::Number => word.text.parse::<f64>().is_ok(),
        ArgKind::Word(expected) => word.text == expected,
        _ => true,
    }
}

/// The second and later words of an argument that takes the rest of the line.
fn rest(kind: ArgKind, text: &str, words: &[Word], word: &Word, context: &CompletionContext) -> Completions {
    match kind {
        ArgKind::Change if text.ends_with(char::is_whitespace) || !word.text.is_empty() => {
            let switches_at = words.iter().position(|word| grammar::is_switch(&word.text));
            switches_at.map_or_else(Completions::default, |at| switch_part(&words[at..], word, context))
        }
        ArgKind::Filter => filter(word),
        _ => Completions::default(),
    }
}

fn argument(
    kind: ArgKind,
    setting: Option<&Setting>,
    text: &str,
    word: &Word,
    context: &CompletionContext,
) -> Completions {
    let (span, typed) = (word.span.clone(), word.text.as_str());
    match kind {
        ArgKind::Picture | ArgKind::Moment => names(span, typed, &context.pictures),
        ArgKind::Setting => {
            let sticky = SETTINGS.iter().filter(|setting| setting.sticky);
            offer(span, typed, sticky.map(|setting| (setting.name.to_owned(), setting.help)), |text| text)
        }
        ArgKind::Value => {
            setting.map_or_else(Completions::default, |setting| values(setting, span, typed, context))
        }
        ArgKind::Word(expected) => offer(span, typed, [(expected.to_owned(), "")], |text| text),
        ArgKind::Theme => names(span, typed, &context.catalog.themes),
        ArgKind::Topic => {
            let topics = ["switches", "changes", "filters"].map(|topic| (topic, ""));
            let all = table::names().chain(topics).map(|(name, help)| (name.to_owned(), help));
            offer(span, typed.trim_start_matches('/'), all, |text| text)
        }
        ArgKind::File => files(span, typed),
        ArgKind::Filter => filter(word),
        ArgKind::Change if typed.starts_with('-') && text.len() > 1 => switch_names(span, typed),
        ArgKind::Change | ArgKind::Text | ArgKind::Count | ArgKind::Number => Completions::default(),
    }
}

fn filter(word: &Word) -> Completions {
    let typed = word.text.trim_start_matches('-');
    let start = word.span.end - typed.len();
    let is = ["queued", "running", "finished", "cancelled", "failed", "held", "lost"]
        .map(|is| (format!("is:{is}"), ""));
    let days = ["after", "before", "on"]
        .iter()
        .flat_map(|field| ["today", "yesterday"].map(|day| (format!("{field}:{day}"), "")));
    if typed.contains(':') {
        return offer(start..word.span.end, typed, is.into_iter().chain(days), |text| text);
    }
    let fields = FIELDS.iter().map(|(field, help)| (format!("{field}:"), *help));
    offer(start..word.span.end, typed, fields, |text| text)
}

/// Files and folders that begin with what was typed.
fn files(span: Span, typed: &str) -> Completions {
    let cut = typed.rfind('/').map_or(0, |at| at + 1);
    let (folder, begun) = typed.split_at(cut);
    let path = if folder.is_empty() { ".".into() } else { crate::paths::expand_tilde(folder) };
    let mut found: Vec<Candidate> = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let hidden = name.starts_with('.') && !begun.starts_with('.');
        if hidden || !name.starts_with(begun) {
            continue;
        }
        let slash = if entry.path().is_dir() { "/" } else { "" };
        let whole = format!("{folder}{name}{slash}");
        let plain = !whole.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '#'));
        // The quote stays open after a folder, so that typing can go on.
        let close = if slash.is_empty() { "\"" } else { "" };
        let text = if plain {
            whole
        } else {
            format!("\"{}{close}", whole.replace('\\', "\\\\").replace('"', "\\\""))
        };
        found.push(Candidate { text, help: String::new() });
    }
    found.sort_by(|a, b| a.text.cmp(&b.text));
    Completions { span, candidates: found }
}

#[cfg(test)]
mod tests;
