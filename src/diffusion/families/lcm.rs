//! Latent consistency models: distilled to few steps, with the guidance scale as an input of the UNet
//! (`time_cond_proj_dim`) in place of a second run with the negative prompt.

use super::{Family, ModelFacts, sd1, sdxl};
use crate::diffusion::error::DiffusionError;

/// The pipeline that was made for them.
pub(super) const LCM: Family = Family {
    name: "lcm",
    title: "Latent consistency model",
    pipeline: "LatentConsistencyModelPipeline",
    matches: |_| true,
    check: |facts| match facts.unet.time_cond_proj_dim {
        Some(_) => Ok(()),
        None => Err(DiffusionError::unsupported("unet/config.json", "time_cond_proj_dim", "null", "a size")),
    },
    // The defaults of diffusers' `LatentConsistencyModelPipeline.__call__`.
    steps: 4,
    guidance_scale: 8.5,
    ..sd1::FAMILY
};

/// Such a UNet in Stable Diffusion's own pipeline, which treats it the same.
pub(super) const SD: Family = Family { pipeline: sd1::FAMILY.pipeline, matches: is_distilled, ..LCM };

/// Such a UNet in SDXL's pipeline.
pub(super) const SDXL: Family = Family {
    name: "lcm-sdxl",
    title: "Latent consistency model (SDXL)",
    matches: is_distilled,
    steps: LCM.steps,
    guidance_scale: 8.,
    ..sdxl::FAMILY
};

fn is_distilled(facts: &ModelFacts) -> bool {
    facts.unet.time_cond_proj_dim.is_some()
}
