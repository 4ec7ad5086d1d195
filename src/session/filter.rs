//! Finding pictures: `red fox model:turbo steps>20 rating>=3 after:yesterday -hat`.

use jiff::{SignedDuration, Span, Timestamp, ZonedDateTime, civil};

use super::entry::Entry;
use super::settings;

/// What a picture must be. Every term must hold; one with a `-` before it must not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<(bool, Term)>,
}

/// A term that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The name is none, but near one.
    #[error("`{term}` asks for nothing known; did you mean {nearest}?")]
    Unknown {
        /// The term.
        term: String,
        /// The name that was meant.
        nearest: &'static str,
    },
    /// No number.
    #[error("`{0}` compares with no number; type it as steps>20")]
    NotANumber(String),
    /// No day.
    #[error(
        "`{0}` names no time; type today, yesterday, a weekday, 2026-11-24, or how long ago as 3d, 2h, 30m"
    )]
    NotATime(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    /// In the prompt, the line as typed, the note or the name.
    Word(String),
    Text(TextField, String),
    Number(NumberField, Order, f64),
    Seed(u64),
    From(Timestamp),
    Until(Timestamp),
    Within(Timestamp, Timestamp),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum TextField {
    Model,
    Scheduler,
    Prompt,
    Negative,
    Name,
    Note,
    State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum NumberField {
    Seed,
    Steps,
    Guidance,
    Width,
    Height,
    Strength,
    Rating,
    Seconds,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Less,
    AtMost,
    Same,
    AtLeast,
    More,
}

enum Field {
    Text(TextField),
    Number(NumberField),
    After,
    Before,
    On,
}

/// All names before a `:` or comparison, with what they mean.
pub static FIELDS: &[(&str, &str)] = &[
    ("model", "part of the model's name"),
    ("scheduler", "part of the scheduler's name (also sampler:)"),
    ("prompt", "part of the prompt"),
    ("negative", "part of the negative prompt"),
    ("name", "part of the name"),
    ("note", "part of the note"),
    ("is", "queued, running, held, finished, cancelled, failed or lost"),
    ("seed", "the seed"),
    ("steps", "denoising steps"),
    ("cfg", "guidance scale (also guidance-scale:)"),
    ("width", "pixels from left to right"),
    ("height", "pixels from top to bottom"),
    ("strength", "how much of the starting picture was replaced"),
    ("rating", "stars, 0 for none"),
    ("seconds", "how long it took"),
    ("after", "from that day on: today, yesterday, a weekday, 2026-11-24; 3d, 2h for the time since then"),
    ("before", "before that day, or longer ago than that"),
    ("on", "on that day"),
];

impl Filter {
    /// Reads a filter; `now` is what `yesterday` is counted from.
    ///
    /// # Errors
    /// When a term has a known name and a value that cannot be.
    pub fn parse(text: &str, now: &ZonedDateTime) -> Result<Self, FilterError> {
        let terms = words(text).into_iter().map(|(quoted, word)| {
            if quoted {
                return Ok((true, Term::Word(word.to_lowercase())));
            }
            match word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                Some(rest) => Ok((false, term(rest, now)?)),
                None => Ok((true, term(&word, now)?)),
            }
        });
        Ok(Self { terms: terms.collect::<Result<_, _>>()? })
    }

    /// Whether a picture is what is looked for.
    pub fn matches(&self, entry: &Entry) -> bool {
        self.terms.iter().all(|(wanted, term)| term.holds(entry) == *wanted)
    }
}

/// Words, those in double quotes held together.
fn words(text: &str) -> Vec<(bool, String)> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (quoted, word, after) = match rest.strip_prefix('"') {
            Some(inner) => {
                let (word, after) = inner.split_once('"').unwrap_or((inner, ""));
                (true, word.to_owned(), after)
            }
            None => {
                // model:"two words" is one word, too.
                let mut open = false;
                let end = rest.find(|c: char| {
                    open ^= c == '"';
                    c.is_whitespace() && !open
                });
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                (false, word.replace('"', ""), after)
            }
        };
        words.push((quoted, word));
        rest = after.trim_start();
    }
    words
}

fn field(name: &str) -> Option<Field> {
    Some(match name {
        "model" => Field::Text(TextField::Model),
        "prompt" | "text" => Field::Text(TextField::Prompt),
        "name" => Field::Text(TextField::Name),
        "note" => Field::Text(TextField::Note),
        "is" | "state" => Field::Text(TextField::State),
        "rating" | "stars" => Field::Number(NumberField::Rating),
        "seconds" => Field::Number(NumberField::Seconds),
        "after" | "since" => Field::After,
        "before" => Field::Before,
        "on" => Field::On,
        // The rest are settings, under all of their names.
        name => match settings::find(name)?.name {
            "scheduler" => Field::Text(TextField::Scheduler),
            "negative-prompt" => Field::Text(TextField::Negative),
            "seed" => Field::Number(NumberField::Seed),
            "steps" => Field::Number(NumberField::Steps),
            "guidance-scale" => Field::Number(NumberField::Guidance),
            "width" => Field::Number(NumberField::Width),
            "height" => Field::Number(NumberField::Height),
            "strength" => Field::Number(NumberField::Strength),
            _ => return None,
        },
    })
}

