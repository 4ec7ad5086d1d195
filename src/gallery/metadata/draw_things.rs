//! Draw Things: JSON in XMP's `exif:UserComment`, with `c` and `uc` for the prompts and the app's own configuration
//! under `v2`.

use super::draft::{Draft, Field, Object};
use super::{ReadProblem, Texts};

pub(super) fn read(texts: &Texts) -> Result<Option<Draft>, ReadProblem> {
    let Some(mut root) = texts.get(Texts::USER_COMMENT).and_then(Object::parse) else { return Ok(None) };
    if !root.has("c") || !(root.has("uc") || root.has("v2")) {
        return Ok(None);
    }
    let mut draft = Draft::default();
    root.fill(&mut draft, Field::Prompt, &["c"]);
    root.fill(&mut draft, Field::NegativePrompt, &["uc"]);
    root.fill(&mut draft, Field::Seed, &["seed"]);
    root.fill(&mut draft, Field::Steps, &["steps"]);
    root.fill(&mut draft, Field::GuidanceScale, &["scale"]);
    root.fill(&mut draft, Field::Scheduler, &["sampler"]);
    root.fill(&mut draft, Field::Size, &["size"]);
    root.fill(&mut draft, Field::Width, &["width"]);
    root.fill(&mut draft, Field::Height, &["height"]);
    root.fill(&mut draft, Field::Model, &["model"]);
    if let Some(strength) = root.text("strength").filter(|text| text.parse() != Ok(1.0)) {
        draft.leave("strength", &strength);
    }
    // The same again with every switch of the app; what it adds to a plain picture are these.
    if let Some(mut configuration) = root.object("v2") {
        configuration.fill(&mut draft, Field::ClipStopLayer, &["clipSkip"]);
        for key in ["loras", "controls", "refinerModel", "upscaler", "hiresFix"] {
            if let Some(value) = configuration.value(key) {
                draft.leave_value(key, &value);
            }
        }
    }
    root.ignore(&["seed_mode", "profile"]);
    root.leave_rest(&mut draft);
    Ok(Some(draft))
}
