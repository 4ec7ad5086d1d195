//! The `parameters` text of A1111's web UI: what nearly every other tool reads and writes.
//!
//! Written in the order and with the quoting of its `create_infotext` (`modules/processing.py`, 1.10); read as its
//! `parse_generation_parameters` (`modules/infotext_utils.py`) reads it. In PNGs it is the text `parameters`, in
//! JPEG and WebP files the EXIF user comment.

use std::borrow::Cow;

use super::Texts;
use super::draft::{Draft, Field};
use crate::request::{GenerateParams, Recipe};

/// The keyword in PNG files.
pub const KEYWORD: &str = "parameters";

/// Our schedulers, A1111's samplers, and the schedule that its `Automatic` means for each.
const SAMPLERS: &[(&str, &str, Schedule)] = &[
    ("ddim", "DDIM", Schedule::Plain),
    ("ddpm", "DDPM", Schedule::Plain),
    ("pndm", "PLMS", Schedule::Plain),
    ("euler", "Euler", Schedule::Plain),
    ("euler_ancestral", "Euler a", Schedule::Plain),
    ("heun", "Heun", Schedule::Plain),
    ("lms", "LMS", Schedule::Plain),
    ("dpmpp_2m", "DPM++ 2M", Schedule::Karras),
    ("dpmpp_2m_sde", "DPM++ 2M SDE", Schedule::Exponential),
    ("dpmpp_sde", "DPM++ SDE", Schedule::Karras),
    ("unipc", "UniPC", Schedule::Plain),
    ("lcm", "LCM", Schedule::Plain),
    ("tcd", "TCD", Schedule::Plain),
    ("flow_match_euler", "Euler", Schedule::Plain),
];

/// How the noise levels lie: A1111's schedule types that have a counterpart here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Schedule {
    /// The model's own, evenly spaced timesteps.
    Plain,
    Karras,
    Exponential,
    Beta,
}

impl Schedule {
    const SHAPED: [Self; 3] = [Self::Karras, Self::Exponential, Self::Beta];

    /// A1111's word.
    fn title(self) -> &'static str {
        match self {
            Self::Plain => "Uniform",
            Self::Karras => "Karras",
            Self::Exponential => "Exponential",
            Self::Beta => "Beta",
        }
    }

    /// What follows a scheduler's name in ours: `_karras`.
    fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Karras => "_karras",
            Self::Exponential => "_exponential",
            Self::Beta => "_beta",
        }
    }
}

/// The text for a recipe.
pub fn write(recipe: &Recipe) -> String {
    let params = &recipe.params;
    let mut text = params.prompt.clone();
    // The format has no place for an empty one: it reads as none.
    if let Some(negative) = params.negative_prompt.as_ref().filter(|text| !text.is_empty()) {
        text.push_str("\nNegative prompt: ");
        text.push_str(negative);
    }
    let pairs: Vec<String> =
        settings(recipe).into_iter().map(|(key, value)| format!("{key}: {}", quoted(&value))).collect();
    text.push('\n');
    text.push_str(&pairs.join(", "));
    text.trim().to_owned()
}

/// The settings in A1111's order.
fn settings(recipe: &Recipe) -> Vec<(&'static str, String)> {
    let params = &recipe.params;
    let (sampler, schedule) = sampler_of(&params.scheduler);
    let mut pairs = vec![
        ("Steps", params.steps.to_string()),
        ("Sampler", sampler.to_owned()),
        ("Schedule type", schedule.to_owned()),
        ("CFG scale", params.guidance_scale.to_string()),
        ("Seed", params.seed.to_string()),
        ("Size", format!("{}x{}", params.size.width, params.size.height)),
        ("Model", model_name(params)),
    ];
    if let Some(variation) = params.variation {
        pairs.push((
            "Variation seed",
            params.variation_seed.unwrap_or(params.seed.wrapping_add(1)).to_string(),
        ));
        pairs.push(("Variation seed strength", variation.to_string()));
    }
    if let Some(strength) = params.strength {
        pairs.push(("Denoising strength", strength.to_string()));
    }
    if params.clip_skip > 0 {
        // A1111 counts the layer that it stops at: 1 is the last one.
        pairs.push(("Clip skip", (params.clip_skip + 1).to_string()));
    }
    // The noise is torch's CPU generator's, whatever the device.
    pairs.push(("RNG", "CPU".to_owned()));
    if params.eta > 0.0 {
        pairs.push((if sampler == "DDIM" { "Eta DDIM" } else { "Eta" }, params.eta.to_string()));
    }
    pairs.push(("Version", format!("tintype {}", recipe.version)));
    pairs
}

/// A1111's sampler and schedule type for one of our scheduler names.
fn sampler_of(scheduler: &str) -> (&str, &'static str) {
    let shaped =
        Schedule::SHAPED.into_iter().find_map(|kind| Some((scheduler.strip_suffix(kind.suffix())?, kind)));
    let (name, schedule) = shaped.unwrap_or((scheduler, Schedule::Plain));
    match SAMPLERS.iter().find(|row| row.0 == name) {
        Some((_, sampler, automatic)) if schedule == Schedule::Plain && *automatic == Schedule::Plain => {
            (sampler, "Automatic")
        }
        Some((_, sampler, _)) => (sampler, schedule.title()),
        None => (scheduler, "Automatic"),
    }
}

/// A repo's id as it is; of a file or folder, its name alone, as A1111 has it.
fn model_name(params: &GenerateParams) -> String {
    let model = &params.model;
    if model.starts_with(['/', '.', '~', '\\']) {
        let name = model.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(model);
        return name.strip_suffix(".safetensors").unwrap_or(name).to_owned();
    }
    model.clone()
}

