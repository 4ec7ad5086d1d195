//! The table of settings: everything a person can decide about a picture, once.
//!
//! A row is a field of [`GenerateRequest`] with its names, its kind of value and its help. The switches of the
//! prompt line and of `tintype generate`, `/set`, `/show`, completion, help and the documentation read the row.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::request::{GenerateRequest, ImageSize, Seed};

/// One thing that can be decided about a picture.
pub struct Setting {
    /// The name, and with `--` before it the long switch.
    pub name: &'static str,
    /// One-letter switches. A letter that two settings share means the first row that takes the word after it.
    pub shorts: &'static [char],
    /// Other names, good as long switches and in `/set`.
    pub aliases: &'static [&'static str],
    /// What values look like, and the field that they fill.
    pub kind: Kind,
    /// Whether it can hold for a whole session (`/set`), or only for one line.
    pub sticky: bool,
    /// One line of help.
    pub help: &'static str,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

type Field<T> = fn(&mut GenerateRequest) -> &mut Option<T>;

/// What a setting's values look like, and the field that they fill.
pub enum Kind {
    /// A whole number.
    Count(RangeInclusive<u32>, Field<u32>),
    /// A finite number.
    Number(RangeInclusive<f64>, Field<f64>),
    /// Free text.
    Text(Field<String>),
    /// A word out of a list that the session knows.
    Name(Names, Field<String>),
    /// A picture: a file or a reference such as `$12`.
    Picture(Field<String>),
    /// A file to write.
    File(Field<PathBuf>),
    /// The seed.
    Seed,
    /// Another seed, a plain number.
    OtherSeed(Field<u64>),
    /// Width and height in one word, `768x512`.
    Size,
    /// Yes or no; as a switch, yes.
    Flag(Field<bool>),
}

/// Which list a name is looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Models in the cache and folders.
    Models,
    /// Schedulers.
    Schedulers,
    /// No list: a branch or a file variant.
    Unlisted,
}

/// Why a value does not fit a setting: one line that says what to type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not of the right kind.
    #[error("{name} takes {expected}, not `{got}`")]
    Kind {
        /// The setting.
        name: &'static str,
        /// What it takes, with an example.
        expected: String,
        /// What was typed.
        got: String,
    },
    /// Of the right kind but too small or too large.
    #[error("{name} goes from {low} to {high}, not `{got}`")]
    Range {
        /// The setting.
        name: &'static str,
        /// Smallest value.
        low: String,
        /// Largest value.
        high: String,
        /// What was typed.
        got: String,
    },
    /// A range that does not go from small to large.
    #[error("`{got}` is no range for {name}; type it as low..high or low..high:step, such as 10..30:10")]
    NotARange {
        /// The setting.
        name: &'static str,
        /// What was typed.
        got: String,
    },
    /// A list or range of too many values.
    #[error("`{got}` is more than {most} values for {name}; type a shorter range or a larger step")]
    TooMany {
        /// The setting.
        name: &'static str,
        /// Most values.
        most: usize,
        /// What was typed.
        got: String,
    },
    /// Nothing to draw.
    #[error("the prompt is empty; type what the picture should show")]
    EmptyPrompt,
}

/// Largest width or height that is taken for a size.
pub const MAX_SIDE: u32 = 8192;
/// Smallest width or height that is taken for a size; less is part of a prompt (`a 24x36 poster`).
pub const MIN_SIDE: u32 = 64;

