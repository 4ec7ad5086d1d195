//! SDXL: two text encoders, and a UNet that is also told the pooled text embedding and the picture's size.

use super::{Family, ModelFacts, TextRecipe};
use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::models::unet::AdditionEmbedType;
use crate::diffusion::preview::LatentSpace;
use crate::request::ImageSize;

pub(super) const FAMILY: Family = Family {
    name: "sdxl",
    title: "SDXL",
    pipeline: "StableDiffusionXLPipeline",
    matches: |_| true,
    check: check_added_conditions,
    text: TextRecipe::Penultimate,
    // The defaults of diffusers' `StableDiffusionXLPipeline.__call__`.
    steps: 50,
    guidance_scale: 5.,
    latent_space: LatentSpace::StableDiffusionXl,
};

/// What SDXL's UNet is told of the picture: original height and width, top and left of the crop, target height and
/// width. As diffusers by default: nothing was scaled or cropped.
pub fn time_ids(size: ImageSize) -> Vec<f64> {
    let (height, width) = (f64::from(size.height), f64::from(size.width));
    vec![height, width, 0., 0., height, width]
}

const UNET: &str = "unet/config.json";

/// The pooled text embedding and the embeddings of all time ids together must be what the UNet takes; diffusers
/// checks the same in `_get_add_time_ids`.
fn check_added_conditions(facts: &ModelFacts) -> Result<()> {
    let unet = &facts.unet;
    let (Some(AdditionEmbedType::TextTime), Some(time), Some(taken)) =
        (unet.addition_embed_type, unet.addition_time_embed_dim, unet.projection_class_embeddings_input_dim)
    else {
        return Err(DiffusionError::unsupported(UNET, "addition_embed_type", "null", "text_time"));
    };
    let given = 6 * time + facts.text_encoder_2.as_ref().map_or(0, |config| config.projection_dim);
    if given == taken {
        return Ok(());
    }
    Err(DiffusionError::Config {
        file: UNET.into(),
        message: format!(
            "projection_class_embeddings_input_dim = {taken}, but 6 time ids of {time} and the pooled text are {given}"
        ),
    })
}
