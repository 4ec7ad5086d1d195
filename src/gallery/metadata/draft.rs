//! A request being filled from what another tool wrote.

use serde_json::{Map, Value};

use super::models;
use crate::request::{GenerateRequest, Seed};

/// What a foreign value means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Prompt,
    NegativePrompt,
    /// A repo's id, or a file name of a model that is known by it.
    Model,
    /// Any tool's name of a sampler.
    Scheduler,
    Steps,
    GuidanceScale,
    Eta,
    Seed,
    Width,
    Height,
    /// `512x768`.
    Size,
    Variation,
    VariationSeed,
    /// Layers that are left out: diffusers' and InvokeAI's count.
    ClipSkip,
    /// The layer to stop at, 1 being the last: A1111's and stable-diffusion.cpp's count.
    ClipStopLayer,
}

/// Most things that are listed as not understood, and most characters of each.
const MOST_LEFT: usize = 64;
const LONGEST_LEFT: usize = 200;

/// A request being filled, and what found no place in it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) request: GenerateRequest,
    pub(super) left: Vec<(String, String)>,
}

impl Draft {
    pub(super) fn from_request(request: GenerateRequest) -> Self {
        Self { request, left: Vec::new() }
    }

    /// Puts a value where it belongs, or among what found no place when it is out of range.
    pub(super) fn set(&mut self, field: Field, key: &str, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if self.try_set(field, text).is_none() {
            self.leave(key, text);
        }
    }

    /// The ranges are those of the settings: a request that a file says must be one that could be typed.
    fn try_set(&mut self, field: Field, text: &str) -> Option<()> {
        let request = &mut self.request;
        match field {
            Field::Prompt => text.clone_into(&mut request.prompt),
            Field::NegativePrompt => request.negative_prompt = Some(text.to_owned()),
            Field::Model => request.model = Some(models::known(text)?),
            Field::Scheduler => request.scheduler = Some(text.to_owned()),
            Field::Steps => request.steps = Some(whole(text, 1, 1000)?),
            Field::GuidanceScale => request.guidance_scale = Some(number(text, 100.0)?),
            Field::Eta => request.eta = Some(number(text, 1.0)?).filter(|eta| *eta > 0.0),
            Field::Seed => request.seed = Some(Seed::Fixed(text.parse().ok()?)),
            Field::Width => request.width = Some(side(text)?),
            Field::Height => request.height = Some(side(text)?),
            Field::Size => {
                let (width, height) = text.split_once(['x', 'X'])?;
                (request.width, request.height) = (Some(side(width)?), Some(side(height)?));
            }
            Field::Variation => request.variation = Some(number(text, 1.0)?).filter(|share| *share > 0.0),
            Field::ClipSkip => request.clip_skip = Some(whole(text, 0, 11)?).filter(|layers| *layers > 0),
            Field::VariationSeed => request.variation_seed = Some(text.parse().ok()?),
            // Below 1 it is the tool's word for "the model's default".
            Field::ClipStopLayer if text.starts_with('-') || text == "0" => {}
            Field::ClipStopLayer => {
                request.clip_skip = Some(whole(text, 1, 12)? - 1).filter(|layers| *layers > 0);
            }
        }
        Some(())
    }

    /// A sampler whose tool names the shape of the noise levels apart: k-diffusion's, `normal` being the model's own.
    pub(super) fn sampler(&mut self, name: &str, schedule: Option<&str>) {
        let name = name.strip_suffix("_gpu").unwrap_or(name);
        let shape = match schedule {
            Some(shape @ ("karras" | "exponential" | "beta")) => format!("_{shape}"),
            None | Some("normal" | "discrete" | "default") => String::new(),
            Some(other) => {
                self.leave("scheduler", other);
                String::new()
            }
        };
        self.set(Field::Scheduler, "sampler", &format!("{name}{shape}"));
    }

    /// Remembers something that has no counterpart here.
    pub(super) fn leave(&mut self, key: &str, text: &str) {
        let text = text.trim();
        if text.is_empty() || self.left.len() == MOST_LEFT {
            return;
        }
        let shorten = |text: &str| match text.char_indices().nth(LONGEST_LEFT) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        };
        self.left.push((shorten(key), shorten(text)));
    }

    /// As [`Draft::leave`], but for nothings: null, false, zero, empty text, list and object.
    pub(super) fn leave_value(&mut self, key: &str, value: &Value) {
        if !is_nothing(value) && self.left.len() < MOST_LEFT {
            self.leave(key, &text_of(value).unwrap_or_else(|| value.to_string()));
        }
    }
}

fn whole(text: &str, low: u32, high: u32) -> Option<u32> {
    // JSON writers of some languages know floats only.
    let digits = text.strip_suffix(".0").unwrap_or(text);
    digits.parse().ok().filter(|n| (low..=high).contains(n))
}

fn number(text: &str, high: f64) -> Option<f64> {
    text.parse().ok().filter(|n| (0.0..=high).contains(n))
}

fn side(text: &str) -> Option<u32> {
    whole(text.trim(), 64, 8192)
}

/// A JSON object whose keys are taken out one by one; what stays was not understood.
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// From JSON text; `None` when it is none, or nested deeper than serde's 128 levels.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start();
        // Not worth a parser's time for prose.
        if !text.starts_with('{') {
            return None;
        }
        serde_json::from_str(text).ok().map(Self)
    }

    pub(super) fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self(map)),
            _ => None,
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Takes a value as text: a string's content, or a number or truth value as JSON has it.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        text_of(self.0.get(key)?).inspect(|_| drop(self.0.shift_remove(key)))
    }

    /// Takes an object.
    pub(super) fn object(&mut self, key: &str) -> Option<Object> {
        match self.0.get_mut(key)? {
            Value::Object(map) => {
                let map = std::mem::take(map);
                self.0.shift_remove(key);
                Some(Self(map))
            }
            _ => None,
        }
    }

    /// Takes any value.
    pub(super) fn value(&mut self, key: &str) -> Option<Value> {
        self.0.shift_remove(key)
    }

    /// Takes values that say nothing about the picture.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.0.shift_remove(*key);
        }
    }

    /// Takes the first of some keys that is there into a field of the draft.
    pub(super) fn fill(&mut self, draft: &mut Draft, field: Field, keys: &[&str]) {
        for key in keys {
            if let Some(text) = self.text(key) {
                draft.set(field, key, &text);
                return;
            }
        }
    }

    /// Lists what was never taken.
    pub(super) fn leave_rest(self, draft: &mut Draft) {
        for (key, value) in self.0 {
            draft.leave_value(&key, &value);
        }
    }
}

pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}