/// The settings, in the order of help and `/show`.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "model",
        shorts: &['m'],
        aliases: &[],
        kind: Kind::Name(Names::Models, |r| &mut r.model),
        sticky: true,
        help: "model: a repo on the Hub, a folder in diffusers layout, a single file, or `embedded`",
    },
    Setting {
        name: "revision",
        shorts: &[],
        aliases: &[],
        kind: Kind::Name(Names::Unlisted, |r| &mut r.revision),
        sticky: true,
        help: "branch, tag or commit of the model's repo",
    },
    Setting {
        name: "variant",
        shorts: &[],
        aliases: &[],
        kind: Kind::Name(Names::Unlisted, |r| &mut r.variant),
        sticky: true,
        help: "file variant of the weights, such as fp16",
    },
    Setting {
        name: "scheduler",
        shorts: &['A'],
        aliases: &["sampler"],
        kind: Kind::Name(Names::Schedulers, |r| &mut r.scheduler),
        sticky: true,
        help: "scheduler, also called sampler",
    },
    Setting {
        name: "steps",
        shorts: &['s'],
        aliases: &["num-inference-steps"],
        kind: Kind::Count(1..=1000, |r| &mut r.steps),
        sticky: true,
        help: "denoising steps",
    },
    Setting {
        name: "guidance-scale",
        shorts: &['C', 'g'],
        aliases: &["cfg-scale", "cfg", "guidance"],
        kind: Kind::Number(0.0..=100.0, |r| &mut r.guidance_scale),
        sticky: true,
        help: "classifier-free guidance; 1 and below switch it off (`-g 7.5` is guidance, a bare `-g` is the grid)",
    },
    Setting {
        name: "num-images",
        shorts: &['n'],
        aliases: &["iterations"],
        kind: Kind::Count(1..=999, |r| &mut r.num_images),
        sticky: true,
        help: "pictures to make, seed after seed (`-n 4`; `-n` with words is the negative prompt)",
    },
    Setting {
        name: "negative-prompt",
        shorts: &['n'],
        aliases: &["negative", "neg"],
        kind: Kind::Text(|r| &mut r.negative_prompt),
        sticky: true,
        help: "what the picture should not show (`-n blurry`; `-n` with a bare whole number is the count)",
    },
    Setting {
        name: "seed",
        shorts: &['S'],
        aliases: &[],
        kind: Kind::Seed,
        sticky: true,
        help: "seed of the noise: a number, `random`, or -1 for that of the last picture, -2 of the one before",
    },
    Setting {
        name: "size",
        shorts: &[],
        aliases: &[],
        kind: Kind::Size,
        sticky: true,
        help: "width and height; a bare `768x512` at the end of the line says the same",
    },
    Setting {
        name: "width",
        shorts: &['W'],
        aliases: &["w"],
        kind: Kind::Count(MIN_SIDE..=MAX_SIDE, |r| &mut r.width),
        sticky: true,
        help: "pixels from left to right",
    },
    Setting {
        name: "height",
        shorts: &['H'],
        aliases: &["h"],
        kind: Kind::Count(MIN_SIDE..=MAX_SIDE, |r| &mut r.height),
        sticky: true,
        help: "pixels from top to bottom",
    },
    Setting {
        name: "eta",
        shorts: &[],
        aliases: &["ddim-eta"],
        kind: Kind::Number(0.0..=1.0, |r| &mut r.eta),
        sticky: true,
        help: "DDIM's eta: 0 is deterministic, 1 is DDPM",
    },
    Setting {
        name: "clip-skip",
        shorts: &[],
        aliases: &[],
        kind: Kind::Count(0..=11, |r| &mut r.clip_skip),
        sticky: true,
        help: "layers of the text encoder that are left out, counted from the last",
    },
    Setting {
        name: "image",
        shorts: &['I'],
        aliases: &["init-img", "init-image"],
        kind: Kind::Picture(|r| &mut r.image),
        sticky: false,
        help: "picture to start from: a file, `$` for the last picture, `$12`, `$@name`",
    },
    Setting {
        name: "strength",
        shorts: &['f'],
        aliases: &[],
        kind: Kind::Number(0.0..=1.0, |r| &mut r.strength),
        sticky: true,
        help: "how much of the starting picture is replaced, 0 to 1",
    },
    Setting {
        name: "variation",
        shorts: &['v'],
        aliases: &["variation-amount"],
        kind: Kind::Number(0.0..=1.0, |r| &mut r.variation),
        sticky: false,
        help: "share of another seed's noise that is mixed in, 0 to 1",
    },
    Setting {
        name: "variation-seed",
        shorts: &[],
        aliases: &[],
        kind: Kind::OtherSeed(|r| &mut r.variation_seed),
        sticky: false,
        help: "that other seed; the next one if left open",
    },
    Setting {
        name: "stop-after",
        shorts: &[],
        aliases: &[],
        kind: Kind::Count(1..=2000, |r| &mut r.stop_after),
        sticky: false,
        help: "take the picture after so many of its steps, as the model expects it to become",
    },
    Setting {
        name: "deep-cache",
        shorts: &[],
        aliases: &["cache-interval"],
        kind: Kind::Count(1..=20, |r| &mut r.deep_cache),
        sticky: true,
        help: "an approximation: compute the UNet's deep blocks only every so many steps (DeepCache); 1 is always",
    },
    Setting {
        name: "cfg-until",
        shorts: &[],
        aliases: &[],
        kind: Kind::Number(0.0..=1.0, |r| &mut r.cfg_until),
        sticky: true,
        help: "an approximation: guide only this share of the steps, from the first; 1 is all of them",
    },
    Setting {
        name: "grid",
        shorts: &['g'],
        aliases: &[],
        kind: Kind::Flag(|r| &mut r.grid),
        sticky: true,
        help: "also make one contact sheet of all pictures of the line",
    },
    Setting {
        name: "output",
        shorts: &['o'],
        aliases: &["out"],
        kind: Kind::File(|r| &mut r.output),
        sticky: false,
        help: "file to write; `-` is standard output",
    },
];

