//! Reads a component's `config.json` and refuses what would be computed differently.
//!
//! Owns the rules for keys; knows no network. A config struct says what is implemented and what diffusers'
//! defaults are. Every other key of the file is weighed:
//!
//! - `_…` (class and version), and what the network lists as [`ModelConfig::INERT`], changes nothing;
//! - [`ModelConfig::UNIMPLEMENTED`] keys may only have the value that changes nothing;
//! - a key that nobody knows may only be `null` or `false`. diffusers would drop it with a warning; a picture that
//!   is quietly not what its checkpoint describes is the worse outcome.

use serde::de::{DeserializeOwned, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::diffusion::error::{DiffusionError, Result};

/// Keys of a config that its struct has no field for.
pub type Rest = Map<String, Value>;

/// A component's config: a struct with `#[serde(default, flatten)]` whose fields are what is implemented.
pub trait ModelConfig: DeserializeOwned {
    /// `_class_name`s that this config describes.
    const CLASSES: &'static [&'static str];
    /// Keys that never change what inference computes.
    const INERT: &'static [&'static str];
    /// Keys that do, not implemented, with the JSON of the only value that may stand there.
    const UNIMPLEMENTED: &'static [(&'static str, &'static str)];

    /// The keys that the struct has no field for.
    fn rest(&self) -> &Rest;

    /// Checks that the values fit each other.
    ///
    /// # Errors
    /// When they do not; names `file` and the key.
    fn check(&self, file: &str) -> Result<()>;
}

/// Parses `json`, the content of `file` (a path inside the checkpoint, for messages).
///
/// # Errors
/// When it is not JSON, has a value that is not implemented, or contradicts itself; names file, key and value.
pub fn parse<C: ModelConfig>(file: &str, json: &[u8]) -> Result<C> {
    let broken = |message: String| DiffusionError::Config { file: file.into(), message };
    let keys: Map<String, Value> = serde_json::from_slice(json)
        .map_err(|error| broken(format!("not a JSON object ({error}); download it again")))?;
    if let Some(class) = keys.get("_class_name").and_then(Value::as_str)
        && !C::CLASSES.contains(&class)
    {
        return Err(DiffusionError::unsupported(file, "_class_name", class, &C::CLASSES.join(", ")));
    }
    let config: C = serde_json::from_value(Value::Object(keys.clone())).map_err(|error| {
        broken(culprit::<C>(&keys).unwrap_or_else(|| format!("{error}; compare it with diffusers' own")))
    })?;
    for (key, value) in config.rest() {
        check_unread::<C>(file, key, value)?;
    }
    config.check(file)?;
    Ok(config)
}

/// What is wrong with the first key that cannot be read even alone: serde's message lacks its name.
fn culprit<C: ModelConfig>(keys: &Map<String, Value>) -> Option<String> {
    keys.iter().find_map(|(key, value)| {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        let error = serde_json::from_value::<C>(Value::Object(alone)).err()?;
        Some(format!("{key} = {value} is not implemented ({error})"))
    })
}

fn check_unread<C: ModelConfig>(file: &str, key: &str, value: &Value) -> Result<()> {
    if key.starts_with('_') || C::INERT.contains(&key) || matches!(value, Value::Null | Value::Bool(false)) {
        return Ok(());
    }
    let known = C::UNIMPLEMENTED.iter().find(|(name, _)| *name == key).map(|(_, only)| *only);
    let text = value.to_string();
    match known {
        Some(only) if only == text => Ok(()),
        Some(only) => Err(DiffusionError::unsupported(file, key, &text, only)),
        None => Err(DiffusionError::unsupported(file, key, &text, "no such key; null")),
    }
}

/// A number for all blocks, or one for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerBlock<T> {
    /// The same for every block.
    One(T),
    /// One for each block, in the order of `down_block_types`.
    Each(Vec<T>),
}

impl<T: Copy> PerBlock<T> {
    /// The value of each of `blocks` blocks.
    ///
    /// # Errors
    /// When there is a list of another length; names `file` and `key`.
    pub fn expand(&self, blocks: usize, file: &str, key: &str) -> Result<Vec<T>> {
        match self {
            Self::One(value) => Ok(vec![*value; blocks]),
            Self::Each(values) if values.len() == blocks => Ok(values.clone()),
            Self::Each(values) => Err(DiffusionError::Config {
                file: file.into(),
                message: format!("{key} has {} values for {blocks} blocks", values.len()),
            }),
        }
    }
}

/// A side length, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SampleSize {
    /// Square.
    Square(usize),
    /// `[height, width]`.
    Sides([usize; 2]),
}

impl SampleSize {
    /// Rows.
    pub fn height(self) -> usize {
        match self {
            Self::Square(side) | Self::Sides([side, _]) => side,
        }
    }

    /// Columns.
    pub fn width(self) -> usize {
        match self {
            Self::Square(side) | Self::Sides([_, side]) => side,
        }
    }
}

/// Python's truth: `null` is false.
pub(super) fn truthy<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(false))
}
