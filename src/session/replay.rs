//! Pictures that are made again: which ones, from which record, and whether they came out the same.
//!
//! A record is a session's file, or a picture that tintype wrote. Knows how to read and to compare; making the
//! pictures is for whoever holds an engine, in a session (a [`Plan`] that says what it replays) or without one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Session;
use super::file::{self, FileError};
use super::history::{self, FindError};
use super::ledger::Ledger;
use super::plan::{Plan, Planned};
use super::record;
use crate::gallery::{self, ReadError, metadata};
use crate::request::{GenerateRequest, JobId, Picture, Recipe};

/// Why there is nothing to replay: one line that says what to type instead.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// Neither a file nor a session.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A session's file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A picture that cannot be read, or that another tool made.
    #[error("{0}; a picture of another tool is made with /load")]
    Picture(#[from] ReadError),
    /// A folder that cannot be read.
    #[error("cannot read the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// No picture.
    #[error("there is no finished picture in {0}")]
    Nothing(String),
}

/// A picture as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// What messages call it: `#3`, or the name of its file.
    pub name: String,
    /// How it was made.
    pub recipe: Recipe,
    /// The picture that it was made from, in the same record.
    pub parent: Option<JobId>,
}

/// The pictures that a record names, in order, and what of it could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// The pictures.
    pub pictures: Vec<Recorded>,
    /// A line each.
    pub notes: Vec<String>,
}

impl Source {
    /// What `name` means: a session's file, a picture, a folder of pictures, or a session in `folder`
    /// ([`history::find`]).
    ///
    /// # Errors
    /// When there is no such thing, it cannot be read, or there is no finished picture in it.
    pub fn read(name: &str, folder: Option<&Path>) -> Result<Self, ReplayError> {
        let path = crate::paths::expand_tilde(name);
        let source = if path.is_dir() {
            Self::of_folder(&path)?
        } else if path.is_file() && path.extension() != Some(OsStr::new("jsonl")) {
            Self { pictures: vec![of_picture(&path)?], notes: Vec::new() }
        } else {
            let file = if path.is_file() { path } else { history::find(folder, name)? };
            let (ledger, bad) = history::load(&file)?;
            Self { notes: bad.iter().map(ToString::to_string).collect(), ..Self::of_ledger(&ledger) }
        };
        if source.pictures.is_empty() { Err(ReplayError::Nothing(name.to_owned())) } else { Ok(source) }
    }

    /// The finished pictures of a session.
    pub fn of_ledger(ledger: &Ledger) -> Self {
        let pictures = ledger.entries().filter_map(|entry| {
            let recipe = entry.recipe.clone()?;
            Some(Recorded { name: entry.id.to_string(), recipe, parent: entry.parent })
        });
        Self { pictures: pictures.collect(), notes: Vec::new() }
    }

    /// The pictures of a folder that tintype made, by name; others, contact sheets say, are left out and named.
    fn of_folder(path: &Path) -> Result<Self, ReplayError> {
        let failed = |source| ReplayError::Folder { path: path.to_owned(), source };
        let entries = std::fs::read_dir(path).map_err(failed)?.flatten().map(|entry| entry.path());
        let mut files: Vec<_> = entries.filter(|path| path.extension() == Some(OsStr::new("png"))).collect();
        files.sort();
        let mut source = Self::default();
        for file in files {
            match of_picture(&file) {
                Ok(recorded) => source.pictures.push(recorded),
                Err(error) => source.notes.push(error.to_string()),
            }
        }
        Ok(source)
    }
}

fn of_picture(path: &Path) -> Result<Recorded, ReadError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let recipe = metadata::read_recipe(path)?;
    // The file knows its name only, and may have got another.
    Ok(Recorded { name, recipe: Recipe { path: Some(path.to_owned()), ..recipe }, parent: None })
}

/// A part of a session, as it is played back.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// After the one before it.
    pub wait: Duration,
    /// What is to be seen.
    pub what: What,
}

/// What a scene shows.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A line that was typed.
    Line(String),
    /// A picture that was finished.
    Picture(Box<Recipe>),
    /// Something else that happened.
    Said(String),
}

