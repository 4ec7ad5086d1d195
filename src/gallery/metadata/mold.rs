//! mold: JSON under the PNG keyword `mold:parameters`, or in a JPEG comment behind that word.

use super::draft::{Draft, Field, Object};
use super::{ReadProblem, Texts};

const KEYWORD: &str = "mold:parameters";

pub(super) fn read(texts: &Texts) -> Result<Option<Draft>, ReadProblem> {
    let comment = || texts.get(Texts::COMMENT).and_then(|text| text.strip_prefix(KEYWORD));
    let Some(text) = texts.get(KEYWORD).or_else(comment) else { return Ok(None) };
    let mut root = Object::parse(text).ok_or_else(|| ReadProblem::Broken {
        tool: "mold",
        reason: format!("`{KEYWORD}` is no JSON object"),
    })?;
    let mut draft = Draft::default();
    root.fill(&mut draft, Field::Prompt, &["prompt"]);
    root.fill(&mut draft, Field::NegativePrompt, &["negative_prompt"]);
    root.fill(&mut draft, Field::Model, &["model"]);
    root.fill(&mut draft, Field::Seed, &["seed"]);
    root.fill(&mut draft, Field::Steps, &["steps"]);
    root.fill(&mut draft, Field::GuidanceScale, &["guidance"]);
    root.fill(&mut draft, Field::Width, &["width"]);
    root.fill(&mut draft, Field::Height, &["height"]);
    root.fill(&mut draft, Field::Scheduler, &["scheduler"]);
    root.ignore(&["version", "output_format"]);
    root.leave_rest(&mut draft);
    Ok(Some(draft))
}
