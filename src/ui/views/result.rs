//! The one line that stays in the scrollback under a finished picture, and its shorter forms.

use std::path::Path;

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr as _;

use crate::engine::Choice;
use crate::request::{JobId, Recipe};
use crate::theme::{Role, Theme};
use crate::ui::format;
use crate::ui::memory::{MemoryTrail, pressure};

/// Parts of a result line: how much each is worth, 0 the most, and its text.
fn parts(recipe: &Recipe) -> Vec<(u8, String)> {
    let params = &recipe.params;
    let mut parts = vec![
        (0, format!("seed {}", params.seed)),
        (2, format!("{} × {}", params.steps, params.scheduler)),
        (4, format!("cfg {}", format::number(params.guidance_scale))),
        (3, params.size.to_string()),
    ];
    if let (Some(_), Some(strength)) = (&params.image, params.strength) {
        parts.push((5, format!("strength {}", format::number(strength))));
    }
    parts.extend(params.branch.as_ref().map(|branch| (5, format!("from step {}", branch.step))));
    parts.extend(params.deep_cache.map(|every| (5, format!("deep cache {every}"))));
    parts.extend(params.cfg_until.map(|share| (5, format!("cfg until {}", format::number(share)))));
    parts.extend(params.stop_after.map(|step| (5, format!("after step {step}"))));
    parts
}

const DOT: &str = " · ";
/// A path that is cut keeps this many cells.
const PATH_MIN: usize = 24;

fn joined(parts: &[(u8, String)]) -> String {
    parts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(DOT)
}

/// `seed 3811 · 20 × dpmpp_2m · cfg 7 · 512×512`
pub fn settings(recipe: &Recipe) -> String {
    joined(&parts(recipe))
}

/// `#12 seed 3811 · 20 × dpmpp_2m · cfg 7 · 512×512 · 6.2 s · ~/Pictures/tintype/a-red-fox.png`
///
/// In `width` cells. What matters least goes first; number and path stay, and seed and time as long as there is room for
/// a path that has lost its middle.
pub fn line(recipe: &Recipe, theme: &Theme, home: Option<&Path>, width: usize) -> Line<'static> {
    let number = format!("{} ", recipe.job);
    let path = recipe.path.as_deref().map(|path| format::path(path, home)).unwrap_or_default();
    let mut parts = parts(recipe);
    parts.push((1, format::seconds(recipe.timings.total)));
    let room = |parts: &[(u8, String)]| {
        let dot = if path.is_empty() || parts.is_empty() { 0 } else { DOT.width() };
        width.saturating_sub(number.width() + joined(parts).width() + dot)
    };
    let fits = |parts: &[(u8, String)], path: usize| {
        joined(parts).width() + number.width() <= width && room(parts) >= path
    };
    while let Some((worth, at)) = parts.iter().enumerate().map(|(at, (worth, _))| (*worth, at)).max() {
        let least = if worth > 1 { path.width() } else { path.width().min(PATH_MIN) };
        if fits(&parts, least) {
            break;
        }
        parts.remove(at);
    }
    let path = format::clip_path(&path, room(&parts)).into_owned();
    let styled = |role: Role, text: String| Span::styled(text, theme.style(role));
    let dot = if path.is_empty() || parts.is_empty() { "" } else { DOT };
    Line::from(vec![
        styled(Role::Job, number),
        styled(Role::Text, joined(&parts)),
        styled(Role::Muted, dot.to_owned()),
        styled(Role::Path, path),
    ])
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
    let mut swap = match sample.swap_total {
        0 => "none".to_owned(),
        total => format::bytes_of(sample.swap_used, total),
    };
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