/// What happened in a session, or the line and picture of each file; names as in [`Source::read`].
///
/// # Errors
/// As there.
pub fn scenes(name: &str, folder: Option<&Path>) -> Result<Vec<Scene>, ReplayError> {
    let path = crate::paths::expand_tilde(name);
    if path.is_dir() || (path.is_file() && path.extension() != Some(OsStr::new("jsonl"))) {
        return Ok(Source::read(name, folder)?.pictures.into_iter().flat_map(still).collect());
    }
    let file = if path.is_file() { path } else { history::find(folder, name)? };
    let (records, _) = file::read(&file)?;
    let (mut scenes, mut before) = (Vec::new(), None);
    // A line is recorded after the jobs that it queued, and these say it, too; so do those that nobody typed.
    let mut queued = None;
    for record in records {
        let what = match record.what {
            record::What::Line { text } if queued.take().is_some_and(|typed| typed == text) => continue,
            record::What::Line { text } => What::Line(text),
            record::What::Queued { typed, .. } if queued.as_ref() == Some(&typed) => continue,
            record::What::Queued { typed, .. } => {
                queued = Some(typed.clone());
                What::Line(typed)
            }
            record::What::Finished { recipe, .. } => {
                queued = None;
                What::Picture(recipe)
            }
            record::What::Failed { job, error } => What::Said(format!("{job} failed: {error}")),
            record::What::Cancelled { job, step } => What::Said(format!("{job} cancelled after step {step}")),
            _ => continue,
        };
        let wait = record.at.duration_since(before.unwrap_or(record.at));
        before = Some(record.at);
        scenes.push(Scene { wait: Duration::try_from(wait).unwrap_or_default(), what });
    }
    Ok(scenes)
}

/// A picture without a session: its line, and it, after the time that it took.
fn still(recorded: Recorded) -> [Scene; 2] {
    let line = crate::command::prompt_line(&metadata::tintype::request(&recorded.recipe.params));
    let wait = Duration::try_from_secs_f64(recorded.recipe.timings.total).unwrap_or_default();
    [
        Scene { wait: Duration::ZERO, what: What::Line(line) },
        Scene { wait, what: What::Picture(Box::new(recorded.recipe)) },
    ]
}

/// What was made again, by what it was: files and jobs of the record → of now.
#[derive(Debug, Default)]
pub struct Remade {
    files: BTreeMap<PathBuf, PathBuf>,
    jobs: BTreeMap<JobId, JobId>,
}

impl Remade {
    /// Remembers a picture.
    pub fn add(&mut self, recorded: &Recorded, job: JobId, path: Option<&Path>) {
        self.jobs.insert(recorded.recipe.job, job);
        if let (Some(old), Some(new)) = (&recorded.recipe.path, path) {
            self.files.insert(old.clone(), new.to_owned());
        }
    }

    /// The request that makes a picture again. A starting picture that is gone gives way to the one that was made in
    /// its place.
    pub fn request(&self, recorded: &Recorded) -> GenerateRequest {
        let mut request = metadata::tintype::request(&recorded.recipe.params);
        if let Some(image) = recorded.recipe.params.image.as_ref().filter(|image| !image.is_file())
            && let Some(again) = self.files.get(image)
        {
            request.image = Some(again.to_string_lossy().into_owned());
        }
        request
    }

    /// The plan that makes one picture again.
    pub fn plan(&self, recorded: &Recorded) -> Plan {
        let request = self.request(recorded);
        let typed = crate::command::prompt_line(&request);
        let parent = recorded.parent.and_then(|parent| self.jobs.get(&parent).copied());
        Plan { parent, ..plan(typed, vec![request], vec![recorded.clone()]) }
    }
}

impl Session {
    /// The plan that makes all pictures of a record again, here.
    pub fn replay(&self, line: &str, source: Source) -> Plan {
        let remade = Remade::default();
        let requests = source.pictures.iter().map(|recorded| remade.request(recorded)).collect();
        Plan { changes: source.notes, ..plan(line.to_owned(), requests, source.pictures) }
    }
}

fn plan(typed: String, requests: Vec<GenerateRequest>, replays: Vec<Recorded>) -> Plan {
    let pictures = requests.into_iter().map(|request| Planned { request, cell: Vec::new() });
    Plan { typed, pictures: pictures.collect(), replays, ..Plan::default() }
}