/// The setting with this name or alias; case and `_` for `-` do not matter.
pub fn find(name: &str) -> Option<&'static Setting> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    SETTINGS.iter().find(|s| s.name == name || s.aliases.contains(&name.as_str()))
}

/// Checks everything that no model is needed for: an empty prompt, NaN, values out of range.
///
/// # Errors
/// The first value that cannot be, as one line that says what to type instead.
pub fn validate(request: &GenerateRequest) -> Result<(), ValueError> {
    if request.prompt.trim().is_empty() {
        return Err(ValueError::EmptyPrompt);
    }
    SETTINGS.iter().try_for_each(|setting| match setting.get(request) {
        Some(text) if !matches!(setting.kind, Kind::Size) => setting.check(&text),
        _ => Ok(()),
    })
}

/// Fills what `request` leaves open from `defaults`; what was typed wins.
pub fn merge(request: &GenerateRequest, defaults: &GenerateRequest) -> GenerateRequest {
    let mut merged = request.clone();
    for setting in SETTINGS.iter().filter(|s| !matches!(s.kind, Kind::Size)) {
        setting.copy_if_open(defaults, &mut merged);
    }
    merged
}

/// A request with these settings, as the configuration's `[defaults]` gives them, and what is wrong with them: the
/// name, and why.
pub fn from_pairs<'a>(
    pairs: impl IntoIterator<Item = (&'a str, String)>,
) -> (GenerateRequest, Vec<(String, String)>) {
    let mut request = GenerateRequest::default();
    let mut problems = Vec::new();
    for (name, value) in pairs {
        let problem = match find(name).filter(|setting| setting.sticky) {
            // Nothing is the model's to say, as in `/set`.
            Some(_) if value.trim().is_empty() => None,
            Some(setting) => setting.set(&mut request, &value).err().map(|error| error.to_string()),
            None => Some(format!("there is no default `{name}`; /show lists them")),
        };
        problems.extend(problem.map(|problem| (name.to_owned(), problem)));
    }
    (request, problems)
}

