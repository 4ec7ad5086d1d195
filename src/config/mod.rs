//! The person's settings: `config.toml` under environment variables (`TINTYPE_THEME`). Switches win over both; laying
//! them on top is the command line's.
//!
//! A value that cannot be is told with its file, line and key, or its variable, and the rest holds; a file that
//! cannot be read as a whole is left out as a whole. The program always starts. Knows nothing of what the values do.

mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::values::{Device, Dtype, EditMode, Images, Scalar};
use crate::request::{AttentionSlicing, MemoryBudget, VaeTiling};
use crate::theme::ThemeChoice;

/// `config.toml` with every setting explained.
pub const SAMPLE: &str = include_str!("sample.toml");

/// The settings. `sample.toml` explains them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "sample.toml explains each field, and a test holds it to be complete")]
pub struct Config {
    pub model: String,
    pub device: Device,
    pub dtype: Dtype,
    pub offline: bool,
    pub images: Images,
    pub theme: ThemeChoice,
    pub edit_mode: EditMode,
    pub output_dir: PathBuf,
    pub file_name: String,
    pub idle_release_minutes: u32,
    pub kept_steps_mib: u32,
    pub confirm_above: u32,
    pub memory_budget: MemoryBudget,
    pub attention_slicing: AttentionSlicing,
    pub vae_tiling: VaeTiling,
    pub defaults: BTreeMap<String, Scalar>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: "embedded".into(),
            device: Device::default(),
            dtype: Dtype::default(),
            offline: false,
            images: Images::default(),
            theme: ThemeChoice::default(),
            edit_mode: EditMode::default(),
            output_dir: PathBuf::new(),
            file_name: "{date}/{session}/{job}-{prompt}-{seed}".into(),
            idle_release_minutes: 15,
            kept_steps_mib: 128,
            confirm_above: 16,
            memory_budget: MemoryBudget::default(),
            attention_slicing: AttentionSlicing::default(),
            vae_tiling: VaeTiling::default(),
            defaults: BTreeMap::new(),
        }
    }
}

/// Something wrong in the settings: where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub message: String,
}

/// Where a setting comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole: it cannot be read.
    File(PathBuf),
    /// A line of the file.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key on it; empty when there is none.
        key: String,
    },
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Line { path, line, key } if key.is_empty() => write!(f, "{}:{line}", path.display()),
            Self::Line { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
            Self::Variable(name) => write!(f, "{name}"),
        }
    }
}

/// Reads the file at `path` (one that is not there is an empty one) and the process's environment, and tells what is
/// wrong with them.
pub fn load(path: &Path) -> (Config, Vec<ConfigError>) {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        // A variable that is no text is not one of ours, and must not stop the program.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    let file = match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(ConfigError {
            place: Place::File(path.to_owned()),
            message: format!("cannot be read, so the defaults hold: {error}"),
        }),
    };
    let (text, unreadable) = match file {
        Ok(text) => (text, None),
        Err(error) => (String::new(), Some(error)),
    };
    let (config, problems) = layer(path, &text, variables);
    (config, unreadable.into_iter().chain(problems).collect())
}

