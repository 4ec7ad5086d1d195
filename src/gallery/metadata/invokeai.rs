//! InvokeAI: `invokeai_metadata` (version 3 and later, JSON), `sd-metadata` (version 2, JSON) and `Dream` (the command
//! line that made the picture).

use serde_json::Value;

use super::draft::{Draft, Field, Object, text_of};
use super::{ReadProblem, Texts};

pub(super) fn read(texts: &Texts) -> Result<Option<Draft>, ReadProblem> {
    let object = |keyword: &str| match texts.get(keyword) {
        None => Ok(None),
        Some(text) => Object::parse(text).map(Some).ok_or_else(|| ReadProblem::Broken {
            tool: "InvokeAI",
            reason: format!("`{keyword}` is no JSON object"),
        }),
    };
    if let Some(root) = object("invokeai_metadata")? {
        return Ok(Some(version_3(root)));
    }
    match (object("sd-metadata"), texts.get("Dream")) {
        (Ok(Some(root)), _) => Ok(Some(version_2(root))),
        (_, Some(line)) => Ok(Some(command_line(line))),
        (problem, None) => problem.map(|_| None),
    }
}

fn version_3(mut root: Object) -> Draft {
    let mut draft = Draft::default();
    root.fill(&mut draft, Field::Prompt, &["positive_prompt"]);
    root.fill(&mut draft, Field::NegativePrompt, &["negative_prompt"]);
    root.fill(&mut draft, Field::Seed, &["seed"]);
    root.fill(&mut draft, Field::Steps, &["steps"]);
    root.fill(&mut draft, Field::GuidanceScale, &["cfg_scale", "guidance"]);
    root.fill(&mut draft, Field::Scheduler, &["scheduler"]);
    root.fill(&mut draft, Field::Width, &["width"]);
    root.fill(&mut draft, Field::Height, &["height"]);
    root.fill(&mut draft, Field::ClipSkip, &["clip_skip"]);
    if let Some(mut model) = root.object("model") {
        model.fill(&mut draft, Field::Model, &["name", "model_name"]);
    }
    // The prompts of SDXL's second encoder are the first's unless they were given.
    for (key, same) in [
        ("positive_style_prompt", Some(draft.request.prompt.clone())),
        ("negative_style_prompt", draft.request.negative_prompt.clone()),
    ] {
        if let Some(text) = root.text(key).filter(|text| Some(text) != same.as_ref()) {
            draft.leave(key, &text);
        }
    }
    root.ignore(&["generation_mode", "app_version", "metadata_version", "rand_device"]);
    root.leave_rest(&mut draft);
    draft
}

fn version_2(mut root: Object) -> Draft {
    let mut draft = Draft::default();
    root.fill(&mut draft, Field::Model, &["model_weights", "model_id", "model"]);
    root.ignore(&["model", "model_id", "model_weights", "model_hash", "app_id", "app_version"]);
    let image = root.object("image").or_else(|| match root.value("images") {
        // A grid has one entry a picture; the first makes the same prompt as the others.
        Some(Value::Array(images)) => images.into_iter().next().and_then(Object::from_value),
        _ => None,
    });
    if let Some(mut image) = image {
        let prompt = match image.value("prompt") {
            Some(Value::Array(parts)) => parts
                .into_iter()
                .filter_map(|part| Object::from_value(part)?.text("prompt"))
                .collect::<Vec<_>>()
                .join(" "),
            Some(value) => text_of(&value).unwrap_or_default(),
            None => String::new(),
        };
        prompt_with_brackets(&mut draft, &prompt);
        image.fill(&mut draft, Field::Seed, &["seed"]);
        image.fill(&mut draft, Field::Steps, &["steps"]);
        image.fill(&mut draft, Field::GuidanceScale, &["cfg_scale"]);
        image.fill(&mut draft, Field::Scheduler, &["sampler"]);
        image.fill(&mut draft, Field::Width, &["width"]);
        image.fill(&mut draft, Field::Height, &["height"]);
        image.ignore(&["type"]);
        image.leave_rest(&mut draft);
    }
    root.leave_rest(&mut draft);
    draft
}

/// A prompt in which `[words in brackets]` are what the picture should not show.
fn prompt_with_brackets(draft: &mut Draft, prompt: &str) {
    let mut shown = String::new();
    let mut unwanted = Vec::new();
    let mut rest = prompt;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((words, after)) = after.split_once(']') else { break };
        shown.push_str(before);
        shown.push(' ');
        unwanted.push(words.trim());
        rest = after;
    }
    shown.push_str(rest);
    let shown = if unwanted.is_empty() {
        shown
    } else {
        shown.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    draft.set(Field::Prompt, "prompt", &shown);
    draft.set(Field::NegativePrompt, "prompt", &unwanted.join(" "));
}

/// `"a fox [blurry]" -s 50 -S 123 -W 512 -H 512 -C 7.5 -A k_lms`, or with values attached: `-s50`.
fn command_line(line: &str) -> Draft {
    let mut draft = Draft::default();
    // What follows is a comment: `# model_id=stable-diffusion-1.5`.
    let (line, comment) = line.rsplit_once("  # ").unwrap_or((line, ""));
    if let Some(model) = comment.trim().strip_prefix("model_id=") {
        draft.set(Field::Model, "model_id", model);
    }
    let line = line.trim();
    let quoted = line.strip_prefix('"').and_then(|line| line.rsplit_once('"'));
    let (prompt, switches) = quoted.unwrap_or_else(|| match line.find(" -") {
        Some(at) => line.split_at(at),
        None => (line, ""),
    });
    prompt_with_brackets(&mut draft, &prompt.replace("\\\"", "\""));
    let mut words = switches.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let attached = word.get(2..).filter(|value| !value.is_empty() && !word.starts_with("--"));
        let (switch, value) = match attached {
            Some(value) => (&word[..2], value),
            None => (word, words.next_if(|next| !next.starts_with("--") && !is_switch(next)).unwrap_or("on")),
        };
        let field = match switch {
            "-s" | "--steps" => Field::Steps,
            "-S" | "--seed" => Field::Seed,
            "-W" | "--width" => Field::Width,
            "-H" | "--height" => Field::Height,
            "-C" | "--cfg_scale" => Field::GuidanceScale,
            "-A" | "--sampler" => Field::Scheduler,
            _ => {
                draft.leave(switch, value);
                continue;
            }
        };
        draft.set(field, switch, value);
    }
    draft
}

fn is_switch(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
}