impl Setting {
    /// Sets the value from text.
    ///
    /// # Errors
    /// When the text is no value of this setting.
    pub fn set(&self, request: &mut GenerateRequest, text: &str) -> Result<(), ValueError> {
        match &self.kind {
            Kind::Count(range, field) => *field(request) = Some(self.count(text, range)?),
            Kind::Number(range, field) => *field(request) = Some(self.number(text, range)?),
            Kind::Name(_, field) | Kind::Picture(field) => *field(request) = Some(self.word(text)?),
            Kind::Text(field) => *field(request) = Some(text.trim().to_owned()),
            Kind::File(field) => *field(request) = Some(PathBuf::from(self.word(text)?)),
            Kind::Seed => request.seed = Some(parse_seed(text).ok_or_else(|| self.wrong_kind(text))?),
            Kind::OtherSeed(field) => {
                *field(request) = Some(text.trim().parse().map_err(|_| self.wrong_kind(text))?);
            }
            Kind::Flag(field) => *field(request) = Some(self.flag(text)?),
            Kind::Size => {
                let size = parse_size(text).ok_or_else(|| self.wrong_kind(text))?;
                request.width = Some(size.width);
                request.height = Some(size.height);
            }
        }
        Ok(())
    }

    /// Whether the text is a value of this setting.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, text: &str) -> Result<(), ValueError> {
        self.set(&mut GenerateRequest::default(), text)
    }

    /// The value as text that [`Setting::set`] takes, or `None` when it is left open.
    pub fn get(&self, request: &GenerateRequest) -> Option<String> {
        // The accessors are `&mut`, so that one function a row serves get, set, clear and merge.
        let mut request = request.clone();
        match &self.kind {
            Kind::Count(_, field) => field(&mut request).map(|n| n.to_string()),
            Kind::Number(_, field) => field(&mut request).map(|n| n.to_string()),
            Kind::OtherSeed(field) => field(&mut request).map(|n| n.to_string()),
            Kind::Text(field) | Kind::Name(_, field) | Kind::Picture(field) => field(&mut request).take(),
            Kind::File(field) => field(&mut request).take().map(|path| path.display().to_string()),
            Kind::Flag(field) => field(&mut request).map(|yes| if yes { "on" } else { "off" }.to_owned()),
            Kind::Seed => request.seed.map(|seed| match seed {
                Seed::Fixed(n) => n.to_string(),
                Seed::Previous(n) => format!("-{n}"),
                Seed::Random => "random".to_owned(),
            }),
            Kind::Size => Some(format!("{}x{}", request.width?, request.height?)),
        }
    }

    /// Leaves the value open again.
    pub fn clear(&self, request: &mut GenerateRequest) {
        match &self.kind {
            Kind::Count(_, field) => *field(request) = None,
            Kind::Number(_, field) => *field(request) = None,
            Kind::OtherSeed(field) => *field(request) = None,
            Kind::Text(field) | Kind::Name(_, field) | Kind::Picture(field) => *field(request) = None,
            Kind::File(field) => *field(request) = None,
            Kind::Flag(field) => *field(request) = None,
            Kind::Seed => request.seed = None,
            Kind::Size => (request.width, request.height) = (None, None),
        }
    }

    fn copy_if_open(&self, from: &GenerateRequest, to: &mut GenerateRequest) {
        if self.get(to).is_none()
            && let Some(text) = self.get(from)
        {
            // What `get` returned, `set` takes; a value that was out of range stays out, for `validate` to tell.
            let _ = self.set(to, &text);
        }
    }

    /// What a value is called in usage lines: `--steps N`. `None` for a switch without one.
    pub fn placeholder(&self) -> Option<&'static str> {
        Some(match &self.kind {
            Kind::Count(..) => "N",
            Kind::Number(..) => "X",
            Kind::Text(_) => "TEXT",
            Kind::Name(..) => "NAME",
            Kind::Picture(_) => "PICTURE",
            Kind::File(_) => "FILE",
            Kind::Seed | Kind::OtherSeed(_) => "SEED",
            Kind::Size => "WxH",
            Kind::Flag(_) => return None,
        })
    }

    /// Whether a list or range of values makes a sweep: `--steps 10..30:10`, `--scheduler ddim,euler`.
    pub fn sweeps(&self) -> bool {
        match self.kind {
            Kind::Count(..) => self.name != "num-images",
            Kind::Number(..) | Kind::Name(..) | Kind::Seed | Kind::OtherSeed(_) | Kind::Size => true,
            Kind::Text(_) | Kind::Picture(_) | Kind::File(_) | Kind::Flag(_) => false,
        }
    }

    fn wrong_kind(&self, got: &str) -> ValueError {
        ValueError::Kind { name: self.name, expected: self.expected(), got: got.to_owned() }
    }

    /// What a value looks like, for messages.
    pub fn expected(&self) -> String {
        match &self.kind {
            Kind::Count(range, _) => format!("a whole number from {} to {}", range.start(), range.end()),
            Kind::Number(range, _) => format!("a number from {} to {}", range.start(), range.end()),
            Kind::Text(_) => "text".into(),
            Kind::Name(..) => "a name".into(),
            Kind::Picture(_) => "a file or a picture such as $ or $12".into(),
            Kind::File(_) => "a file name".into(),
            Kind::Seed => "a number, `random`, or -1 for the last seed".into(),
            Kind::OtherSeed(_) => "a number".into(),
            Kind::Size => format!("a size such as 768x512, each side from {MIN_SIDE} to {MAX_SIDE}"),
            Kind::Flag(_) => "on or off".into(),
        }
    }

    fn word(&self, text: &str) -> Result<String, ValueError> {
        let text = text.trim();
        if text.is_empty() { Err(self.wrong_kind(text)) } else { Ok(text.to_owned()) }
    }

    fn flag(&self, text: &str) -> Result<bool, ValueError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "on" | "yes" | "true" | "1" => Ok(true),
            "off" | "no" | "false" | "0" => Ok(false),
            _ => Err(self.wrong_kind(text)),
        }
    }

    fn count(&self, text: &str, range: &RangeInclusive<u32>) -> Result<u32, ValueError> {
        // Parsed wider than stored, so that 5000000000 is told to be too large and not to be no number.
        let n: i128 = text.trim().parse().map_err(|_| self.wrong_kind(text))?;
        u32::try_from(n).ok().filter(|n| range.contains(n)).ok_or_else(|| self.out_of(range, text))
    }

    fn number(&self, text: &str, range: &RangeInclusive<f64>) -> Result<f64, ValueError> {
        let n: f64 = text.trim().parse().map_err(|_| self.wrong_kind(text))?;
        if n.is_nan() {
            return Err(self.wrong_kind(text));
        }
        if range.contains(&n) { Ok(n) } else { Err(self.out_of(range, text)) }
    }

    fn out_of<T: fmt::Display>(&self, range: &RangeInclusive<T>, got: &str) -> ValueError {
        ValueError::Range {
            name: self.name,
            low: range.start().to_string(),
            high: range.end().to_string(),
            got: got.to_owned(),
        }
    }
}

