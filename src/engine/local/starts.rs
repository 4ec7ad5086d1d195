//! How long starts took, so that the next one can say how long it will take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::gallery::save;
use crate::request::{GenerateParams, Timings};

/// Shorter starts need no announcement.
const WORTH_SAYING: f64 = 1.;

/// Where starts are remembered; nowhere in most tests.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts(Option<PathBuf>);

/// Seconds from the job's start to the end of its first step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Start {
    load: f64,
    encode: f64,
    warm_up: f64,
    step: f64,
    /// Pixels of the picture, which the step goes by.
    pixels: f64,
}

impl Starts {
    /// Remembers in `file`.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self(file)
    }

    /// What to say before `model` is loaded where `place` says; nothing when it was never loaded there, or is
    /// quickly.
    pub fn announcement(&self, params: &GenerateParams, place: &str) -> Option<String> {
        let all = read(self.0.as_deref()?);
        let last = all.get(&key(params, place))?;
        let step = last.step * pixels(params) / last.pixels.max(1.);
        let parts = [("load", last.load), ("encode", last.encode), ("warm up", last.warm_up), ("step", step)];
        let total: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
        let parts: Vec<String> = parts
            .iter()
            .filter(|(_, seconds)| *seconds >= 0.05)
            .map(|(name, seconds)| format!("{name} {seconds:.1}"))
            .collect();
        (total >= WORTH_SAYING).then(|| {
            format!("{} on {place}: first step in about {total:.0} s ({})", params.model, parts.join(", "))
        })
    }

    /// Remembers how long a start took.
    pub fn remember(&self, params: &GenerateParams, place: &str, timings: &Timings) {
        let (Some(file), Some(step)) = (&self.0, timings.steps.first()) else { return };
        let mut all = read(file);
        let start = Start {
            load: timings.load,
            encode: timings.encode,
            warm_up: timings.warm_up,
            step: *step,
            pixels: pixels(params),
        };
        all.insert(key(params, place), start);
        let bytes = serde_json::to_vec_pretty(&all).unwrap_or_default();
        if let Err(error) = file.parent().map_or(Ok(()), std::fs::create_dir_all) {
            tracing::debug!(%error, "the times of starts are not kept");
        } else if let Err(error) = save::replace(file, &bytes) {
            tracing::debug!(%error, "the times of starts are not kept");
        }
    }
}

/// What cannot be read is found out anew.
fn read(file: &Path) -> BTreeMap<String, Start> {
    let bytes = std::fs::read(file).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn key(params: &GenerateParams, place: &str) -> String {
    let variant = params.variant.as_deref().unwrap_or("");
    format!("{} {variant} on {place}", params.model)
}

fn pixels(params: &GenerateParams) -> f64 {
    f64::from(params.size.width) * f64::from(params.size.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(model: &str, side: u32) -> GenerateParams {
        serde_json::from_value(serde_json::json!({
            "prompt": "", "negative_prompt": "", "model": model, "revision": null, "variant": null,
            "scheduler": "ddim", "steps": 1, "guidance_scale": 1.0, "seed": 0,
            "size": { "width": side, "height": side },
        }))
        .unwrap()
    }

    #[test]
    fn a_start_is_announced_by_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let starts = Starts::new(Some(folder.path().join("state/starts.json")));
        let (large, small) = (params("sd15", 1024), params("sd15", 512));
        assert_eq!(starts.announcement(&small, "cpu in f32"), None);
        let timings = Timings { load: 3.1, encode: 0.9, steps: vec![8., 1.], ..Timings::default() };
        starts.remember(&small, "cpu in f32", &timings);
        let said = starts.announcement(&small, "cpu in f32").unwrap();
        assert_eq!(said, "sd15 on cpu in f32: first step in about 12 s (load 3.1, encode 0.9, step 8.0)");
        // a step goes by the pixels
        assert!(starts.announcement(&large, "cpu in f32").unwrap().contains("36 s"));
        assert_eq!(starts.announcement(&small, "cuda in f16"), None);
        starts.remember(&small, "cuda in f16", &Timings { steps: vec![0.1], ..Timings::default() });
        assert_eq!(starts.announcement(&small, "cuda in f16"), None, "too quick to be worth a line");
    }

    #[test]
    fn a_broken_file_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("starts.json");
        std::fs::write(&file, "{").unwrap();
        let starts = Starts::new(Some(file));
        starts.remember(&params("a", 8), "cpu in f32", &Timings { steps: vec![5.], ..Timings::default() });
        assert!(starts.announcement(&params("a", 8), "cpu in f32").is_some());
        let nowhere = Starts::default();
        nowhere.remember(&params("a", 8), "cpu in f32", &Timings::default());
        assert_eq!(nowhere.announcement(&params("a", 8), "cpu in f32"), None);
    }
}
