//! SD-Turbo and SDXL-Turbo: distilled to very few steps, without guidance, at 512×512.
//!
//! Their networks are those of Stable Diffusion 2 and SDXL; what tells them apart in the published files is the
//! scheduler: Euler (SD-Turbo) or Euler ancestral (SDXL-Turbo) with trailing timesteps and ε-prediction, which no
//! undistilled model of these shapes ships with, and, beside SDXL's 1,024 pixels, the UNet's 512. A checkpoint that
//! was distilled in another way and does not say so in these keys gets the defaults of its base; `--steps` and
//! `--guidance-scale` are the person's then.

use super::{Family, ModelFacts, sd2, sdxl};
use crate::diffusion::models::component_config::SampleSize;

pub(super) const SD: Family = Family {
    name: "sd-turbo",
    title: "SD-Turbo",
    matches: |facts| sd2::has_open_clip(facts) && is_distilled(facts),
    steps: STEPS,
    guidance_scale: 0.,
    ..sd2::FAMILY
};

pub(super) const SDXL: Family = Family {
    name: "sdxl-turbo",
    title: "SDXL-Turbo",
    matches: is_distilled,
    steps: STEPS,
    guidance_scale: 0.,
    ..sdxl::FAMILY
};

/// The model cards show one step; "Adversarial Diffusion Distillation" (2023) rates four clearly above it.
const STEPS: u32 = 4;

fn is_distilled(facts: &ModelFacts) -> bool {
    let scheduler = &facts.scheduler;
    matches!(scheduler.class_name.as_str(), "EulerDiscreteScheduler" | "EulerAncestralDiscreteScheduler")
        && scheduler.timestep_spacing == "trailing"
        && matches!(scheduler.prediction_type.as_str(), "epsilon" | "")
        && facts.unet.sample_size == Some(SampleSize::Square(64))
}
