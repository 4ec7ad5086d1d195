//! Our own recipe, as JSON under the keyword `tintype`.

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::{ReadProblem, Texts};
use crate::request::{Branch, GenerateParams, GenerateRequest, Recipe, Seed};

/// The keyword in PNG files.
pub const KEYWORD: &str = "tintype";

/// The recipe as JSON. Of where the picture lies only the file's name: it will be moved, and shown to others.
pub fn write(recipe: &Recipe) -> String {
    let path = recipe.path.as_deref().and_then(Path::file_name).map(PathBuf::from);
    serde_json::to_string(&Recipe { path, ..recipe.clone() }).unwrap_or_default()
}

/// The recipe of a picture that tintype made.
pub(super) fn recipe(texts: &Texts) -> Option<Result<Recipe, ReadProblem>> {
    let text = texts.get(KEYWORD)?;
    Some(
        serde_json::from_str(text)
            .map_err(|error| ReadProblem::Broken { tool: "tintype", reason: error.to_string() }),
    )
}

/// Everything that decides the picture, as a request.
pub(super) fn read(texts: &Texts) -> Result<Option<Draft>, ReadProblem> {
    let Some(recipe) = recipe(texts) else { return Ok(None) };
    Ok(Some(Draft::from_request(request(&recipe?.params))))
}

/// The request that resolves to `params` again.
pub fn request(params: &GenerateParams) -> GenerateRequest {
    let GenerateParams {
        prompt,
        negative_prompt,
        model,
        revision,
        variant,
        scheduler,
        steps,
        guidance_scale,
        eta,
        seed,
        size,
        image,
        strength,
        variation,
        variation_seed,
        clip_skip,
        stop_after,
        deep_cache,
        cfg_until,
        branch,
    } = params.clone();
    GenerateRequest {
        prompt,
        negative_prompt,
        model: Some(model),
        revision,
        variant,
        scheduler: Some(scheduler),
        steps: Some(steps),
        guidance_scale: Some(guidance_scale),
        eta: Some(eta).filter(|eta| *eta != 0.0),
        seed: Some(Seed::Fixed(seed)),
        width: Some(size.width),
        height: Some(size.height),
        num_images: None,
        image: image.map(|path| path.to_string_lossy().into_owned()),
        strength,
        variation,
        variation_seed,
        clip_skip: Some(clip_skip).filter(|layers| *layers > 0),
        stop_after,
        deep_cache,
        cfg_until,
        branch: branch.map(|Branch { of, step }| Branch { of: Box::new(request(&of)), step }),
        grid: None,
        output: None,
    }
}
