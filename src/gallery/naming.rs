//! Where a picture without a given file goes: a template of fields, filled from its recipe.
//!
//! Knows names, not the disk: [`save::write_within`](super::save::write_within) finds the free one.

use std::path::{Component, Path, PathBuf};

use jiff::civil::DateTime;

use crate::request::Recipe;

/// A folder a day, in it one a session; no two pictures of a session have the same name.
pub const DEFAULT_TEMPLATE: &str = "{date}/{session}/{job}-{prompt}-{seed}";

/// What stands for a field of a template.
type Value = fn(&Facts<'_>) -> String;

/// The fields of a template.
const FIELDS: &[(&str, Value)] = &[
    ("date", |facts| facts.at.strftime("%Y-%m-%d").to_string()),
    ("time", |facts| facts.at.strftime("%H%M%S").to_string()),
    ("session", |facts| slug(facts.session)),
    ("job", |facts| format!("{:04}", facts.recipe.job.0)),
    ("seed", |facts| facts.recipe.params.seed.to_string()),
    ("prompt", |facts| slug(&facts.recipe.params.prompt)),
    ("model", |facts| {
        let model = facts.recipe.params.model.trim_end_matches(['/', '\\']);
        slug(model.rsplit(['/', '\\']).next().unwrap_or(model))
    }),
    ("scheduler", |facts| slug(&facts.recipe.params.scheduler)),
    ("steps", |facts| facts.recipe.params.steps.to_string()),
    ("cfg", |facts| facts.recipe.params.guidance_scale.to_string()),
    ("width", |facts| facts.recipe.params.size.width.to_string()),
    ("height", |facts| facts.recipe.params.size.height.to_string()),
];

/// Most characters of a field.
const LONGEST_FIELD: usize = 60;
/// Most bytes of a file's or folder's name; file systems take 255, and a number and an ending may follow.
const LONGEST_NAME: usize = 200;

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A field that does not exist.
    #[error("the file-name template has no field {{{field}}}; use {}", field_names())]
    UnknownField {
        /// What stands between the braces.
        field: String,
    },
    /// A brace without its other half.
    #[error("a {{ in the file-name template is not closed; write fields as {{seed}}")]
    Unclosed,
    /// Nothing but folders, or a way out of the output folder.
    #[error("the file-name template must name a file within the output folder, such as {DEFAULT_TEMPLATE}")]
    Outside,
}

struct Facts<'a> {
    recipe: &'a Recipe,
    session: &'a str,
    at: DateTime,
}

/// The path within the output folder that `template` gives the picture of `recipe`, ending in `.png`.
///
/// # Errors
/// When the template has an unknown field, an open brace, or leads out of the folder.
pub fn output_path(
    template: &str,
    recipe: &Recipe,
    session: &str,
    at: DateTime,
) -> Result<PathBuf, TemplateError> {
    let facts = Facts { recipe, session, at };
    path(template, |value| value(&facts))
}

/// Finds out whether a template can be used, before there is a picture.
///
/// # Errors
/// As [`output_path`].
pub fn check_template(template: &str) -> Result<(), TemplateError> {
    path(template, |_| "x".to_owned()).map(drop)
}

fn path(template: &str, fill: impl Fn(Value) -> String) -> Result<PathBuf, TemplateError> {
    let template = template.trim();
    let within = Path::new(template).components().all(|part| matches!(part, Component::Normal(_)));
    if template.is_empty() || template.ends_with('/') || !within {
        return Err(TemplateError::Outside);
    }
    let template = template.strip_suffix(".png").unwrap_or(template);
    let mut path = PathBuf::new();
    for part in template.split('/').filter(|part| !part.is_empty()) {
        path.push(name(part, &fill)?);
    }
    let file = path.file_name().ok_or(TemplateError::Outside)?;
    let file = format!("{}.png", file.to_string_lossy());
    Ok(path.with_file_name(file))
}

