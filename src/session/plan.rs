//! From what was typed to the pictures to make: values merged, references and seeds resolved, sweeps unfolded.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use super::choices::{self, ChoiceError, Template};
use super::derive::{Derivation, EditError, PromptDiff};
use super::entry::{Entry, Labels};
use super::reference::Reference;
use super::replay::Recorded;
use super::settings::{self, Kind, SETTINGS, Setting, ValueError};
use super::sweep::{Axis, Typed};
use super::{Session, SessionError};
use crate::request::{Branch, GenerateRequest, JobId, Seed};

/// The pictures that a line asks for, not queued yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The line as typed.
    pub typed: String,
    /// The pictures in the order in which they are best made: what costs most to change, changes least.
    pub pictures: Vec<Planned>,
    /// What varies, as typed; empty for a single picture.
    pub axes: Vec<Labels>,
    /// Whether a contact sheet is wanted.
    pub sheet: bool,
    /// The picture that these are made from.
    pub parent: Option<JobId>,
    /// What becomes of that one's prompt.
    pub diff: Option<PromptDiff>,
    /// What else changes, as `steps 20 → 40`.
    pub changes: Vec<String>,
    /// What each picture is to be compared with, when they are made again.
    pub replays: Vec<Recorded>,
}

/// One picture of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What to make: a number for a seed, one picture.
    pub request: GenerateRequest,
    /// Its place on each axis.
    pub cell: Vec<usize>,
}

/// One way in which the pictures of a line differ.
struct Dimension {
    labels: Labels,
    /// Runs slower the lower it is: changing a model costs more than changing a seed.
    rank: u8,
    what: Varies,
}

enum Varies {
    Setting(&'static Setting),
    Choice(usize),
    Seeds(Vec<u64>),
}

impl Dimension {
    fn of_axis(axis: &Axis) -> Self {
        let rank = match axis.setting.name {
            "model" => 0,
            "revision" => 1,
            "variant" => 2,
            "size" | "width" | "height" => 3,
            // Each goes on where the one before it stopped.
            "stop-after" => 7,
            _ => 5,
        };
        let labels = Labels { name: axis.setting.name.to_owned(), values: axis.values.clone() };
        Self { labels, rank, what: Varies::Setting(axis.setting) }
    }

    fn of_seeds(seeds: Vec<u64>) -> Self {
        let values = seeds.iter().map(u64::to_string).collect();
        Self { labels: Labels { name: "seed".into(), values }, rank: 6, what: Varies::Seeds(seeds) }
    }
}

impl Session {
    /// What a line with a prompt comes to.
    ///
    /// # Errors
    /// When something in it cannot be: a reference to no picture, an empty prompt, a choice without an end.
    pub fn plan(&self, line: &str, typed: &Typed) -> Result<Plan, SessionError> {
        let mut merged = typed.clone();
        merged.request = settings::merge(&typed.request, self.settings());
        if seed_axis(&merged.axes).is_some() && typed.request.num_images.is_none() {
            merged.request.num_images = None;
        }
        self.unfold(line, merged, None)
    }

    /// What a change of a picture comes to: of the current one, if none is named. Its seed is kept unless another
    /// is typed.
    ///
    /// # Errors
    /// When there is no such picture, or the change cannot be made.
    pub fn derive(
        &self,
        line: &str,
        change: &Derivation,
        of: Option<&Reference>,
    ) -> Result<Plan, SessionError> {
        let parent = self.picture(of)?;
        let base = GenerateRequest { output: None, ..parent.request.clone() };
        let mut typed = change.typed.clone();
        // Choices of that line are made; what looks like one now is plain text.
        let prompt = choices::escape(&base.prompt);
        match &change.edit {
            Some(edit) => typed.request.prompt = edit.apply(&prompt)?,
            None if typed.request.prompt.is_empty() => typed.request.prompt = prompt,
            None => {}
        }
        let seed = typed.request.seed;
        typed.request = settings::merge(&typed.request, &base);
        typed.request.branch.clone_from(&base.branch);
        if let Some(Seed::Fixed(_)) = seed {
            reseed(&mut typed.request.branch, seed);
        }
        let mut plan = self.unfold(line, typed, Some(parent.id))?;
        plan.changes = changes(&base, &plan);
        plan.diff = plan.pictures.first().and_then(|p| PromptDiff::between(&base.prompt, &p.request.prompt));
        Ok(plan)
    }

