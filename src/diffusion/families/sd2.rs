//! Stable Diffusion 2.x: the pipeline, VAE and defaults of 1.x, with OpenCLIP's text encoder and, at 768 pixels,
//! v-prediction, both of which the configs say.

use super::{Family, ModelFacts, sd1};

pub(super) const FAMILY: Family =
    Family { name: "sd2", title: "Stable Diffusion 2.x", matches: has_open_clip, ..sd1::FAMILY };

/// OpenCLIP's networks have the exact GELU, OpenAI's a quicker one.
pub(super) fn has_open_clip(facts: &ModelFacts) -> bool {
    facts.text_encoder.hidden_act == "gelu"
}
