//! Which files of a model a pipeline needs: read from `model_index.json`, one choice made for every component.
//!
//! The same for every place that files come from (a [`Source`]); knows nothing of disks, caches and networks.
//! File names follow diffusers' `_add_variant` and `variant_compatible_siblings`
//! (`pipelines/pipeline_loading_utils.py`) and transformers' `WEIGHTS_NAME` constants.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::StoreError;
use crate::checkpoint::{Blob, Checkpoint};

/// The file that says which components a pipeline has.
pub(super) const MODEL_INDEX: &str = "model_index.json";

/// Parts of Python pipelines that make no difference to the picture.
const NOT_NEEDED: [&str; 3] = ["safety_checker", "feature_extractor", "image_encoder"];

/// Beside `model_index.json`: factors for previews, and the author's default settings. Only tintype reads them.
const EXTRA_FILES: [&str; 2] = ["latent_rgb.json", "tintype.json"];

/// What weight files are called before the variant and `.safetensors`: by diffusers, by transformers.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

/// A place that a model's files come from.
pub(super) trait Source {
    /// Paths relative to the model's folder, with `/`.
    fn listing(&self) -> &BTreeSet<String>;

    /// The content of a small file.
    fn read(&mut self, path: &str) -> Result<Cow<'static, [u8]>, StoreError>;

    /// Makes these files ready to be opened; one blob for each path, in order.
    fn fetch(&mut self, paths: &[String]) -> Result<Vec<Blob>, StoreError>;
}

/// How to choose between weight files that hold the same network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice<'a> {
    /// The variant that was asked for.
    pub variant: Option<&'a str>,
    /// Without such a wish, take half-precision files when both exist.
    pub prefer_half: bool,
}

/// Chooses and fetches everything that a pipeline of this model needs. `name` is what messages call it.
pub(super) fn assemble(
    source: &mut dyn Source,
    name: &str,
    choice: Choice<'_>,
) -> Result<Checkpoint, StoreError> {
    let model = name.to_owned();
    if !source.listing().contains(MODEL_INDEX) {
        return Err(StoreError::NoModelIndex { model });
    }
    let components = components(name, &source.read(MODEL_INDEX)?)?;
    let mut paths = vec![MODEL_INDEX.to_owned()];
    paths.extend(EXTRA_FILES.map(String::from).into_iter().filter(|file| source.listing().contains(file)));
    for component in &components {
        let config = component.config_path();
        if !source.listing().contains(&config) {
            return Err(StoreError::MissingFile { model, file: config });
        }
        paths.extend(settings_of(source.listing(), &component.name));
    }

    let choices = choose_weights(name, source.listing(), &components, choice)?;
    let mut weights = Vec::new();
    for (component, file) in &choices {
        let files = file.shards(name, component, source)?;
        weights.push((component.clone(), paths.len()..paths.len() + files.len()));
        paths.extend(files);
    }
    let variant = choices.values().find_map(|file| file.variant.clone());
    tracing::info!(model = name, variant = variant.as_deref().unwrap_or("plain"), ?paths, "files chosen");

    let blobs = source.fetch(&paths)?;
    let settings = weights.first().map_or(paths.len(), |(_, range)| range.start);
    Ok(Checkpoint {
        name: model,
        revision: None,
        variant,
        weights: weights.into_iter().map(|(component, range)| (component, blobs[range].to_vec())).collect(),
        files: paths.into_iter().zip(blobs).take(settings).collect(),
    })
}

/// A component that `model_index.json` names: `"unet": ["diffusers", "UNet2DConditionModel"]`.
struct Component {
    name: String,
    class: String,
}

impl Component {
    fn is_tokenizer(&self) -> bool {
        self.class.contains("Tokenizer")
    }

    fn is_scheduler(&self) -> bool {
        self.class.ends_with("Scheduler")
    }

    /// Whether it is a network, which has weights.
    fn is_network(&self) -> bool {
        !self.is_tokenizer() && !self.is_scheduler() && !self.class.ends_with("Processor")
    }

    /// The file without which it cannot be built.
    fn config_path(&self) -> String {
        let file = if self.is_scheduler() {
            "scheduler_config.json"
        } else if self.is_tokenizer() {
            "tokenizer_config.json"
        } else if self.is_network() {
            "config.json"
        } else {
            "preprocessor_config.json"
        };
        format!("{}/{file}", self.name)
    }
}

/// The components of a pipeline, in the file's order. Absent ones (`[null, null]`) and settings are left out.
fn components(model: &str, index: &[u8]) -> Result<Vec<Component>, StoreError> {
    let index: serde_json::Map<String, serde_json::Value> = parse(model, MODEL_INDEX, index)?;
    let components: Vec<Component> = index
        .into_iter()
        .filter(|(name, _)| !NOT_NEEDED.contains(&name.as_str()))
        .filter_map(|(name, value)| {
            let (_library, class) = serde_json::from_value::<(String, String)>(value).ok()?;
            Some(Component { name, class })
        })
        .collect();
    if components.is_empty() {
        return Err(StoreError::NoComponents { model: model.into() });
    }
    // A component's name becomes a folder's name.
    if let Some(bad) = components.iter().find(|component| component.name.contains(['/', '\\', '.'])) {
        return Err(StoreError::BadComponent { model: model.into(), component: bad.name.clone() });
    }
    Ok(components)
}

fn parse<T: serde::de::DeserializeOwned>(model: &str, file: &str, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|source| StoreError::BadJson {
        model: model.into(),
        file: file.into(),
        source,
    })
}

