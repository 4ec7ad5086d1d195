//! The embedded default model: `models/tintype-demo/`, compiled into the program.
//!
//! Knows its own files and nothing else; which of them a pipeline needs is `select`'s business, as for any model.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::StoreError;
use super::select::Source;
use crate::checkpoint::Blob;

/// What messages and recipes call the embedded model; also a spelling of it that `resolve` takes.
pub const NAME: &str = "embedded";

/// Weights are read in place as `f16`, so they must not lie at an odd address.
#[repr(C, align(16))]
struct Aligned<B: ?Sized>(B);

macro_rules! model_files {
    ($($path:literal),+ $(,)?) => {
        [$({
            static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!("../../models/tintype-demo/", $path)));
            ($path, &FILE.0)
        }),+]
    };
}

/// Every file of the model by its path relative to the model's folder.
fn files() -> [(&'static str, &'static [u8]); 14] {
    model_files![
        "latent_rgb.json",
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "tintype.json",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ]
}

/// The embedded model as a place to take files from.
pub(super) struct Embedded {
    listing: BTreeSet<String>,
}

impl Embedded {
    pub(super) fn new() -> Self {
        Self { listing: files().iter().map(|(path, _)| (*path).to_owned()).collect() }
    }

    fn bytes(path: &str) -> Result<&'static [u8], StoreError> {
        files()
            .into_iter()
            .find_map(|(name, bytes)| (name == path).then_some(bytes))
            .ok_or_else(|| StoreError::MissingFile { model: NAME.into(), file: path.into() })
    }
}

impl Source for Embedded {
    fn listing(&self) -> &BTreeSet<String> {
        &self.listing
    }

    fn read(&mut self, path: &str) -> Result<Cow<'static, [u8]>, StoreError> {
        Self::bytes(path).map(Cow::Borrowed)
    }

    fn fetch(&mut self, paths: &[String]) -> Result<Vec<Blob>, StoreError> {
        paths.iter().map(|path| Self::bytes(path).map(Blob::Static)).collect()
    }
}
