//! SDXL: two text encoders, and a UNet that is also told the pooled text embedding and the picture's size.

use super::{Family, ModelFacts, TextRecipe};
use crate::diffusion::error::{DiffusionError, Result};
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
pub fn time_ids(size: ImageSize) -> [f32; 6] {
    let (height, width) = (size.height as f32, size.width as f32);
    [height, width, 0., 0., height, width]
}

const UNET: &str = "unet/config.json";

/// The pooled text embedding and the embeddings of all time ids together must be what the UNet takes; diffusers
/// checks the same in `_get_add_time_ids`.
fn check_added_conditions(facts: &ModelFacts) -> Result<()> {
    let unet = &facts.unet;
    let kind = unet.addition_embed_type.as_deref().unwrap_or("null");
    if kind != "text_time" {
        return Err(DiffusionError::unsupported(UNET, "addition_embed_type", kind, "text_time"));
    }
    let (Some(time), Some(taken)) =
        (unet.addition_time_embed_dim, unet.projection_class_embeddings_input_dim)
    else {
        return Err(DiffusionError::Config {
            file: UNET.into(),
            message: "text_time needs addition_time_embed_dim and projection_class_embeddings_input_dim"
                .into(),
        });
    };
    let given = 6 * time + facts.text_encoder_2.projection_dim.unwrap_or(0);
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
