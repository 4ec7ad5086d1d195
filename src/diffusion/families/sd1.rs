//! Stable Diffusion 1.x, and whatever else is a `StableDiffusionPipeline`.

use super::{Family, TextRecipe};
use crate::diffusion::preview::LatentSpace;

pub(super) const FAMILY: Family = Family {
    name: "sd1",
    title: "Stable Diffusion 1.x",
    pipeline: "StableDiffusionPipeline",
    matches: |_| true,
    check: |_| Ok(()),
    text: TextRecipe::LastHiddenState,
    // The defaults of diffusers' `StableDiffusionPipeline.__call__`.
    steps: 50,
    guidance_scale: 7.5,
    latent_space: LatentSpace::StableDiffusion,
};
