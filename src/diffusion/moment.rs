//! A run between two steps: all that decides how it goes on, on the host, in f32.
//!
//! Whoever has the parameters and a moment continues bit for bit as if nothing had been between. As bytes it is a
//! safetensors file with a checksum: a run can wait on disk for as long as it likes.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pipeline::{PipelineConfig, Start};
use super::rng::{GeneratorState, TorchGenerator};
use super::schedulers::SchedulerState;
use crate::request::GenerateParams;

/// Where a run stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Which model call is due, and what the scheduler remembers of earlier ones.
    pub scheduler: SchedulerState,
    /// Where the noise stands.
    pub generator: GeneratorState,
    /// `[c · h · w]`.
    pub latents: Vec<f32>,
    /// What is told of the steps before; nothing that follows depends on it.
    pub past: Past,
}

/// What is told of the steps that were done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// Seconds that they took.
    pub seconds: f64,
    /// Fingerprints of the latents that they began with, then of those that each left.
    pub latents: Vec<String>,
}

/// Why bytes are no moment, or not one of this run.
#[derive(Debug, thiserror::Error)]
pub enum MomentError {
    /// Not what [`Moment::to_bytes`] writes, or not all of it.
    #[error("the file is damaged ({0})")]
    Damaged(String),
    /// It was taken from another run.
    #[error("the file belongs to another run: {0}")]
    Foreign(String),
}

/// Keys of the file's metadata.
const STATE: &str = "state";
const FACTS: &str = "facts";
const CHECKSUM: &str = "sha256";

impl Moment {
    /// Model calls done in the run.
    pub fn step(&self) -> usize {
        self.scheduler.next_index.saturating_sub(self.scheduler.begin_index)
    }

    /// Bytes that it takes in memory.
    pub fn size(&self) -> usize {
        self.slices().map(|(_, values)| size_of_val(values)).sum()
    }

    /// Goes on from here. `params` are those of the run that it was taken from.
    ///
    /// # Errors
    /// When the parameters make no sense.
    pub fn start(self, config: &PipelineConfig, params: &GenerateParams) -> super::Result<Start> {
        let mut scheduler = config.scheduler(params)?;
        scheduler.restore(self.scheduler);
        let generator = TorchGenerator::from_state(&self.generator);
        Ok(Start { scheduler, generator, latents: self.latents })
    }

    fn slices(&self) -> impl Iterator<Item = (String, &[f32])> {
        let history = self.scheduler.history.iter().enumerate();
        let history = history.map(|(at, values)| (format!("history.{at:03}"), values.as_slice()));
        let sample = self.scheduler.sample.iter().map(|values| ("sample".to_owned(), values.as_slice()));
        std::iter::once(("latents".to_owned(), self.latents.as_slice())).chain(history).chain(sample)
    }

