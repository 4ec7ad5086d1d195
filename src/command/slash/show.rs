//! `/show`: the settings, or everything about a picture.

use crate::command::args::{Arg, ArgKind, Args};
use crate::command::execute::CommandError;
use crate::command::outcome::Outcome;
use crate::command::table::{Group, SlashCommand};
use crate::session::Session;
use crate::session::entry::{Entry, JobState};
use crate::session::settings::{Kind, SETTINGS};

/// The row.
pub static COMMAND: SlashCommand = SlashCommand {
    name: "show",
    aliases: &["settings", "info"],
    group: Group::Settings,
    args: &[Arg::optional("picture", ArgKind::Picture)],
    help: "the settings; with a picture, everything about it",
    details: &[],
    run,
};

fn run(session: &mut Session, args: &Args) -> Result<Outcome, CommandError> {
    match args.picture("picture") {
        None => Ok(settings(session)),
        Some(reference) => Ok(Outcome::Print(picture(session.picture(Some(reference))?))),
    }
}

/// All settings that can hold for a session.
pub fn settings(session: &Session) -> Outcome {
    let shown = SETTINGS.iter().filter(|setting| setting.sticky && !matches!(setting.kind, Kind::Size));
    let line = |setting: &crate::session::settings::Setting| {
        let value = setting.get(session.settings()).unwrap_or_else(|| "default".into());
        let changed = setting.get(session.settings()) != setting.get(session.defaults());
        format!("{} {:<16} {value}", if changed { '●' } else { ' ' }, setting.name)
    };
    Outcome::Print(shown.map(line).collect())
}

fn picture(entry: &Entry) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: Option<String>| {
        lines.extend(value.filter(|value| !value.is_empty()).map(|value| format!("{name:<16} {value}")));
    };
    line("picture", Some(entry.id.to_string()));
    line("state", Some(state(&entry.state)));
    line("typed", Some(entry.typed.clone()).filter(|typed| *typed != entry.request.prompt));
    line("prompt", Some(entry.request.prompt.clone()));
    if let Some(params) = &entry.params {
        let negative = params.negative_prompt.clone();
        line("negative-prompt", negative.map(|text| if text.is_empty() { "\"\"".into() } else { text }));
        line("model", Some(params.model.clone()));
        line("revision", params.revision.clone());
        line("variant", params.variant.clone());
        line("scheduler", Some(params.scheduler.clone()));
        line("steps", Some(params.steps.to_string()));
        line("guidance-scale", Some(params.guidance_scale.to_string()));
        line("seed", Some(params.seed.to_string()));
        line("size", Some(params.size.to_string()));
        line("image", params.image.as_ref().map(|path| path.display().to_string()));
        line("strength", params.strength.map(|x| x.to_string()));
        line("variation", params.variation.map(|x| x.to_string()));
        line("stopped after", params.stop_after.map(|step| format!("step {step}")));
        line("deep-cache (approximate)", params.deep_cache.map(|every| every.to_string()));
        line("cfg-until (approximate)", params.cfg_until.map(|share| share.to_string()));
        line("goes on from", params.branch.as_ref().map(|branch| format!("step {}", branch.step)));
        line("variation-seed", params.variation_seed.map(|x| x.to_string()));
    } else {
        for setting in SETTINGS.iter().filter(|setting| !matches!(setting.kind, Kind::Size)) {
            line(setting.name, setting.get(&entry.request));
        }
    }
    line("made from", entry.parent.map(|parent| parent.to_string()));
    if let Some(recipe) = &entry.recipe {
        line("device", Some(format!("{} {}", recipe.device, recipe.dtype)));
        line("seconds", Some(format!("{:.2}", recipe.timings.total)));
        line("memory", Some(format!("{:.2} GiB at most", recipe.peak_memory as f64 / f64::from(1 << 30))));
        line("file", recipe.path.as_ref().map(|path| path.display().to_string()));
        line("pixels", Some(format!("sha256 {}", recipe.pixels_sha256)));
        recipe.notices.iter().for_each(|notice| line("notice", Some(notice.clone())));
    }
    line("name", entry.name.as_ref().map(|name| format!("$@{name}")));
    line("rating", entry.rating.map(|stars| "★".repeat(stars.into())));
    line("note", entry.note.clone());
    line("deleted", entry.deleted.then(|| "the file is in the trash".into()));
    lines
}

fn state(state: &JobState) -> String {
    match state {
        JobState::Running(progress) => format!("running, step {} of {}", progress.step, progress.steps),
        JobState::Cancelled(step) => format!("cancelled after step {step}"),
        JobState::Failed(error) => format!("failed: {error}"),
        JobState::Held { step, steps } => format!("held after step {step} of {steps}; /resume goes on"),
        JobState::Lost => "lost: the program ended before it was done".into(),
        state => state.word().into(),
    }
}
