//! Reading theme files: TOML with positions, so that every complaint has a line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ratatui::style::{Color, Modifier, Style};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{BUILT_IN, Background, Role, Theme};

/// What is wrong with a theme.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    /// No file and no compiled-in theme has this name.
    #[error("no theme `{name}`; there are {}", .known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// The file is there but cannot be read.
    #[error("cannot read the theme {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something wrong.
    #[error("{file}:{line}: {message}")]
    Wrong {
        /// The file, or `themes/NAME.toml` for a compiled-in one.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong, and what to write instead.
        message: String,
    },
}

/// A file's text and what to call it.
struct Source {
    file: String,
    text: String,
}

impl Source {
    fn find(name: &str, folder: Option<&Path>) -> Result<Self, ThemeError> {
        let path = folder.map(|folder| folder.join(format!("{name}.toml")));
        if let Some(path) = path.filter(|path| path.is_file()) {
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(source) => return Err(ThemeError::Unreadable { path, source }),
            };
            return Ok(Self { file: path.display().to_string(), text });
        }
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Ok(Self { file: format!("themes/{name}.toml"), text: (*text).into() }),
            None => Err(ThemeError::Unknown { name: name.into(), known: names(folder) }),
        }
    }

    fn place(&self, at: &Range<usize>) -> Place {
        let line = self.text.bytes().take(at.start).filter(|byte| *byte == b'\n').count() + 1;
        Place { file: self.file.clone(), line }
    }

    fn wrong(&self, at: &Range<usize>, message: impl Into<String>) -> ThemeError {
        self.place(at).wrong(message)
    }

    fn parse(&self) -> Result<Spanned<DeTable<'_>>, ThemeError> {
        DeTable::parse(&self.text).map_err(|e| self.wrong(&e.span().unwrap_or(0..0), e.message()))
    }
}

/// Where something stands in a file.
#[derive(Clone)]
struct Place {
    file: String,
    line: usize,
}

impl Place {
    fn wrong(&self, message: impl Into<String>) -> ThemeError {
        ThemeError::Wrong { file: self.file.clone(), line: self.line, message: message.into() }
    }
}

/// A theme before its parents are known: palette by name, entries by role.
#[derive(Default)]
struct Raw {
    inherits: Option<(String, Place)>,
    background: Option<Background>,
    palette: BTreeMap<String, Color>,
    /// Style values wait for the palette, which a child may override.
    entries: BTreeMap<&'static str, RawStyle>,
}

#[derive(Clone)]
struct RawStyle {
    fg: Option<RawColor>,
    bg: Option<RawColor>,
    modifiers: Modifier,
}

/// A colour's text, and where it stands, for the error if it turns out to mean nothing.
#[derive(Clone)]
struct RawColor {
    text: String,
    place: Place,
}

impl RawColor {
    fn resolve(&self, palette: &BTreeMap<String, Color>) -> Result<Color, ThemeError> {
        let named = if self.text == "default" { Some(Color::Reset) } else { self.text.parse().ok() };
        palette.get(&self.text).copied().or(named).ok_or_else(|| {
            self.place.wrong(format!(
                "`{}` is no colour; write \"#rrggbb\", a name such as \"light-blue\" or one of the palette, or 0 to 255",
                self.text
            ))
        })
    }
}

pub(super) fn names(folder: Option<&Path>) -> Vec<String> {
    let mut names: Vec<String> = BUILT_IN.iter().map(|(name, _)| (*name).into()).collect();
    let files = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    names.extend(files.filter_map(|entry| {
        let path = entry.path();
        let toml = path.extension().is_some_and(|extension| extension == "toml");
        toml.then(|| path.file_stem()?.to_str().map(String::from)).flatten()
    }));
    names.sort();
    names.dedup();
    names
}

pub(super) fn load(name: &str, folder: Option<&Path>) -> Result<Theme, ThemeError> {
    let start = Source::find(name, folder)?;
    let mut raw = read(&start)?;
    let mut chain = vec![name.to_owned()];
    // what the child says wins
    while let Some((parent, place)) = raw.inherits.take() {
        // a person's file may inherit the compiled-in theme that it overrides
        let overridden = chain.contains(&parent);
        let compiled_in = BUILT_IN.iter().any(|(known, _)| *known == parent);
        if overridden && (!compiled_in || chain.iter().filter(|seen| **seen == parent).count() > 1) {
            return Err(
                place.wrong(format!("`inherits` goes round in a circle: {} → {parent}", chain.join(" → ")))
            );
        }
        let source = Source::find(&parent, folder.filter(|_| !overridden)).map_err(|e| match e {
            ThemeError::Unknown { .. } => place.wrong(e.to_string()),
            other => other,
        })?;
        let older = read(&source)?;
        chain.push(parent);
        older.palette.into_iter().for_each(|(key, color)| {
            raw.palette.entry(key).or_insert(color);
        });
        older.entries.into_iter().for_each(|(key, style)| {
            raw.entries.entry(key).or_insert(style);
        });
        raw.background = raw.background.or(older.background);
        raw.inherits = older.inherits;
    }
    let mut styles = [Style::new(); Role::ALL.len()];
    for role in Role::ALL {
        let Some(style) = raw.entries.get(role.key()) else {
            let message = format!("`{}` is missing; set it or write `inherits = \"ansi\"`", role.key());
            return Err(start.wrong(&(0..0), message));
        };
        let color = |color: &Option<RawColor>| color.as_ref().map(|c| c.resolve(&raw.palette)).transpose();
        let (fg, bg) = (color(&style.fg)?, color(&style.bg)?);
        styles[*role as usize] = Style { fg, bg, add_modifier: style.modifiers, ..Style::new() };
    }
    Ok(Theme { name: name.into(), background: raw.background, styles })
}

