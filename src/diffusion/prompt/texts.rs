//! Texts that were encoded, kept so that none is encoded twice.

use std::sync::{Mutex, PoisonError};

use candle_core::{Device, Tensor};

use super::Weighting;
use crate::diffusion::error::Result;

/// What a text is to the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What it shows.
    Prompt,
    /// What it does not show.
    Negative,
}

impl Role {
    /// What messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Negative => "negative prompt",
        }
    }
}

/// A text, and all that decides what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// What it is to the picture.
    pub role: Role,
    /// The text.
    pub text: String,
    /// Layers of the text encoders that are left out.
    pub clip_skip: u32,
    /// Whether brackets are emphasis.
    pub weighting: Weighting,
}

/// What became of a text.
#[derive(Clone, Debug)]
pub struct TextEmbeds {
    /// `[1, n, d]`.
    pub embeds: Tensor,
    /// `[1, p]`, for families that condition on it.
    pub pooled: Option<Tensor>,
    /// What the person should know.
    pub notices: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl TextEmbeds {
    /// The same on another device.
    ///
    /// # Errors
    /// When that has no memory left.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let pooled = self.pooled.as_ref().map(|pooled| pooled.to_device(device)).transpose()?;
        Ok(Self { embeds: self.embeds.to_device(device)?, pooled, ..self.clone() })
    }

    /// Of the same shapes, all zeros, for nothing.
    ///
    /// # Errors
    /// When the device has no memory left.
    pub(super) fn zeros(&self) -> Result<Self> {
        let pooled = self.pooled.as_ref().map(Tensor::zeros_like).transpose()?;
        Ok(Self { embeds: self.embeds.zeros_like()?, pooled, notices: Vec::new(), seconds: 0. })
    }
}

/// Texts that are kept: a few hundred KB each.
const MOST: usize = 64;

/// The texts that were encoded last, on the host: they outlive the model.
#[derive(Debug, Default)]
pub struct TextCache {
    kept: Mutex<Vec<(String, Text, TextEmbeds)>>,
}

impl TextCache {
    pub(super) fn get(&self, site: &str, text: &Text) -> Option<TextEmbeds> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(where_, known, _)| where_ == site && known == text)?;
        let entry = kept.remove(at);
        let embeds = entry.2.clone();
        kept.push(entry);
        Some(embeds)
    }

    pub(super) fn put(&self, site: &str, text: Text, embeds: TextEmbeds) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MOST {
            kept.remove(0);
        }
        kept.push((site.to_owned(), text, embeds));
    }
}
