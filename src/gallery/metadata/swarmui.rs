//! SwarmUI: JSON with `sui_image_params` where A1111 has its text.

use super::draft::{Draft, Field, Object};
use super::{ReadProblem, Texts, a1111};

pub(super) fn read(texts: &Texts) -> Result<Option<Draft>, ReadProblem> {
    let text = texts.get(a1111::KEYWORD).or_else(|| texts.get(Texts::USER_COMMENT));
    let params = text.and_then(Object::parse).and_then(|mut root| root.object("sui_image_params"));
    let Some(mut params) = params else { return Ok(None) };
    let mut draft = Draft::default();
    params.fill(&mut draft, Field::Prompt, &["prompt"]);
    params.fill(&mut draft, Field::NegativePrompt, &["negativeprompt"]);
    params.fill(&mut draft, Field::Model, &["model"]);
    params.fill(&mut draft, Field::Seed, &["seed"]);
    params.fill(&mut draft, Field::Steps, &["steps"]);
    params.fill(&mut draft, Field::GuidanceScale, &["cfgscale"]);
    params.fill(&mut draft, Field::Width, &["width"]);
    params.fill(&mut draft, Field::Height, &["height"]);
    let schedule = params.text("scheduler");
    if let Some(sampler) = params.text("sampler") {
        draft.sampler(&sampler, schedule.as_deref());
    }
    params.ignore(&["swarm_version", "date", "generation_time", "images", "aspectratio", "sidelength"]);
    params.leave_rest(&mut draft);
    Ok(Some(draft))
}
