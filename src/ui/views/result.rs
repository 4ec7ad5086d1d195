//! The one line that stays in the scrollback under a finished picture, and its shorter forms.

use std::path::Path;

use ratatui::text::{Line, Span};

use crate::engine::Choice;
use crate::request::{JobId, Recipe};
use crate::theme::{Role, Theme};
use crate::ui::format;
use crate::ui::memory::{MemoryTrail, pressure};

/// `seed 3811 · 20 × dpmpp_2m · cfg 7 · 512×512`
pub fn settings(recipe: &Recipe) -> String {
    let params = &recipe.params;
    let mut parts = vec![
        format!("seed {}", params.seed),
        format!("{} × {}", params.steps, params.scheduler),
        format!("cfg {}", format::number(params.guidance_scale)),
        params.size.to_string(),
    ];
    if let (Some(_), Some(strength)) = (&params.image, params.strength) {
        parts.push(format!("strength {}", format::number(strength)));
    }
    parts.extend(params.branch.as_ref().map(|branch| format!("from step {}", branch.step)));
    parts.extend(params.deep_cache.map(|every| format!("deep cache {every}")));
    parts.extend(params.cfg_until.map(|share| format!("cfg until {}", format::number(share))));
    parts.extend(params.stop_after.map(|step| format!("after step {step}")));
    parts.join(" · ")
}

/// `#12 seed 3811 · 20 × dpmpp_2m · cfg 7 · 512×512 · 6.2 s · ~/Pictures/tintype/a-red-fox.png`
pub fn line(recipe: &Recipe, theme: &Theme, home: Option<&Path>) -> Line<'static> {
    let styled = |role: Role, text: String| Span::styled(text, theme.style(role));
    let dot = || styled(Role::Muted, " · ".into());
    let mut spans = vec![
        styled(Role::Job, format!("{} ", recipe.job)),
        styled(Role::Text, settings(recipe)),
        dot(),
        styled(Role::Text, format::seconds(recipe.timings.total)),
    ];
    if let Some(path) = &recipe.path {
        spans.push(dot());
        spans.push(styled(Role::Path, format::path(path, home)));
    }
    Line::from(spans)
}

/// `#12 cancelled after step 5`
pub fn cancelled(job: JobId, step: u32, theme: &Theme) -> Vec<Line<'static>> {
    let text = if step == 0 { "cancelled".to_owned() } else { format!("cancelled after step {step}") };
    vec![Line::from(vec![
        Span::styled(format!("{job} "), theme.style(Role::Job)),
        Span::styled(text, theme.style(Role::Warning)),
    ])]
}

/// `12 of 20 steps and the prompt's embeddings reused: 3.1 s saved`
pub fn reused(recipe: &Recipe, theme: &Theme) -> Option<Line<'static>> {
    let text = recipe.reused.describe()?;
    Some(Line::from(Span::styled(text, theme.style(Role::Muted))))
}

/// `#12 held after step 9 of 20; /resume goes on`
pub fn held(job: JobId, step: u32, steps: u32, theme: &Theme) -> Vec<Line<'static>> {
    let text = format!("held after step {step} of {steps}; /resume goes on");
    vec![Line::from(vec![
        Span::styled(format!("{job} "), theme.style(Role::Job)),
        Span::styled(text, theme.style(Role::Muted)),
    ])]
}

/// `#12 failed: …`
pub fn failed(job: JobId, error: &str, theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = problem(error, theme);
    if let Some(first) = lines.first_mut() {
        first.spans.insert(0, Span::styled(format!("{job} "), theme.style(Role::Job)));
    }
    lines
}

/// An error, in as many lines as it has.
pub fn problem(error: &str, theme: &Theme) -> Vec<Line<'static>> {
    error.lines().map(|line| styled_line(line, Role::Error, theme)).collect()
}

/// Something to know.
pub fn remark(text: &str, theme: &Theme) -> Vec<Line<'static>> {
    text.lines().map(|line| styled_line(line, Role::Muted, theme)).collect()
}

/// Something to know now.
pub fn warning(text: &str, theme: &Theme) -> Vec<Line<'static>> {
    text.lines().map(|line| styled_line(line, Role::Warning, theme)).collect()
}

/// A line of output as it is.
pub fn plain(line: &str) -> Line<'static> {
    Line::from(format::one_line(line).into_owned())
}

/// Memory in numbers: now, since the job began, and by phase.
pub fn memory(trail: &MemoryTrail) -> Vec<Line<'static>> {
    let Some(sample) = trail.now() else { return Vec::new() };
    let process =
        format!("{}, at most {}", format::bytes(sample.footprint), format::bytes(sample.footprint_peak));
    let mut rows =
        vec![("process", process), ("machine", format::bytes_of(sample.memory_used, sample.memory_limit))];
    if let (Some(used), Some(limit)) = (sample.gpu_used, sample.gpu_limit) {
        rows.push(("gpu", format::bytes_of(used, limit)));
    }
    let mut swap = format::bytes_of(sample.swap_used, sample.swap_total);
    let grown = trail.swap_grown_by_job();
    if grown > 0 {
        swap += &format!(", {} more than when the job began", format::bytes(grown));
    }
    rows.push(("swap", swap));
    rows.push(("pressure", pressure(sample.pressure).0.to_owned()));
    for (phase, marks) in trail.phases() {
        let mut text = format!("at most {}", format::bytes(marks.peak));
        if marks.predicted > 0 {
            text += &format!(", expected {}", format::bytes(marks.predicted));
        }
        if marks.swap_grown > 0 {
            text += &format!(", swap grew by {}", format::bytes(marks.swap_grown));
        }
        rows.push((phase, text));
    }
    rows.iter().map(|(name, value)| plain(&format!("{name:<13} {value}"))).collect()
}

/// What a job that waits for an answer wants to know, and the keys that answer it.
pub fn question(job: JobId, question: &str, choices: &[Choice], theme: &Theme) -> Vec<Line<'static>> {
    let mut lines = warning(&format!("{job} {question}"), theme);
    let styled = |role: Role, text: String| Span::styled(text, theme.style(role));
    lines.extend(choices.iter().map(|choice| {
        Line::from(vec![
            styled(Role::Key, format!("  {}  ", choice.key)),
            styled(Role::Text, format::one_line(&choice.text).into_owned()),
        ])
    }));
    lines.extend(remark("  on an empty line, one key is enough; Ctrl-C makes no picture", theme));
    lines
}

fn styled_line(text: &str, role: Role, theme: &Theme) -> Line<'static> {
    Line::from(Span::styled(format::one_line(text).into_owned(), theme.style(role)))
}