/// `768x512` (or `768×512`, `768X512`), when both sides are plausible.
pub fn parse_size(text: &str) -> Option<ImageSize> {
    let (width, height) = text.trim().split_once(['x', 'X', '×'])?;
    let side = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|side| digits && (MIN_SIDE..=MAX_SIDE).contains(side))
    };
    Some(ImageSize::new(side(width)?, side(height)?))
}

/// A number, `random`, or `-1` for the last seed, `-2` for the one before.
pub fn parse_seed(text: &str) -> Option<Seed> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("random") {
        return Some(Seed::Random);
    }
    match text.strip_prefix('-') {
        Some(back) => back.parse().ok().filter(|n| *n > 0).map(Seed::Previous),
        None => text.parse().ok().map(Seed::Fixed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_unique_and_switch_like() {
        let mut seen = std::collections::BTreeSet::new();
        for setting in SETTINGS {
            for name in std::iter::once(&setting.name).chain(setting.aliases) {
                assert!(seen.insert(*name), "{name} twice");
                assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
                assert_eq!(find(name).map(|s| s.name), Some(setting.name));
            }
            assert!(!setting.help.is_empty() && !setting.help.ends_with('.'), "{}", setting.name);
        }
    }

    #[test]
    fn every_value_survives_get_and_set_and_clears() {
        let examples = [
            ("model", "org/name"),
            ("revision", "main"),
            ("variant", "fp16"),
            ("scheduler", "ddim"),
            ("steps", "20"),
            ("guidance-scale", "7.5"),
            ("num-images", "4"),
            ("negative-prompt", "blurry, ugly"),
            ("seed", "18446744073709551615"),
            ("size", "768x512"),
            ("width", "640"),
            ("height", "512"),
            ("eta", "0.5"),
            ("clip-skip", "2"),
            ("image", "$12"),
            ("strength", "0.75"),
            ("variation", "0.1"),
            ("variation-seed", "7"),
            ("stop-after", "9"),
            ("deep-cache", "3"),
            ("cfg-until", "0.5"),
            ("grid", "on"),
            ("output", "a b.png"),
        ];
        assert_eq!(examples.map(|e| e.0).to_vec(), SETTINGS.iter().map(|s| s.name).collect::<Vec<_>>());
        for (name, text) in examples {
            let setting = find(name).unwrap();
            let mut request = GenerateRequest::default();
            setting.set(&mut request, text).unwrap();
            assert_eq!(setting.get(&request).as_deref(), Some(text));
            let defaults = request.clone();
            assert_eq!(merge(&GenerateRequest::default(), &defaults), defaults, "{name} is merged");
            setting.clear(&mut request);
            assert_eq!(request, GenerateRequest::default(), "{name} clears");
        }
    }

    #[test]
    fn wrong_values_say_what_to_type() {
        let message = |name: &str, text: &str| find(name).unwrap().check(text).unwrap_err().to_string();
        assert_eq!(message("steps", "0"), "steps goes from 1 to 1000, not `0`");
        assert_eq!(message("steps", "5000000000"), "steps goes from 1 to 1000, not `5000000000`");
        assert_eq!(message("steps", "2.5"), "steps takes a whole number from 1 to 1000, not `2.5`");
        assert_eq!(message("cfg", "NaN"), "guidance-scale takes a number from 0 to 100, not `NaN`");
        assert_eq!(message("cfg", "inf"), "guidance-scale goes from 0 to 100, not `inf`");
        assert_eq!(
            message("size", "12x12"),
            "size takes a size such as 768x512, each side from 64 to 8192, not `12x12`"
        );
        assert_eq!(message("seed", "-0"), "seed takes a number, `random`, or -1 for the last seed, not `-0`");
    }

    #[test]
    fn defaults_of_the_configuration() {
        let pairs = [("cfg", "2.5"), ("steps", "0"), ("image", "x.png"), ("size", "640x512")];
        let (request, problems) = from_pairs(pairs.map(|(name, value)| (name, value.to_owned())));
        assert_eq!((request.guidance_scale, request.steps, request.width), (Some(2.5), None, Some(640)));
        let expected = [
            ("steps", "steps goes from 1 to 1000, not `0`"),
            ("image", "there is no default `image`; /show lists them"),
        ];
        assert_eq!(problems, expected.map(|(name, problem)| (name.to_owned(), problem.to_owned())));
    }

    #[test]
    fn validate_finds_what_came_in_around_the_parser() {
        let mut request = GenerateRequest { prompt: " ".into(), ..Default::default() };
        assert_eq!(validate(&request), Err(ValueError::EmptyPrompt));
        request.prompt = "a fox".into();
        assert_eq!(validate(&request), Ok(()));
        request.guidance_scale = Some(f64::NAN);
        assert!(validate(&request).is_err());
        request.guidance_scale = None;
        request.steps = Some(0);
        assert!(validate(&request).is_err());
    }
}