fn term(word: &str, now: &ZonedDateTime) -> Result<Term, FilterError> {
    let plain = || Term::Word(word.to_lowercase());
    let Some(at) = word.find([':', '<', '>', '=']).filter(|at| *at > 0) else { return Ok(plain()) };
    let name = word[..at].to_lowercase();
    let (order, value) = match &word[at..] {
        rest if rest.starts_with(">=") => (Order::AtLeast, &rest[2..]),
        rest if rest.starts_with("<=") => (Order::AtMost, &rest[2..]),
        rest if rest.starts_with('>') => (Order::More, &rest[1..]),
        rest if rest.starts_with('<') => (Order::Less, &rest[1..]),
        rest => (Order::Same, &rest[1..]),
    };
    let Some(field) = field(&name) else {
        // `(fox:1.3)` is a word to look for; `step>20` is a slip.
        let near =
            FIELDS.iter().map(|(field, _)| *field).find(|f| strsim::damerau_levenshtein(f, &name) == 1);
        return match near.filter(|_| name.len() > 2) {
            Some(nearest) => Err(FilterError::Unknown { term: word.to_owned(), nearest }),
            None => Ok(plain()),
        };
    };
    let not_a_number = || FilterError::NotANumber(word.to_owned());
    let times = || times(value, now).ok_or_else(|| FilterError::NotATime(word.to_owned()));
    Ok(match field {
        Field::Text(field) => Term::Text(field, value.to_lowercase()),
        Field::Number(NumberField::Seed) if order == Order::Same => {
            Term::Seed(value.parse().map_err(|_| not_a_number())?)
        }
        Field::Number(field) => {
            let number: f64 = value.parse().map_err(|_| not_a_number())?;
            Term::Number(field, order, number)
        }
        Field::After => Term::From(times()?.0),
        Field::Before => Term::Until(times()?.0),
        Field::On => {
            let (start, end) = times()?;
            Term::Within(start, end)
        }
    })
}

/// Start and end of a day, or of the time since so long ago.
fn times(text: &str, now: &ZonedDateTime) -> Option<(Timestamp, Timestamp)> {
    let day = |date: civil::Date| {
        let start = date.to_zoned_datetime(now.time_zone().clone()).ok()?;
        let end = date.tomorrow().ok()?.to_zoned_datetime(now.time_zone().clone()).ok()?;
        Some((start.timestamp(), end.timestamp()))
    };
    let text = text.to_lowercase();
    match text.as_str() {
        "today" => return day(now.date()),
        "yesterday" => return day(now.date().yesterday().ok()?),
        _ => {}
    }
    if let Ok(date) = text.parse() {
        return day(date);
    }
    if let Some(weekday) = weekday(&text) {
        if now.date().weekday() == weekday {
            return day(now.date());
        }
        return day(now.date().nth_weekday(-1, weekday).ok()?);
    }
    let ago: Span = text.parse().ok()?;
    let start = now.checked_sub(ago).ok()?;
    (ago.is_positive() && now.duration_since(&start) > SignedDuration::ZERO)
        .then(|| (start.timestamp(), now.timestamp()))
}

fn weekday(text: &str) -> Option<civil::Weekday> {
    use civil::Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let days = [
        ("monday", Monday),
        ("tuesday", Tuesday),
        ("wednesday", Wednesday),
        ("thursday", Thursday),
        ("friday", Friday),
        ("saturday", Saturday),
        ("sunday", Sunday),
    ];
    days.into_iter().find(|(name, _)| text.len() >= 3 && name.starts_with(text)).map(|(_, day)| day)
}

impl Term {
    fn holds(&self, entry: &Entry) -> bool {
        match self {
            Self::Word(word) => {
                let texts = [
                    Some(&entry.request.prompt),
                    Some(&entry.typed),
                    entry.note.as_ref(),
                    entry.name.as_ref(),
                ];
                texts.into_iter().flatten().any(|text| text.to_lowercase().contains(word))
            }
            Self::Text(TextField::State, word) => entry.state.word() == word,
            Self::Text(field, word) => text(*field, entry).to_lowercase().contains(word),
            Self::Seed(seed) => entry.seed() == Some(*seed),
            Self::Number(field, order, value) => {
                number(*field, entry).is_some_and(|n| order.holds(n, *value))
            }
            Self::From(start) => entry.at >= *start,
            Self::Until(end) => entry.at < *end,
            Self::Within(start, end) => entry.at >= *start && entry.at < *end,
        }
    }
}

