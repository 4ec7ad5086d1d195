//! Recipes and entries for tests.

use crate::request::{GenerateParams, GenerateRequest, ImageSize, JobId, Recipe, Reused, Seed, Timings};
use crate::session::entry::{Entry, JobState};

pub(crate) fn recipe(job: u64, prompt: &str) -> Recipe {
    let params = GenerateParams {
        prompt: prompt.into(),
        negative_prompt: None,
        model: "embedded".into(),
        revision: None,
        variant: None,
        scheduler: "ddim".into(),
        steps: 20,
        guidance_scale: 7.0,
        eta: 0.0,
        seed: job,
        size: ImageSize::new(64, 64),
        image: None,
        strength: None,
        variation: None,
        variation_seed: None,
        clip_skip: 0,
        stop_after: None,
        deep_cache: None,
        cfg_until: None,
        branch: None,
    };
    Recipe {
        job: JobId(job),
        params,
        device: "cpu".into(),
        dtype: "f32".into(),
        version: String::new(),
        timings: Timings::default(),
        reused: Reused::default(),
        peak_memory: 0,
        swap_grown: 0,
        memory: std::collections::BTreeMap::new(),
        path: Some(format!("{job}.png").into()),
        pixels_sha256: String::new(),
        file_sha256: None,
        latents: Vec::new(),
        weights: std::collections::BTreeMap::new(),
        notices: Vec::new(),
    }
}

pub(crate) fn entry(job: u64, prompt: &str) -> Entry {
    let recipe = recipe(job, prompt);
    Entry {
        id: JobId(job),
        at: jiff::Timestamp::UNIX_EPOCH,
        typed: prompt.into(),
        request: GenerateRequest {
            prompt: prompt.into(),
            seed: Some(Seed::Fixed(job)),
            ..GenerateRequest::default()
        },
        parent: None,
        batch: None,
        state: JobState::Finished,
        held: None,
        params: Some(recipe.params.clone()),
        recipe: Some(recipe),
        name: None,
        rating: None,
        note: None,
        deleted: false,
    }
}