/// A picture beside its record.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Whether the pixels are the recorded ones, by their hash.
    pub identical: bool,
    /// What is left of the recorded file.
    pub file: RecordedFile,
    /// Peak signal-to-noise ratio against the recorded file, in dB; unknown without one of the same size.
    pub psnr: Option<f64>,
    /// The largest difference, in steps of 255.
    pub largest: Option<u8>,
    /// Where the runs part; unknown if the record has no fingerprints.
    pub parting: Option<Parting>,
    /// What else is different: `device cuda → cpu`.
    pub causes: Vec<String>,
}

/// What is left of the recorded file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedFile {
    /// The same bytes, or at least the same pixels where the record has no hash of the file.
    Intact,
    /// Other bytes, the same pixels: another tool wrote it again.
    Rewritten,
    /// Other pixels.
    Altered,
    /// It is not there, or is no picture any more.
    #[default]
    Gone,
}

/// Where two runs part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Parting {
    /// What the steps begin with: noise, or the picture to start from.
    Start,
    /// The first step with another result, from 1.
    Step(usize),
    /// All steps are the same; the VAE is not.
    Decoding,
}

/// Compares a picture that was made again with its record.
pub fn compare(recorded: &Recorded, recipe: &Recipe, picture: &Picture) -> Comparison {
    let old = &recorded.recipe;
    let (file, stored) = look_at_file(old);
    let identical = recipe.pixels_sha256 == old.pixels_sha256;
    let (psnr, largest) = match stored.filter(|stored| stored.size == picture.size) {
        Some(stored) => distance(&stored.rgb, &picture.rgb),
        None => (None, None),
    };
    let mut comparison = Comparison { identical, file, psnr, largest, ..Comparison::default() };
    if !identical {
        comparison.parting = parting(&old.latents, &recipe.latents);
        comparison.causes = causes(old, recipe);
    }
    comparison
}

fn look_at_file(recipe: &Recipe) -> (RecordedFile, Option<Picture>) {
    let read = |path: &PathBuf| Some((std::fs::read(path).ok()?, gallery::load(path).ok()?));
    let Some((bytes, picture)) = recipe.path.as_ref().and_then(read) else {
        return (RecordedFile::Gone, None);
    };
    let same_bytes = recipe.file_sha256.as_ref().is_none_or(|hash| *hash == sha256(&bytes));
    let file = match (sha256(&picture.rgb) == recipe.pixels_sha256, same_bytes) {
        (true, true) => RecordedFile::Intact,
        (true, false) => RecordedFile::Rewritten,
        (false, _) => RecordedFile::Altered,
    };
    (file, Some(picture))
}

/// PSNR, none for equal ones, and the largest difference.
fn distance(one: &[u8], other: &[u8]) -> (Option<f64>, Option<u8>) {
    let differences = || one.iter().zip(other).map(|(a, b)| a.abs_diff(*b));
    let squares: u64 = differences().map(|d| u64::from(d).pow(2)).sum();
    let mean = squares as f64 / one.len().max(1) as f64;
    let psnr = (squares > 0).then(|| 10. * (255. * 255. / mean).log10());
    (psnr, differences().max())
}

fn parting(old: &[String], new: &[String]) -> Option<Parting> {
    if old.is_empty() || new.is_empty() {
        return None;
    }
    match old.iter().zip(new).position(|(old, new)| old != new) {
        Some(0) => Some(Parting::Start),
        Some(step) => Some(Parting::Step(step)),
        None if old.len() != new.len() => Some(Parting::Step(old.len().min(new.len()))),
        None => Some(Parting::Decoding),
    }
}