    /// As a file; `facts` is what [`Self::from_bytes`] has to find again, such as the parameters.
    ///
    /// # Errors
    /// When a number is no JSON.
    pub fn to_bytes(&self, facts: &serde_json::Value) -> Result<Vec<u8>, MomentError> {
        let state = SchedulerState {
            begin_index: self.scheduler.begin_index,
            next_index: self.scheduler.next_index,
            ..SchedulerState::default()
        };
        let damaged = |error: &dyn std::fmt::Display| MomentError::Damaged(error.to_string());
        let state = serde_json::to_string(&(&state, &self.generator, &self.past)).map_err(|e| damaged(&e))?;
        let facts = facts.to_string();
        let data: Vec<(String, Vec<u8>)> = self.slices().map(|(name, v)| (name, little_endian(v))).collect();
        let sum =
            checksum(&state, &facts, data.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
        let metadata = [(STATE, state), (FACTS, facts), (CHECKSUM, sum)];
        let metadata: HashMap<_, _> = metadata.map(|(key, value)| (key.to_owned(), value)).into();
        let views = data.iter().map(|(name, bytes)| {
            TensorView::new(Dtype::F32, vec![bytes.len() / size_of::<f32>()], bytes).map(|view| (name, view))
        });
        let views: Vec<_> = views.collect::<Result<_, _>>().map_err(|e| damaged(&e))?;
        safetensors::serialize(views, Some(metadata)).map_err(|e| damaged(&e))
    }

    /// Reads what [`Self::to_bytes`] wrote. `values` is the length of the latents.
    ///
    /// # Errors
    /// When it is damaged, or was written with other facts.
    pub fn from_bytes(bytes: &[u8], facts: &serde_json::Value, values: usize) -> Result<Self, MomentError> {
        let damaged = |why: &dyn std::fmt::Display| MomentError::Damaged(why.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let entry = |key: &str| metadata.get(key).ok_or_else(|| damaged(&format_args!("no {key}")));
        let (state, written, sum) = (entry(STATE)?, entry(FACTS)?, entry(CHECKSUM)?);
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
        let mut tensors = file.tensors();
        // In the order in which they were written.
        let rank = |name: &str| (name != "latents", name == "sample", name.to_owned());
        tensors.sort_by_key(|(name, _)| rank(name));
        let data = tensors.iter().map(|(name, view)| (name.as_str(), view.data()));
        if checksum(state, written, data) != *sum {
            return Err(damaged(&"its checksum is wrong"));
        }
        let written: serde_json::Value = serde_json::from_str(written).map_err(|e| damaged(&e))?;
        if written != *facts {
            return Err(MomentError::Foreign(first_difference(&written, facts)));
        }
        let (mut scheduler, generator, past): (SchedulerState, GeneratorState, Past) =
            serde_json::from_str(state).map_err(|e| damaged(&e))?;
        let mut latents = Vec::new();
        for (name, view) in tensors {
            if view.dtype() != Dtype::F32 || view.data().len() != values * size_of::<f32>() {
                return Err(damaged(&format_args!("{name} is not {values} values long")));
            }
            let (words, _) = view.data().as_chunks();
            let floats: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
            if floats.iter().any(|value| !value.is_finite()) {
                return Err(damaged(&format_args!("{name} is not finite")));
            }
            match name.as_str() {
                "latents" => latents = floats,
                "sample" => scheduler.sample = Some(floats),
                _ => scheduler.history.push(floats),
            }
        }
        if latents.is_empty() {
            return Err(damaged(&"no latents"));
        }
        Ok(Self { scheduler, generator, latents, past })
    }
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn checksum<'a>(state: &str, facts: &str, data: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut sha = Sha256::new();
    let mut add = |bytes: &[u8]| {
        sha.update((bytes.len() as u64).to_le_bytes());
        sha.update(bytes);
    };
    add(state.as_bytes());
    add(facts.as_bytes());
    for (name, bytes) in data {
        add(name.as_bytes());
        add(bytes);
    }
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `steps was 20 and is 30`, of the first key that differs.
fn first_difference(written: &serde_json::Value, wanted: &serde_json::Value) -> String {
    let (Some(before), Some(after)) = (written.as_object(), wanted.as_object()) else {
        return format!("it was {written} and is {wanted}");
    };
    let null = serde_json::Value::Null;
    let mut keys: Vec<_> = before.keys().chain(after.keys()).collect();
    keys.sort();
    let values = |key: &&String| (before.get(*key).unwrap_or(&null), after.get(*key).unwrap_or(&null));
    let found = keys.into_iter().find(|key| values(key).0 != values(key).1);
    found.map_or_else(String::new, |key| match values(&key) {
        (old, new) if old.is_object() && new.is_object() => first_difference(old, new),
        (old, new) => format!("{key} was {old} and is {new}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> Moment {
        let scheduler = SchedulerState {
            begin_index: 2,
            next_index: 9,
            history: vec![vec![0.5, -0.25], vec![1.0, f32::MIN_POSITIVE]],
            sample: Some(vec![3.0, 4.0]),
        };
        let generator = GeneratorState { seed: u64::MAX, drawn: 1 << 40, next_normal: Some(0.1) };
        let past = Past { seconds: 1.5, latents: vec!["ab".into()] };
        Moment { scheduler, generator, latents: vec![0.1, -0.0], past }
    }

    fn facts(steps: u32) -> serde_json::Value {
        serde_json::json!({ "params": { "steps": steps, "prompt": "a fox" } })
    }

    #[test]
    fn a_moment_comes_back_whole() {
        let bytes = moment().to_bytes(&facts(20)).unwrap();
        assert_eq!(Moment::from_bytes(&bytes, &facts(20), 2).unwrap(), moment());
        assert_eq!((moment().step(), moment().size()), (7, 32));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_found() {
        let bytes = moment().to_bytes(&facts(20)).unwrap();
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 4;
            assert!(Moment::from_bytes(&wrong, &facts(20), 2).is_err(), "byte {at}");
            assert!(Moment::from_bytes(&bytes[..at], &facts(20), 2).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_moment_of_another_run_is_refused_with_the_difference() {
        let bytes = moment().to_bytes(&facts(20)).unwrap();
        let error = Moment::from_bytes(&bytes, &facts(30), 2).unwrap_err().to_string();
        assert_eq!(error, "the file belongs to another run: steps was 20 and is 30");
        assert!(Moment::from_bytes(&bytes, &facts(20), 3).is_err(), "another size");
    }
}