    /// What it comes to when a picture goes on from the middle of another one, with a change from there.
    ///
    /// # Errors
    /// When there is no such picture, or the change cannot be made there.
    pub fn branch(
        &self,
        line: &str,
        change: &Derivation,
        of: Option<&Reference>,
        step: u32,
    ) -> Result<Plan, SessionError> {
        let parent = self.picture(of)?;
        let base = GenerateRequest { output: None, stop_after: None, ..parent.request.clone() };
        let mut plan = self.derive(line, change, Some(&Reference::Number(parent.id)))?;
        let fixed = SETTINGS.iter().filter(|setting| FIXED.contains(&setting.name));
        for setting in fixed {
            if plan.pictures.iter().any(|picture| setting.get(&picture.request) != setting.get(&base)) {
                let reference = Reference::Number(parent.id);
                return Err(SessionError::NotInTheMiddle { setting: setting.name, reference });
            }
        }
        // Where the parent stopped is where it goes on.
        let typed = &change.typed;
        let stops = typed.request.stop_after.is_some()
            || typed.axes.iter().any(|axis| axis.setting.name == "stop-after");
        for Planned { request, .. } in &mut plan.pictures {
            if !stops {
                request.stop_after = None;
            }
            request.branch = Some(Branch { of: Box::new(base.clone()), step });
        }
        plan.changes.insert(0, format!("from step {step} of {}", made_from(parent, &plan)));
        Ok(plan)
    }

    /// Variations of a picture: the same request with the noise of `count` other seeds mixed in.
    ///
    /// # Errors
    /// When there is no such picture or `amount` is not from 0 to 1.
    pub fn vary(
        &self,
        line: &str,
        of: Option<&Reference>,
        count: u32,
        amount: f64,
    ) -> Result<Plan, SessionError> {
        let parent = self.picture(of)?;
        let mut base = GenerateRequest { output: None, ..parent.request.clone() };
        base.variation = Some(amount);
        settings::validate(&base)?;
        let seeds: Vec<_> = (0..count).map(|_| random_seed()).collect();
        let request = |(at, seed): (usize, &u64)| Planned {
            request: GenerateRequest { variation_seed: Some(*seed), ..base.clone() },
            cell: vec![at],
        };
        let values = seeds.iter().map(u64::to_string).collect();
        Ok(Plan {
            typed: line.to_owned(),
            pictures: seeds.iter().enumerate().map(request).collect(),
            axes: vec![Labels { name: "variation-seed".into(), values }],
            sheet: count > 1,
            parent: Some(parent.id),
            changes: vec![format!("variation {amount}")],
            ..Plan::default()
        })
    }

    fn unfold(&self, line: &str, typed: Typed, parent: Option<JobId>) -> Result<Plan, SessionError> {
        let Typed { request: mut base, axes } = typed;
        let grid = base.grid.take();
        let count = base.num_images.take().unwrap_or(1);
        settings::validate(&base)?;
        if let Some(image) = &base.image {
            base.image = Some(self.image(image)?);
        }
        let template = Template::parse(&base.prompt, &self.wildcards)?;
        let mut dimensions: Vec<Dimension> =
            axes.iter().filter(|axis| !is_seed(axis)).map(Dimension::of_axis).collect();
        let choices = template.groups.iter().enumerate().map(|(at, group)| Dimension {
            labels: Labels { name: group.source.clone(), values: group.values.clone() },
            rank: 4,
            what: Varies::Choice(at),
        });
        dimensions.extend(choices);
        let swept = !dimensions.is_empty() || seed_axis(&axes).is_some();
        let seeds = self.seeds(base.seed, count, seed_axis(&axes))?;
        base.seed = seeds.first().copied().map(Seed::Fixed);
        if seeds.len() > 1 || seed_axis(&axes).is_some() {
            dimensions.push(Dimension::of_seeds(seeds));
        }
        let pictures = self.cells(&base, &template, &dimensions)?;
        let several = pictures.len() > 1;
        Ok(Plan {
            typed: line.to_owned(),
            pictures: self.outputs(pictures)?,
            axes: dimensions.into_iter().map(|dimension| dimension.labels).collect(),
            sheet: several && grid.unwrap_or(swept),
            parent,
            ..Plan::default()
        })
    }

    fn seeds(&self, seed: Option<Seed>, count: u32, axis: Option<&Axis>) -> Result<Vec<u64>, SessionError> {
        let Some(axis) = axis else {
            let first = self.seed(seed)?;
            return Ok((0..u64::from(count)).map(|i| first.wrapping_add(i)).collect());
        };
        if count > 1 {
            return Err(SessionError::SeedsTwice);
        }
        axis.values.iter().map(|value| self.seed(settings::parse_seed(value))).collect()
    }

    fn seed(&self, seed: Option<Seed>) -> Result<u64, SessionError> {
        match seed {
            Some(Seed::Fixed(seed)) => Ok(seed),
            Some(Seed::Random) | None => Ok(random_seed()),
            Some(Seed::Previous(n)) => self
                .ledger
                .back(n.into())
                .and_then(Entry::seed)
                .ok_or_else(|| SessionError::NoPicture(Reference::Back(n.into()).to_string())),
        }
    }