/// Where the setting `name` comes from: its variable if that is set, else its line in the file at `path`. The name of a
/// default is `defaults.steps`.
pub fn place_of(path: &Path, name: &str) -> Place {
    let variable = format!("TINTYPE_{}", name.to_ascii_uppercase());
    if std::env::var_os(&variable).is_some_and(|value| !value.is_empty()) {
        return Place::Variable(variable);
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut table = "";
    let line = text.lines().position(|line| {
        let line = line.trim();
        if line.starts_with('[') {
            table = if line == "[defaults]" { "defaults." } else { line };
        }
        let key = line.split_once('=').map(|(key, _)| key.trim().trim_matches('"'));
        key.is_some_and(|key| name.strip_prefix(table) == Some(key))
    });
    let name = name.rsplit('.').next().unwrap_or(name);
    match line {
        Some(line) => Place::Line { path: path.to_owned(), line: line + 1, key: name.to_owned() },
        None => Place::File(path.to_owned()),
    }
}

/// [`load`] from text: the file's, and any variables.
pub fn layer(
    path: &Path,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> (Config, Vec<ConfigError>) {
    let mut problems = Vec::new();
    let mut table = match toml::from_str::<Config>(text) {
        Ok(_) => toml::from_str(text).unwrap_or_default(),
        Err(error) => {
            problems.push(in_file(path, text, &error));
            toml::Table::new()
        }
    };
    for (name, value) in variables {
        let key = name.strip_prefix("TINTYPE_").map(str::to_ascii_lowercase);
        if let Some(key) = key.filter(|key| keys().any(|known| known == *key) && !value.is_empty()) {
            match read(&key, &value) {
                Ok(value) => drop(table.insert(key, value)),
                Err(message) => problems.push(ConfigError { place: Place::Variable(name), message }),
            }
        }
    }
    // Every value was read as what it should be, so together they are a whole.
    let config = table.try_into().unwrap_or_default();
    (config, problems)
}

/// The keys that are one value: all but `defaults`.
pub fn keys() -> impl Iterator<Item = String> {
    let table = toml::Table::try_from(Config::default()).unwrap_or_default();
    table.into_iter().map(|(key, _)| key).filter(|key| key != "defaults")
}

/// A value as a variable has it: as TOML if that fits (`true`, `16`, `{ dark = … }`), else as text.
fn read(key: &str, value: &str) -> Result<toml::Value, String> {
    let as_toml =
        toml::from_str::<toml::Table>(&format!("{key} = {value}")).ok().and_then(|mut t| t.remove(key));
    let as_text = toml::Value::String(value.to_owned());
    let mut message = String::new();
    for candidate in as_toml.into_iter().chain([as_text]) {
        let table = toml::Table::from_iter([(key.to_owned(), candidate.clone())]);
        match table.try_into::<Config>() {
            Ok(_) => return Ok(candidate),
            Err(error) => error.message().clone_into(&mut message),
        }
    }
    Err(message)
}

fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text[..at].matches('\n').count() + 1;
    let key =
        text.lines().nth(line - 1).and_then(|line| line.split_once('=')).map_or("", |(key, _)| key.trim());
    let message = unknown_key(error.message()).unwrap_or_else(|| error.message().to_owned());
    let place = Place::Line { path: path.to_owned(), line, key: key.to_owned() };
    ConfigError { place, message: format!("{message}; the file is left out until that is right") }
}

/// serde lists all keys; the nearest one is what helps.
fn unknown_key(message: &str) -> Option<String> {
    let key = message.strip_prefix("unknown field `")?.split('`').next()?;
    let near =
        keys().chain(["defaults".into()]).min_by_key(|known| strsim::damerau_levenshtein(known, key))?;
    Some(format!("there is no setting `{key}`; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, variables: &[(&str, &str)]) -> (Config, Vec<String>) {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (config, problems) = layer(Path::new("config.toml"), text, variables);
        (config, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_sample_is_complete_and_shows_the_defaults() {
        assert_eq!(of(SAMPLE, &[]), (Config::default(), vec![]));
        let live: String = SAMPLE
            .lines()
            .take_while(|line| *line != "[defaults]")
            .map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        assert_eq!(of(&live, &[]), (Config::default(), vec![]), "{live}");
        for key in keys() {
            assert!(SAMPLE.contains(&format!("\n#{key} = ")), "{key} is not in the sample");
        }
    }

    #[test]
    fn variables_win_over_the_file() {
        let text = "theme = \"nord\"\nimages = \"sixel\"\nconfirm_above = 4\nmemory_budget = \"12 GiB\"\n[defaults]\nsteps = 9\ncfg = 2.5\n";
        let variables = [
            ("TINTYPE_CONFIRM_ABOVE", "8"),
            ("TINTYPE_KEPT_STEPS_MIB", "0"),
            ("TINTYPE_MODEL", "org/1.5"),
            ("TINTYPE_HOME", "/x"),
            ("TINTYPE_IMAGES", ""),
            ("TINTYPE_ATTENTION_SLICING", "4"),
            ("TINTYPE_THEME", "{ dark = \"a\", light = \"b\" }"),
        ];
        let (config, problems) = of(text, &variables);
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.theme, ThemeChoice::ByBackground { dark: "a".into(), light: "b".into() });
        assert_eq!((config.confirm_above, config.model.as_str()), (8, "org/1.5"));
        assert_eq!(config.memory_budget, MemoryBudget::Bytes(12 << 30));
        assert_eq!((config.images, config.kept_steps_mib), (Images::Sixel, 0));
        assert_eq!(config.attention_slicing, AttentionSlicing::Heads(4));
        let defaults: Vec<_> = config.defaults.iter().map(|(key, value)| format!("{key} {value}")).collect();
        assert_eq!(defaults, ["cfg 2.5", "steps 9"]);
    }

    #[test]
    fn what_is_wrong_has_a_place_and_the_rest_holds() {
        let (config, problems) = of("model = \"m\"\nthmee = \"nord\"\n", &[("TINTYPE_DEVICE", "cpu")]);
        assert_eq!((config.model.as_str(), config.device), ("embedded", Device::Cpu));
        assert_eq!(
            problems,
            ["config.toml:2: thmee: there is no setting `thmee`; did you mean `theme`?; \
              the file is left out until that is right"]
        );
        let (_, problems) = of("\nedit_mode = \"nano\"\n", &[]);
        assert!(problems[0].starts_with("config.toml:2: edit_mode: unknown variant `nano`"), "{problems:?}");
        let (_, problems) = of("model = \"m\n", &[]);
        assert!(problems[0].starts_with("config.toml:1: model: "), "{problems:?}");
        let variables = [("TINTYPE_CONFIRM_ABOVE", "many"), ("TINTYPE_DTYPE", "f16")];
        let (config, problems) = of("", &variables);
        assert_eq!((config.confirm_above, config.dtype), (16, Dtype::F16));
        assert!(problems[0].starts_with("TINTYPE_CONFIRM_ABOVE: "), "{problems:?}");
        assert_eq!(problems.len(), 1);
    }

    #[test]
    fn a_setting_is_found_on_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "model = \"m\"\n[defaults]\n# steps = 3\nsteps = 0\n\"cfg\" = 900\n").unwrap();
        let line = |name| place_of(&path, name).to_string().rsplit_once('/').unwrap().1.to_owned();
        assert_eq!(line("defaults.steps"), "config.toml:4: steps");
        assert_eq!(line("defaults.cfg"), "config.toml:5: cfg");
        assert_eq!(line("model"), "config.toml:1: model");
        assert_eq!(line("defaults.model"), "config.toml");
    }

    #[test]
    fn a_file_that_is_not_there_is_an_empty_one_and_a_folder_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (_, problems) = load(&folder.path().join("config.toml"));
        assert_eq!(problems, []);
        let (_, problems) = load(folder.path());
        assert!(matches!(&problems[0].place, Place::File(_)), "{problems:?}");
    }
}
