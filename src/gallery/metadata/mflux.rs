//! mflux: JSON in EXIF's user comment, and beside the picture as `NAME.metadata.json`
//! (`mflux/utils/generated_image.py`, `_get_metadata`).

use super::draft::{Draft, Field, Object};
use super::{ReadProblem, Texts};

pub(super) fn read(texts: &Texts) -> Result<Option<Draft>, ReadProblem> {
    let root =
        [Texts::USER_COMMENT, Texts::JSON].into_iter().find_map(|keyword| Object::parse(texts.get(keyword)?));
    let Some(mut root) = root.filter(|root| root.has("mflux_version")) else { return Ok(None) };
    let mut draft = Draft::default();
    root.fill(&mut draft, Field::Prompt, &["prompt"]);
    root.fill(&mut draft, Field::NegativePrompt, &["negative_prompt"]);
    root.fill(&mut draft, Field::Seed, &["seed"]);
    root.fill(&mut draft, Field::Steps, &["steps"]);
    root.fill(&mut draft, Field::GuidanceScale, &["guidance"]);
    root.fill(&mut draft, Field::Width, &["width"]);
    root.fill(&mut draft, Field::Height, &["height"]);
    root.fill(&mut draft, Field::Model, &["model"]);
    // Python's `str(None)`.
    if root.text("base_model").is_some_and(|name| name != "None") {
        root.ignore(&["base_model"]);
    }
    root.ignore(&["mflux_version", "generation_time_seconds", "generation_time", "created_at", "precision"]);
    root.leave_rest(&mut draft);
    Ok(Some(draft))
}