/// A value with a comma, a colon or a line break stands as a JSON string.
fn quoted(value: &str) -> Cow<'_, str> {
    if value.contains([',', ':', '\n']) {
        Cow::Owned(serde_json::Value::from(value).to_string())
    } else {
        Cow::Borrowed(value)
    }
}

/// Reads the text, if a file has one.
pub(super) fn read(texts: &Texts) -> Option<Draft> {
    let text = texts.get(KEYWORD).or_else(|| texts.get(Texts::USER_COMMENT))?;
    let infotext = Infotext::parse(text)?;
    let mut draft = Draft::default();
    infotext.fill(&mut draft, |draft, sampler| infotext.scheduler(draft, sampler));
    Some(draft)
}

/// Reads a text like it, of a tool that names samplers in its own way.
pub(super) fn read_text(text: &str, sampler: impl Fn(&mut Draft, &str)) -> Option<Draft> {
    let mut draft = Draft::default();
    Infotext::parse(text)?.fill(&mut draft, sampler);
    Some(draft)
}

/// A `parameters` text, taken apart.
struct Infotext {
    prompt: String,
    negative_prompt: String,
    pairs: Vec<(String, String)>,
}

impl Infotext {
    /// Takes a text apart; `None` when it does not end in a line of settings, which makes it any text at all.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (head, last) = text.rsplit_once('\n').unwrap_or(("", text));
        let pairs = pairs(last);
        if pairs.len() < 3 || !pairs.iter().any(|(key, _)| key == "Steps") {
            return None;
        }
        let mut parts = [Vec::new(), Vec::new()];
        let mut part = 0;
        for line in head.lines().map(str::trim) {
            let negative = line.strip_prefix("Negative prompt:");
            part = if negative.is_some() { 1 } else { part };
            parts[part].push(negative.map_or(line, str::trim));
        }
        let [prompt, negative_prompt] = parts.map(|lines| lines.join("\n").trim().to_owned());
        Some(Self { prompt, negative_prompt, pairs })
    }

    /// The value of a key.
    fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().find(|pair| pair.0 == key).map(|pair| pair.1.as_str())
    }

    fn fill(&self, draft: &mut Draft, sampler: impl Fn(&mut Draft, &str)) {
        draft.set(Field::Prompt, "prompt", &self.prompt);
        draft.set(Field::NegativePrompt, "negative prompt", &self.negative_prompt);
        for (key, value) in &self.pairs {
            match key.as_str() {
                "Steps" => draft.set(Field::Steps, key, value),
                "Sampler" => sampler(draft, value),
                "CFG scale" => draft.set(Field::GuidanceScale, key, value),
                "Seed" => draft.set(Field::Seed, key, value),
                "Size" => draft.set(Field::Size, key, value),
                "Model" => draft.set(Field::Model, key, value),
                "Variation seed strength" => draft.set(Field::Variation, key, value),
                "Clip skip" => draft.set(Field::ClipStopLayer, key, value),
                "Eta" | "Eta DDIM" => draft.set(Field::Eta, key, value),
                // Said with the sampler; what we do anyway; who wrote it.
                "Schedule type" | "Version" => {}
                "RNG" if value == "CPU" => {}
                "Variation seed" => draft.set(Field::VariationSeed, key, value),
                _ => draft.leave(key, value),
            }
        }
    }

    fn scheduler(&self, draft: &mut Draft, sampler: &str) {
        let automatic = || {
            let row = SAMPLERS.iter().find(|row| row.1 == sampler);
            row.map_or(Schedule::Plain, |row| row.2)
        };
        let schedule = match self.get("Schedule type") {
            // Before 1.9 the sampler's name said all.
            None => Schedule::Plain,
            Some("Automatic") => automatic(),
            Some(title) => {
                let known = Schedule::SHAPED.into_iter().find(|kind| kind.title() == title);
                if known.is_none() && title != Schedule::Plain.title() {
                    draft.leave("Schedule type", title);
                }
                known.unwrap_or(Schedule::Plain)
            }
        };
        draft.set(Field::Scheduler, "Sampler", &format!("{sampler}{}", schedule.suffix()));
    }
}

/// Every match of `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)` in the line, quotes taken off.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        rest = rest.trim_start();
        let key_end = rest.find(|c: char| !is_key(c)).unwrap_or(rest.len());
        let (key, after) = rest.split_at(key_end);
        // Every later start within this run of characters would end at the same place.
        let begin = key.find(|c: char| c.is_alphanumeric() || c == '_');
        let key = begin.map_or("", |begin| &key[begin..]);
        let Some(after) = after.strip_prefix(':').filter(|_| key.chars().count() >= 2) else {
            let mut chars = after.chars();
            chars.next();
            rest = chars.as_str();
            continue;
        };
        let (value, after) = value(after.trim_start());
        pairs.push((key.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    pairs
}

fn is_key(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ' ' | '-' | '/')
}

/// A value and what follows it, from the comma on.
fn value(text: &str) -> (String, &str) {
    if let Some(end) = quote_end(text) {
        let after = text[end..].trim_start();
        if after.is_empty() || after.starts_with(',') {
            let quoted = &text[..end];
            return (serde_json::from_str(quoted).unwrap_or_else(|_| quoted.to_owned()), after);
        }
    }
    let end = text.find(',').unwrap_or(text.len());
    (text[..end].trim_end().to_owned(), &text[end..])
}

/// Where the quote that `text` begins with is closed, the closing mark included.
fn quote_end(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' if at > 0 => return Some(at + 2),
            '"' => return None,
            _ => {}
        }
    }
    None
}