/// One folder's or file's name.
fn name(part: &str, fill: &impl Fn(Value) -> String) -> Result<String, TemplateError> {
    let mut name = String::new();
    let mut rest = part;
    while let Some((before, after)) = rest.split_once('{') {
        let (field, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
        let row = FIELDS.iter().find(|row| row.0 == field.trim());
        let (_, value) = row.ok_or_else(|| TemplateError::UnknownField { field: field.into() })?;
        name.push_str(before);
        name.push_str(&fill(*value));
        rest = after;
    }
    name.push_str(rest);
    let name: String = name.chars().filter(|c| !c.is_control() && !r#"\:*?"<>|"#.contains(*c)).collect();
    // A prompt of nothing but signs leaves an empty field and its hyphens; a leading dot would hide the file.
    let name = collapse(&name);
    let name = cut(name.trim_matches(['-', '.', ' ']), LONGEST_NAME);
    Ok(if name.is_empty() { "picture".to_owned() } else { name.to_owned() })
}

/// Lower case letters, digits, and hyphens for the rest; a dot stays between digits (`xl-base-1.0`).
fn slug(text: &str) -> String {
    let chars: Vec<char> = text.chars().take(4 * LONGEST_FIELD).collect();
    let digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_digit);
    let slug: String = chars
        .iter()
        .enumerate()
        .flat_map(|(at, c)| {
            let keep = c.is_alphanumeric()
                || *c == '_'
                || (*c == '.' && digit(at.checked_sub(1)) && digit(Some(at + 1)));
            if keep { *c } else { '-' }.to_lowercase()
        })
        .collect();
    let slug: String = collapse(&slug).trim_matches('-').chars().take(LONGEST_FIELD).collect();
    slug.trim_end_matches('-').to_owned()
}

/// One hyphen for several.
fn collapse(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '-' || !collapsed.ends_with('-') {
            collapsed.push(c);
        }
    }
    collapsed
}

/// At most `most` bytes, whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn field_names() -> String {
    FIELDS.iter().map(|(name, _)| format!("{{{name}}}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(prompt: &str) -> Recipe {
        serde_json::from_value(serde_json::json!({
            "job": 12,
            "params": {
                "prompt": prompt,
                "model": "stabilityai/stable-diffusion-xl-base-1.0",
                "scheduler": "dpmpp_2m_karras",
                "steps": 20,
                "guidance_scale": 7.5,
                "seed": 5,
                "size": { "width": 640, "height": 512 },
            },
            "device": "cpu",
            "dtype": "f32",
            "version": "0.1.0",
            "timings": {},
            "peak_memory": 0,
            "pixels_sha256": "",
        }))
        .unwrap()
    }

    fn named(template: &str, prompt: &str) -> Result<String, TemplateError> {
        let at = jiff::civil::date(2026, 3, 4).at(5, 6, 7, 0);
        output_path(template, &recipe(prompt), "evening", at).map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_field_has_its_value() {
        assert_eq!(named(DEFAULT_TEMPLATE, "A Red fox!").unwrap(), "2026-03-04/evening/0012-a-red-fox-5.png");
        let all: Vec<String> = FIELDS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
        assert_eq!(
            named(&all.join("_"), "a fox").unwrap(),
            "2026-03-04_050607_evening_0012_5_a-fox_stable-diffusion-xl-base-1.0_dpmpp_2m_karras_20_7.5_640_512.png"
        );
        assert_eq!(named("{seed}.png", "x").unwrap(), "5.png");
        check_template(DEFAULT_TEMPLATE).unwrap();
    }

    #[test]
    fn no_prompt_leads_out_of_the_folder_or_makes_an_odd_name() {
        for prompt in
            ["../../etc/passwd", "/", "", "...", "a\0b\n\x1b[2J", "con: \"*?\" <|>", "\u{202e}gnp", "-rf ~"]
        {
            let name = named("{prompt}", prompt).unwrap();
            assert!(
                !name.contains(['/', '\\', '\0', '\n', '\x1b', ':', '*', ' ', '~']),
                "{prompt:?}: {name:?}"
            );
            assert!(!name.starts_with(['.', '-']), "{prompt:?}: {name:?}");
        }
        assert_eq!(named("{prompt}", "").unwrap(), "picture.png");
        assert_eq!(named("{job}-{prompt}-{seed}", "?!").unwrap(), "0012-5.png");
        assert_eq!(named("{prompt}", "狐 und Füchse").unwrap(), "狐-und-füchse.png");
        let long = named(&"{prompt}".repeat(20), &"狐 ".repeat(5000)).unwrap();
        assert!(long.len() <= LONGEST_NAME + 4, "{}", long.len());
    }

    #[test]
    fn templates_that_do_not_do_say_why() {
        assert_eq!(
            named("{sead}", "x").unwrap_err().to_string(),
            "the file-name template has no field {sead}; use {date} {time} {session} {job} {seed} {prompt} {model} \
             {scheduler} {steps} {cfg} {width} {height}"
        );
        assert_eq!(named("{seed", "x"), Err(TemplateError::Unclosed));
        for outside in ["", "/abs/{seed}", "../{seed}", "a/../{seed}", "folder/"] {
            assert_eq!(named(outside, "x"), Err(TemplateError::Outside), "{outside}");
        }
    }
}