/// The configuration and vocabulary files in a component's folder.
fn settings_of(listing: &BTreeSet<String>, component: &str) -> Vec<String> {
    in_folder(listing, component)
        .filter(|(_, file)| {
            let (stem, extension) = file.rsplit_once('.').unwrap_or((file, ""));
            matches!(extension, "json" | "txt" | "model") && !stem.contains(".index")
        })
        .map(|(path, _)| path.clone())
        .collect()
}

/// The files of a folder: the whole path and the name in the folder.
fn in_folder<'a>(
    listing: &'a BTreeSet<String>,
    folder: &'a str,
) -> impl Iterator<Item = (&'a String, &'a str)> {
    listing.iter().filter_map(move |path| {
        let file = path.strip_prefix(folder)?.strip_prefix('/')?;
        (!file.contains('/')).then_some((path, file))
    })
}

/// The safetensors of a component in one variant: one file, or the index of several.
#[derive(Clone, Debug, PartialEq, Eq)]
struct WeightsFile {
    path: String,
    variant: Option<String>,
    is_index: bool,
}

/// An `*.index.json`: which shard holds which tensor.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl WeightsFile {
    /// Understands the names that diffusers and transformers give to weights; `None` for any other file, and for
    /// single shards, which only their index can name.
    fn parse(path: &str, file: &str) -> Option<Self> {
        let rest = STEMS.iter().find_map(|stem| file.strip_prefix(stem)?.strip_prefix('.'))?;
        let (variant, is_index) = match rest.split('.').collect::<Vec<_>>()[..] {
            ["safetensors"] => (None, false),
            [variant, "safetensors"] if !variant.contains("-of-") => (Some(variant), false),
            ["safetensors", "index", "json"] => (None, true),
            ["safetensors", "index", variant, "json"] | ["safetensors", variant, "index", "json"] => {
                (Some(variant), true)
            }
            _ => return None,
        };
        Some(Self { path: path.into(), variant: variant.map(str::to_owned), is_index })
    }

    /// The paths of all files that hold the weights.
    fn shards(
        &self,
        model: &str,
        component: &str,
        source: &mut dyn Source,
    ) -> Result<Vec<String>, StoreError> {
        if !self.is_index {
            return Ok(vec![self.path.clone()]);
        }
        let index: ShardIndex = parse(model, &self.path, &source.read(&self.path)?)?;
        let shards: BTreeSet<String> =
            index.weight_map.into_values().map(|shard| format!("{component}/{shard}")).collect();
        if let Some(missing) = shards.iter().find(|shard| !source.listing().contains(*shard)) {
            return Err(StoreError::MissingFile { model: model.into(), file: missing.clone() });
        }
        Ok(shards.into_iter().collect())
    }
}

/// One file (or index) for each network.
fn choose_weights(
    model: &str,
    listing: &BTreeSet<String>,
    components: &[Component],
    choice: Choice<'_>,
) -> Result<BTreeMap<String, WeightsFile>, StoreError> {
    let networks: Vec<(&str, Vec<WeightsFile>)> = components
        .iter()
        .filter(|component| component.is_network())
        .map(|component| {
            let name = component.name.as_str();
            let files =
                in_folder(listing, name).filter_map(|(path, file)| WeightsFile::parse(path, file)).collect();
            (name, files)
        })
        .collect();
    let variants: BTreeSet<&str> =
        networks.iter().flat_map(|(_, files)| files).filter_map(|file| file.variant.as_deref()).collect();
    if let Some(asked) = choice.variant
        && !variants.contains(asked)
    {
        let variants = variants.into_iter().map(str::to_owned).collect();
        return Err(StoreError::NoSuchVariant { model: model.into(), asked: asked.into(), variants });
    }

    let order = preference(choice);
    networks
        .iter()
        .map(|(component, files)| match pick(files, &order) {
            Some(file) => Ok(((*component).to_owned(), file.clone())),
            None => Err(no_weights(model, listing, component, files)),
        })
        .collect()
}

/// Variants from the most to the least wanted. A component that lacks the asked variant is taken plain, as in
/// diffusers: repositories often have no second file for a small text encoder.
fn preference(choice: Choice<'_>) -> Vec<Option<&str>> {
    match choice {
        Choice { variant: Some(asked), .. } => vec![Some(asked), None],
        Choice { prefer_half: true, .. } => vec![Some("fp16"), None, Some("bf16")],
        Choice { prefer_half: false, .. } => vec![None, Some("fp16"), Some("bf16")],
    }
}

/// The most wanted file; one file rather than the shards of the same weights.
fn pick<'a>(files: &'a [WeightsFile], order: &[Option<&str>]) -> Option<&'a WeightsFile> {
    order.iter().find_map(|wanted| {
        files.iter().filter(|file| file.variant.as_deref() == *wanted).min_by_key(|file| file.is_index)
    })
}

/// Why a network has no file that could be taken.
fn no_weights(model: &str, listing: &BTreeSet<String>, component: &str, files: &[WeightsFile]) -> StoreError {
    let (model, component) = (model.to_owned(), component.to_owned());
    let variants: Vec<String> = files.iter().filter_map(|file| file.variant.clone()).collect();
    if !variants.is_empty() {
        return StoreError::OnlyVariants { model, component, variants };
    }
    let pickle = in_folder(listing, &component).find(|(_, file)| {
        file.rsplit_once('.').is_some_and(|(_, e)| matches!(e, "bin" | "ckpt" | "pt" | "pth"))
    });
    match pickle {
        Some((path, _)) => StoreError::Pickle { model, file: path.clone() },
        None => StoreError::NoWeights { model, component },
    }
}