impl Order {
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Self::Less => a < b,
            Self::AtMost => a <= b,
            #[expect(clippy::float_cmp, reason = "both were typed, none was computed")]
            Self::Same => a == b,
            Self::AtLeast => a >= b,
            Self::More => a > b,
        }
    }
}

/// What the model made of it where that is known, else what was asked for.
fn text(field: TextField, entry: &Entry) -> &str {
    let (params, request) = (entry.params.as_ref(), &entry.request);
    let text = match field {
        TextField::Model => params.map(|p| &p.model).or(request.model.as_ref()),
        TextField::Scheduler => params.map(|p| &p.scheduler).or(request.scheduler.as_ref()),
        TextField::Prompt => Some(&request.prompt),
        TextField::Negative => request.negative_prompt.as_ref(),
        TextField::Name => entry.name.as_ref(),
        TextField::Note => entry.note.as_ref(),
        TextField::State => None,
    };
    text.map_or("", String::as_str)
}

fn number(field: NumberField, entry: &Entry) -> Option<f64> {
    let (params, request) = (entry.params.as_ref(), &entry.request);
    match field {
        NumberField::Seed => entry.seed().map(|seed| seed as f64),
        NumberField::Steps => params.map(|p| p.steps).or(request.steps).map(f64::from),
        NumberField::Guidance => params.map(|p| p.guidance_scale).or(request.guidance_scale),
        NumberField::Width => params.map(|p| p.size.width).or(request.width).map(f64::from),
        NumberField::Height => params.map(|p| p.size.height).or(request.height).map(f64::from),
        NumberField::Strength => params.and_then(|p| p.strength).or(request.strength),
        NumberField::Rating => Some(entry.rating.unwrap_or(0).into()),
        NumberField::Seconds => entry.recipe.as_ref().map(|recipe| recipe.timings.total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{GenerateRequest, JobId, Seed};
    use crate::session::entry::JobState;

    fn entry() -> Entry {
        let request = GenerateRequest {
            prompt: "a Red fox".into(),
            model: Some("org/sd-turbo".into()),
            scheduler: Some("euler".into()),
            steps: Some(20),
            guidance_scale: Some(7.5),
            seed: Some(Seed::Fixed(u64::MAX)),
            ..Default::default()
        };
        Entry {
            id: JobId(1),
            at: "2026-11-23T12:00:00Z".parse().unwrap(),
            typed: "a {Red|blue} fox".into(),
            request,
            parent: None,
            batch: None,
            state: JobState::Finished,
            held: None,
            params: None,
            recipe: None,
            name: Some("hero".into()),
            rating: Some(4),
            note: Some("the good one".into()),
            deleted: false,
        }
    }

    /// A Tuesday.
    fn now() -> ZonedDateTime {
        "2026-11-24T10:00:00Z[UTC]".parse().unwrap()
    }

    #[test]
    fn terms_hold() {
        for filter in [
            "",
            "red FOX",
            "\"red fox\"",
            "good",
            "hero",
            "model:turbo",
            "sampler:euler",
            "steps>10",
            "steps>=20",
            "steps:20",
            "steps=20",
            "cfg<8",
            "guidance-scale<=7.5",
            "seed:18446744073709551615",
            "rating>=3",
            "stars<5",
            "after:yesterday",
            "on:yesterday",
            "on:mon",
            "after:2026-11-23",
            "before:today",
            "after:23h",
            "after:2d",
            "before:1h",
            "before:tuesday",
            "is:finished",
            "-hat",
            "-model:xl",
            "note:\"good one\"",
            "-is:failed red",
        ] {
            assert!(Filter::parse(filter, &now()).unwrap().matches(&entry()), "{filter}");
        }
        for filter in [
            "hat",
            "\"fox red\"",
            "model:xl",
            "steps>20",
            "steps<20",
            "seed:5",
            "rating>4",
            "after:today",
            "on:today",
            "before:yesterday",
            "after:2h",
            "before:3d",
            "is:fin",
            "-red",
            "height>1",
            "\"-hat\"",
        ] {
            assert!(!Filter::parse(filter, &now()).unwrap().matches(&entry()), "{filter}");
        }
    }

    #[test]
    fn slips_are_told() {
        let error = |text| Filter::parse(text, &now()).unwrap_err().to_string();
        assert_eq!(error("step>20"), "`step>20` asks for nothing known; did you mean steps?");
        assert_eq!(error("steps>many"), "`steps>many` compares with no number; type it as steps>20");
        assert!(error("after:christmas").contains("names no time"));
        assert!(error("after:-3d").contains("names no time"));
        assert!(Filter::parse("(fox:1.3) http://x", &now()).is_ok());
    }

    #[test]
    fn every_listed_field_is_known() {
        for (name, help) in FIELDS {
            assert!(field(name).is_some() && !help.is_empty(), "{name}");
        }
    }
}
