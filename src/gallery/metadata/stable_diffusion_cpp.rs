//! stable-diffusion.cpp: A1111's text with `SDCPP: {json}` at its end (`examples/common/common.cpp`,
//! `get_image_params`). The JSON says all, so the text before it is only read when it is missing, as in files before
//! it was added.

use super::draft::{Draft, Field, Object};
use super::{ReadProblem, Texts, a1111};

const MARK: &str = ", SDCPP: ";

pub(super) fn read(texts: &Texts) -> Result<Option<Draft>, ReadProblem> {
    let Some(text) = texts.get(a1111::KEYWORD) else { return Ok(None) };
    // Prompts may say anything, but the settings are the last line, and JSON has no line breaks.
    let line = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
    let (text, json) = match text[line..].find(MARK) {
        Some(at) => (&text[..line + at], Some(&text[line + at + MARK.len()..])),
        None => (text, None),
    };
    if !text.trim_end().ends_with("Version: stable-diffusion.cpp") {
        return Ok(None);
    }
    match json {
        Some(json) => {
            let root = Object::parse(json).ok_or_else(|| ReadProblem::Broken {
                tool: "stable-diffusion.cpp",
                reason: "what follows `SDCPP:` is no JSON object".into(),
            })?;
            Ok(Some(from_json(root)))
        }
        None => Ok(a1111::read_text(text, |draft, sampler| {
            // `Sampler: euler_a karras`
            let (name, schedule) = sampler.split_once(' ').map_or((sampler, None), |(n, s)| (n, Some(s)));
            draft.sampler(name, schedule);
        })),
    }
}

fn from_json(mut root: Object) -> Draft {
    let mut draft = Draft::default();
    if let Some(mut prompt) = root.object("prompt") {
        prompt.fill(&mut draft, Field::Prompt, &["positive"]);
        prompt.fill(&mut draft, Field::NegativePrompt, &["negative"]);
    }
    root.fill(&mut draft, Field::Seed, &["seed"]);
    root.fill(&mut draft, Field::Width, &["width"]);
    root.fill(&mut draft, Field::Height, &["height"]);
    root.fill(&mut draft, Field::ClipStopLayer, &["clip_skip"]);
    if let Some(mut sampling) = root.object("sampling") {
        sampling.fill(&mut draft, Field::Steps, &["steps"]);
        let method = sampling.text("method");
        let schedule = sampling.text("scheduler");
        if let Some(method) = method {
            draft.sampler(&method, schedule.as_deref());
        }
        if let Some(mut guidance) = sampling.object("guidance") {
            guidance.fill(&mut draft, Field::GuidanceScale, &["txt_cfg"]);
            // Equal to `txt_cfg` unless set; distilled guidance is Flux's; skip-layer guidance is off at scale 0.
            guidance.ignore(&["img_cfg", "distilled_guidance"]);
            if guidance.object("slg").and_then(|mut slg| slg.text("scale")).is_some_and(|s| !is_zero(&s)) {
                draft.leave("skip layer guidance", "on");
            }
            guidance.leave_rest(&mut draft);
        }
        // Without a value of its own the method's default is written, which for ancestral ones is 1.
        if draft.request.scheduler.as_deref() == Some("ddim_trailing") {
            sampling.fill(&mut draft, Field::Eta, &["eta"]);
        }
        sampling.ignore(&["eta", "flow_shift"]);
        sampling.leave_rest(&mut draft);
    }
    if let Some(mut models) = root.object("models") {
        models.fill(&mut draft, Field::Model, &["model", "diffusion_model"]);
        models.leave_rest(&mut draft);
    }
    // The generator itself; strengths of inputs that are listed by their own names when there are any.
    root.ignore(&[
        "schema",
        "mode",
        "generator",
        "strength",
        "control_strength",
        "ip_adapter_strength",
        "auto_resize_ref_image",
        "rng",
        "sampler_rng",
    ]);
    root.leave_rest(&mut draft);
    draft
}

fn is_zero(text: &str) -> bool {
    text.parse() == Ok(0.0)
}
