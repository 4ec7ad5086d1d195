//! Lists and ranges of values: `5,7,9`, `10..30:10`, `1..4`.

use super::settings::{Kind, Setting, ValueError};
use crate::request::GenerateRequest;

/// What a line says: a request, and the settings that were given more than one value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Typed {
    /// What was typed, nothing else filled in.
    pub request: GenerateRequest,
    /// Settings with several values, in the order typed.
    pub axes: Vec<Axis>,
}

impl From<GenerateRequest> for Typed {
    fn from(request: GenerateRequest) -> Self {
        Self { request, axes: Vec::new() }
    }
}

/// The values that one setting runs through in a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// The setting.
    pub setting: &'static Setting,
    /// Its values as text, each one good for [`Setting::set`].
    pub values: Vec<String>,
}

/// Most values of one axis.
const LONGEST: usize = 1000;

/// All values that a word stands for: one, or those of a list or range when the setting [sweeps](Setting::sweeps).
///
/// # Errors
/// When one of them is no value of the setting, or there are more than a thousand.
pub fn values(setting: &Setting, text: &str) -> Result<Vec<String>, ValueError> {
    if !setting.sweeps() || setting.check(text).is_ok() && !text.contains(',') {
        return setting.check(text).map(|()| vec![text.to_owned()]);
    }
    let mut values = Vec::new();
    for item in text.split(',').map(str::trim) {
        match range(setting, item)? {
            Some(items) => values.extend(items),
            None => values.push(item.to_owned()),
        }
        if values.len() > LONGEST {
            return Err(ValueError::TooMany { name: setting.name, most: LONGEST, got: text.to_owned() });
        }
    }
    values.iter().try_for_each(|value| setting.check(value))?;
    Ok(values)
}

/// The items of `low..high` or `low..high:step`, both ends included; `None` when `text` is no range.
fn range(setting: &Setting, text: &str) -> Result<Option<Vec<String>>, ValueError> {
    if !matches!(setting.kind, Kind::Count(..) | Kind::Number(..) | Kind::Seed | Kind::OtherSeed(_)) {
        return Ok(None);
    }
    let Some((low, rest)) = text.split_once("..") else { return Ok(None) };
    let (high, step) = rest.split_once(':').unwrap_or((rest, "1"));
    let wrong = || ValueError::NotARange { name: setting.name, got: text.to_owned() };
    let most = || ValueError::TooMany { name: setting.name, most: LONGEST, got: text.to_owned() };
    if matches!(setting.kind, Kind::Number(..)) {
        let parse = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(wrong);
        let (low, high, step) = (parse(low)?, parse(high)?, parse(step)?);
        if step <= 0.0 || high < low {
            return Err(wrong());
        }
        // Counted rather than added up, so that 0..1:0.1 ends at 1; rounded, so that it says 0.3.
        let last = ((high - low) / step + 1e-9).floor();
        if last >= LONGEST as f64 {
            return Err(most());
        }
        let at = |i: u32| ((low + f64::from(i) * step) * 1e9).round() / 1e9;
        return Ok(Some((0..=last as u32).map(|i| at(i).to_string()).collect()));
    }
    let parse = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let (low, high, step) = (parse(low)?, parse(high)?, parse(step)?);
    if step == 0 || high < low {
        return Err(wrong());
    }
    let last = (high - low) / step;
    if last >= LONGEST as u64 {
        return Err(most());
    }
    Ok(Some((0..=last).map(|i| (low + i * step).to_string()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::settings::find;

    fn list(name: &str, text: &str) -> Result<String, String> {
        values(find(name).unwrap(), text).map(|v| v.join(" ")).map_err(|e| e.to_string())
    }

    #[test]
    fn lists_and_ranges() {
        assert_eq!(list("steps", "10..30:10").unwrap(), "10 20 30");
        assert_eq!(list("steps", "1..4,9").unwrap(), "1 2 3 4 9");
        assert_eq!(list("cfg", "5,7.5").unwrap(), "5 7.5");
        assert_eq!(list("cfg", "0..1:0.1").unwrap(), "0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1");
        assert_eq!(list("seed", "18446744073709551614..18446744073709551615").unwrap().len(), 41);
        assert_eq!(list("scheduler", "ddim,euler").unwrap(), "ddim euler");
        assert_eq!(list("size", "512x512,768x512").unwrap(), "512x512 768x512");
        assert_eq!(list("negative-prompt", "a,b").unwrap(), "a,b");
        assert_eq!(list("model", "../models/x").unwrap(), "../models/x");
    }

    #[test]
    fn what_is_no_range_says_so() {
        for (name, text) in [
            ("steps", "30..10"),
            ("steps", "1..9:0"),
            ("steps", "1..x"),
            ("cfg", "1..NaN"),
            ("cfg", "1..2:-1"),
            ("seed", "0..18446744073709551615"),
            ("cfg", "0..100:0.0001"),
            ("steps", "5,,6"),
            ("steps", "0..5"),
        ] {
            assert!(list(name, text).is_err(), "{name} {text}");
        }
    }
}