/// What is different about two runs, each as `name old → new`.
fn causes(old: &Recipe, new: &Recipe) -> Vec<String> {
    let pairs = [
        ("device", &old.device, &new.device),
        ("dtype", &old.dtype, &new.dtype),
        ("version", &old.version, &new.version),
    ];
    let mut causes: Vec<_> = pairs
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .map(|(name, old, new)| format!("{name} {old} → {new}"))
        .collect();
    let value = |recipe: &Recipe| serde_json::to_value(&recipe.params).unwrap_or_default();
    let (before, after) = (value(old), value(new));
    let params = before.as_object().into_iter().flatten().filter(|(name, value)| after[*name] != **value);
    causes.extend(params.map(|(name, value)| format!("{name} {value} → {}", after[name])));
    let changed = |(name, hash): &(&String, &String)| new.weights.get(*name).is_some_and(|new| new != *hash);
    causes.extend(old.weights.iter().filter(changed).map(|(name, _)| format!("another {name}")));
    causes
}

impl Comparison {
    /// Whether the picture is as good as the recorded one: identical, and the file not altered since; or, with a
    /// `tolerance` in dB, at least that near to what the file holds.
    pub fn passes(&self, tolerance: Option<f64>) -> bool {
        let proven = self.identical && self.file != RecordedFile::Altered;
        // Equal pixels have no PSNR: they pass any tolerance.
        let near = |tolerance| self.largest == Some(0) || self.psnr.is_some_and(|psnr| psnr >= tolerance);
        proven || tolerance.is_some_and(near)
    }

    /// One line: `38.2 dB, at most 4 of 255, from step 3 on; device cuda → cpu`.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        match (self.identical, self.file) {
            (true, RecordedFile::Intact) => return "identical".into(),
            (true, RecordedFile::Gone) => return "identical; its file is gone".into(),
            (true, RecordedFile::Rewritten) => {
                return "identical; its file was written again, with the same pixels".into();
            }
            (true, RecordedFile::Altered) => parts.push("identical, but its file holds other pixels".into()),
            (false, RecordedFile::Gone) => parts.push("other pixels; its file is gone".into()),
            (false, RecordedFile::Altered) => parts.push("other pixels, and its file was altered".into()),
            (false, _) => parts.push("other pixels".to_owned()),
        }
        parts.extend(self.psnr.map(|psnr| format!("{psnr:.1} dB")));
        parts.extend(self.largest.map(|largest| format!("at most {largest} of 255")));
        parts.extend(self.parting.map(|parting| match parting {
            Parting::Start => "from the start on".into(),
            Parting::Step(step) => format!("from step {step} on"),
            Parting::Decoding => "after the last step".into(),
        }));
        let causes: Vec<_> = std::iter::once(parts.join(", ")).chain(self.causes.iter().cloned()).collect();
        causes.join("; ")
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_part_where_their_fingerprints_do() {
        let of = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        for (old, new, expected) in [
            ("", "abc", None),
            ("abc", "", None),
            ("abc", "xbc", Some(Parting::Start)),
            ("abc", "axc", Some(Parting::Step(1))),
            ("abc", "abx", Some(Parting::Step(2))),
            ("abc", "ab", Some(Parting::Step(2))),
            ("abc", "abc", Some(Parting::Decoding)),
        ] {
            assert_eq!(parting(&of(old), &of(new)), expected, "{old} {new}");
        }
    }

    #[test]
    fn distances_are_decibels_below_white() {
        assert_eq!(distance(&[0, 255, 7], &[0, 255, 7]), (None, Some(0)));
        assert_eq!(distance(&[0; 8], &[255; 8]), (Some(0.), Some(255)));
        let (psnr, largest) = distance(&[10; 100], &[11; 100]);
        assert!((psnr.unwrap() - 48.1308).abs() < 1e-4, "{psnr:?}");
        assert_eq!(largest, Some(1));
    }

    #[test]
    fn a_tolerance_is_for_pixels_that_can_be_seen() {
        let other = Comparison { psnr: Some(42.), largest: Some(3), ..Comparison::default() };
        assert!(!other.passes(None) && other.passes(Some(42.)) && !other.passes(Some(42.5)));
        let unseen = Comparison::default();
        assert!(!unseen.passes(Some(1.)), "without the file nobody knows how far off it is");
        let gone = Comparison { identical: true, ..Comparison::default() };
        assert!(gone.passes(None));
        let altered = Comparison { file: RecordedFile::Altered, psnr: Some(42.), ..gone };
        assert!(!altered.passes(None) && altered.passes(Some(40.)));
    }
}