    /// One request for each combination.
    fn cells(
        &self,
        base: &GenerateRequest,
        template: &Template,
        dimensions: &[Dimension],
    ) -> Result<Vec<Planned>, SessionError> {
        let sizes: Vec<usize> = dimensions.iter().map(|dimension| dimension.labels.values.len()).collect();
        let total = sizes.iter().try_fold(1_usize, |total, size| total.checked_mul(*size));
        let total = total.filter(|total| *total <= choices::MOST).ok_or(ChoiceError::TooMany)?;
        let mut order: Vec<usize> = (0..dimensions.len()).collect();
        order.sort_by_key(|at| dimensions[*at].rank);
        (0..total)
            .map(|number| {
                let mut cell = vec![0; dimensions.len()];
                let mut rest = number;
                for at in order.iter().rev() {
                    cell[*at] = rest % sizes[*at];
                    rest /= sizes[*at];
                }
                self.cell(base, template, dimensions, cell)
            })
            .collect()
    }

    fn cell(
        &self,
        base: &GenerateRequest,
        template: &Template,
        dimensions: &[Dimension],
        cell: Vec<usize>,
    ) -> Result<Planned, SessionError> {
        let mut request = base.clone();
        let mut picks = vec![0; template.groups.len()];
        for (dimension, at) in dimensions.iter().zip(&cell) {
            match &dimension.what {
                Varies::Setting(setting) => setting.set(&mut request, &dimension.labels.values[*at])?,
                Varies::Choice(group) => picks[*group] = *at,
                Varies::Seeds(seeds) => request.seed = Some(Seed::Fixed(seeds[*at])),
            }
        }
        let seed = if let Some(Seed::Fixed(seed)) = request.seed { seed } else { 0 };
        request.prompt = choices::settle(&template.fill(&picks), &self.wildcards, seed)?;
        if request.prompt.trim().is_empty() {
            return Err(ValueError::EmptyPrompt.into());
        }
        Ok(Planned { request, cell })
    }

    /// Several pictures with one file name get numbers.
    #[expect(clippy::unused_self, reason = "reads as the other steps do")]
    fn outputs(&self, mut pictures: Vec<Planned>) -> Result<Vec<Planned>, SessionError> {
        let several = pictures.len() > 1;
        for (at, picture) in pictures.iter_mut().enumerate() {
            let Some(output) = &picture.request.output else { continue };
            if output == Path::new("-") && several {
                return Err(SessionError::OneToStdout);
            }
            if several {
                let stem = output.file_stem().unwrap_or_default().to_string_lossy();
                let extension = output.extension().unwrap_or("png".as_ref()).to_string_lossy();
                picture.request.output =
                    Some(output.with_file_name(format!("{stem}-{}.{extension}", at + 1)));
            }
        }
        Ok(pictures)
    }

    /// The file of a picture to start from, given as a file or a reference.
    fn image(&self, text: &str) -> Result<String, SessionError> {
        let Some(reference) = Reference::parse(text) else {
            let path = crate::paths::expand_tilde(text);
            return if path.is_file() {
                Ok(path.to_string_lossy().into_owned())
            } else {
                Err(SessionError::NoFile(path))
            };
        };
        Ok(self.picture_file(Some(&reference))?.to_string_lossy().into_owned())
    }
}

/// What the latents in the middle of a picture were made by.
const FIXED: &[&str] =
    &["model", "revision", "variant", "width", "height", "image", "strength", "variation", "variation-seed"];

/// `#12`, and its prompt where that is not shown as it changes.
pub fn made_from(parent: &Entry, plan: &Plan) -> String {
    match &plan.diff {
        Some(_) => parent.id.to_string(),
        None => format!("{} {}", parent.id, parent.request.prompt),
    }
}

/// Another seed is another first noise, and that is drawn where the first of a chain of branches begins.
fn reseed(branch: &mut Option<Branch<GenerateRequest>>, seed: Option<Seed>) {
    if let Some(Branch { of, .. }) = branch {
        of.seed = seed;
        reseed(&mut of.branch, seed);
    }
}

fn is_seed(axis: &Axis) -> bool {
    matches!(axis.setting.kind, Kind::Seed)
}

fn seed_axis(axes: &[Axis]) -> Option<&Axis> {
    axes.iter().find(|axis| is_seed(axis))
}

/// What differs between a picture and those made from it, prompt aside.
fn changes(base: &GenerateRequest, plan: &Plan) -> Vec<String> {
    let Some(first) = plan.pictures.first() else { return Vec::new() };
    let changed = SETTINGS.iter().filter(|s| !matches!(s.kind, Kind::Size)).filter_map(|setting| {
        if let Some(axis) = plan.axes.iter().find(|axis| axis.name == setting.name) {
            return Some(format!("{} {}", setting.name, axis.values.join(", ")));
        }
        let (old, new) = (setting.get(base), setting.get(&first.request));
        let text = |value: Option<String>| value.unwrap_or_else(|| "default".into());
        (old != new).then(|| format!("{} {} → {}", setting.name, text(old), text(new)))
    });
    changed.collect()
}

/// Below 2³², which every other tool can type.
fn random_seed() -> u64 {
    // The standard library's keys are random for each value, and cost no dependency.
    RandomState::new().hash_one(()) & 0xffff_ffff
}

impl From<EditError> for SessionError {
    fn from(error: EditError) -> Self {
        Self::Edit(error)
    }
}