fn read(source: &Source) -> Result<Raw, ThemeError> {
    let table = source.parse()?;
    let mut raw = Raw::default();
    for (key, value) in table.get_ref() {
        match key.get_ref().as_ref() {
            "inherits" => {
                raw.inherits = Some((string(source, value)?.to_owned(), source.place(&value.span())));
            }
            "background" => {
                raw.background = Some(match string(source, value)? {
                    "dark" => Background::Dark,
                    "light" => Background::Light,
                    other => {
                        let message = format!("background `{other}` is neither `dark` nor `light`");
                        return Err(source.wrong(&value.span(), message));
                    }
                });
            }
            "palette" => raw.palette = read_palette(source, value)?,
            name => {
                let Some(role) = Role::ALL.iter().find(|role| role.key() == name) else {
                    return Err(source.wrong(&key.span(), unknown_key(name, value.get_ref())));
                };
                raw.entries.insert(role.key(), read_style(source, value)?);
            }
        }
    }
    Ok(raw)
}

fn unknown_key(name: &str, value: &DeValue<'_>) -> String {
    let prefix = format!("{name}.");
    if value.is_table() && Role::ALL.iter().any(|role| role.key().starts_with(&prefix)) {
        return format!("write keys below `{name}` in quotes, as \"{name}.…\" = …");
    }
    let nearest = Role::ALL.iter().max_by(|a, b| {
        let near = |role: &Role| similarity(role.key(), name);
        near(a).total_cmp(&near(b))
    });
    match nearest.filter(|role| similarity(role.key(), name) > 0.5) {
        Some(role) => format!("unknown key `{name}`; did you mean `{}`?", role.key()),
        None => format!("unknown key `{name}`; `tintype --help` names the roles of a theme"),
    }
}

/// Share of letter pairs in common (Dice), 0 to 1: enough to find a typing error.
fn similarity(a: &str, b: &str) -> f32 {
    let pairs = |text: &str| -> Vec<(char, char)> { text.chars().zip(text.chars().skip(1)).collect() };
    let (left, mut right) = (pairs(a), pairs(b));
    let all = left.len() + right.len();
    let shared = left.iter().filter(|pair| match right.iter().position(|other| other == *pair) {
        Some(at) => {
            right.swap_remove(at);
            true
        }
        None => false,
    });
    2.0 * shared.count() as f32 / all.max(1) as f32
}

fn read_palette(
    source: &Source,
    value: &Spanned<DeValue<'_>>,
) -> Result<BTreeMap<String, Color>, ThemeError> {
    let Some(table) = value.get_ref().as_table() else {
        return Err(source.wrong(&value.span(), "palette is a table of `name = \"#rrggbb\"`"));
    };
    let mut palette = BTreeMap::new();
    for (name, value) in table {
        let color = read_color(source, value)?.resolve(&BTreeMap::new())?;
        palette.insert(name.get_ref().to_string(), color);
    }
    Ok(palette)
}

fn read_style(source: &Source, value: &Spanned<DeValue<'_>>) -> Result<RawStyle, ThemeError> {
    let mut style = RawStyle { fg: None, bg: None, modifiers: Modifier::empty() };
    let Some(table) = value.get_ref().as_table() else {
        style.fg = Some(read_color(source, value)?);
        return Ok(style);
    };
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "fg" => style.fg = Some(read_color(source, value)?),
            "bg" => style.bg = Some(read_color(source, value)?),
            "modifiers" => style.modifiers = read_modifiers(source, value)?,
            other => {
                let message = format!("unknown key `{other}`; a style has fg, bg and modifiers");
                return Err(source.wrong(&key.span(), message));
            }
        }
    }
    Ok(style)
}

fn read_color(source: &Source, value: &Spanned<DeValue<'_>>) -> Result<RawColor, ThemeError> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        other => {
            return Err(
                source.wrong(&value.span(), format!("a colour belongs here, not a {}", other.type_str()))
            );
        }
    };
    Ok(RawColor { text, place: source.place(&value.span()) })
}

fn read_modifiers(source: &Source, value: &Spanned<DeValue<'_>>) -> Result<Modifier, ThemeError> {
    const KNOWN: &[(&str, Modifier)] = &[
        ("bold", Modifier::BOLD),
        ("dim", Modifier::DIM),
        ("italic", Modifier::ITALIC),
        ("underlined", Modifier::UNDERLINED),
        ("reversed", Modifier::REVERSED),
        ("crossed_out", Modifier::CROSSED_OUT),
    ];
    let names = || KNOWN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some(list) = value.get_ref().as_array() else {
        return Err(source.wrong(&value.span(), format!("modifiers is a list of {}", names())));
    };
    let mut modifiers = Modifier::empty();
    for item in list {
        let name = string(source, item)?;
        let Some((_, modifier)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            let message = format!("unknown modifier `{name}`; there are {}", names());
            return Err(source.wrong(&item.span(), message));
        };
        modifiers |= *modifier;
    }
    Ok(modifiers)
}

fn string<'a>(source: &Source, value: &'a Spanned<DeValue<'_>>) -> Result<&'a str, ThemeError> {
    match value.get_ref().as_str() {
        Some(text) => Ok(text),
        None => Err(source.wrong(&value.span(), "a text in quotes belongs here")),
    }
}
