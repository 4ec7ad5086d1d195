//! Rows that several views share: name, value, gauge, and a tail that shortens where there is little room.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget as _;
use unicode_width::UnicodeWidthStr as _;

use crate::engine::Phase;
use crate::request::ImageSize;
use crate::theme::Role;
use crate::ui::app::App;
use crate::ui::format;
use crate::ui::memory::{Meter, pressure};
use crate::ui::painter::{Painter, Slot, version};
use crate::ui::progress::{Progress, phase_name};
use crate::ui::widgets::{Gauge, Graph};

/// Columns of a row's name, its gap included.
const NAME: u16 = 6;
/// Columns of a row's value, its gap included.
const VALUE: u16 = 17;
/// A gauge is at least this wide; the tail yields first.
const GAUGE_MIN: u16 = 7;

/// A row with a gauge.
pub struct GaugeRow<'a> {
    /// `step`, `gpu`, `swap`.
    pub name: Span<'a>,
    /// `12/20`.
    pub value: String,
    /// Filled share.
    pub ratio: Option<f64>,
    /// Role of the filled part.
    pub filled: Role,
    /// What stands at the right, the longest that fits; with none the gauge takes the room.
    pub tails: Vec<Line<'a>>,
}

impl GaugeRow<'_> {
    /// Draws the row. Rows of the same area width line up, if they have as many tails.
    pub fn draw(&self, painter: &mut Painter<'_>, area: Rect, tail_width: u16) {
        painter.line(area, &Line::from(self.name.clone()));
        let value = Rect { x: area.x + NAME, width: area.width.saturating_sub(NAME).min(VALUE - 1), ..area };
        painter.line(value.intersection(area), &Line::from(painter.span(Role::Text, self.value.as_str())));
        let left = (NAME + VALUE).min(area.width);
        let gauge = Rect {
            x: area.x + left,
            width: area.width.saturating_sub(left + tail_width + u16::from(tail_width > 0)),
            ..area
        };
        let (filled, track) = (painter.style(self.filled), painter.style(Role::GaugeTrack));
        Gauge { ratio: self.ratio, filled, track }.render(gauge, painter.buffer());
        let tail = Rect { x: area.right() - tail_width, width: tail_width, ..area };
        if let Some(line) = self.tails.iter().find(|line| line.width() <= usize::from(tail_width)) {
            painter.line(tail, line);
        }
    }
}

/// The width that tails get in an area of this width.
pub fn tail_width(width: u16) -> u16 {
    let room = width.saturating_sub(NAME + VALUE + GAUGE_MIN + 1);
    match room {
        22.. => 22,
        9..22 => 9,
        _ => 0,
    }
}

/// `#12 a red fox in the snow`, cut to the width.
pub fn title<'a>(painter: &Painter<'_>, progress: &Progress, width: u16) -> Line<'a> {
    let job = progress.job.to_string();
    let room = usize::from(width).saturating_sub(job.len() + 1);
    let prompt = format::clip(&progress.prompt, room).into_owned();
    Line::from(vec![painter.span(Role::Job, job), Span::raw(" "), painter.span(Role::Title, prompt)])
}

/// The running phase with its gauge.
pub fn progress<'a>(painter: &Painter<'_>, progress: &Progress) -> GaugeRow<'a> {
    let phase = progress.phase.map_or("start", phase_name);
    let muted = |text: String| Line::from(painter.span(Role::Muted, text));
    let elapsed = || format::seconds(progress.elapsed.as_secs() as f64);
    let (value, filled) = match (progress.phase, &progress.transfer) {
        (Some(Phase::Step), _) if progress.steps > 0 => {
            (format!("{}/{}", progress.step, progress.steps), Role::GaugeStep)
        }
        (_, Some(transfer)) if transfer.total > 0 => {
            (format::bytes_of(transfer.done, transfer.total), Role::GaugeBytes)
        }
        (_, Some(transfer)) => (format::bytes(transfer.done), Role::GaugeBytes),
        _ => (String::new(), Role::GaugeStep),
    };
    let tails = if progress.cancelling {
        vec![
            Line::from(painter.span(Role::Warning, "stops after this step")),
            Line::from(painter.span(Role::Warning, "stopping")),
        ]
    } else if let (Some(left), Some(seconds)) = (progress.seconds_left(), progress.seconds_per_step) {
        let left = format::seconds(left);
        vec![muted(format!("{} · {left} left", format::rate(seconds))), muted(left)]
    } else if let Some(transfer) = &progress.transfer {
        vec![muted(format!("{} · {}", format::clip(&transfer.name, 12), elapsed())), muted(elapsed())]
    } else if progress.elapsed.as_secs() > 0 {
        vec![muted(elapsed())]
    } else {
        Vec::new()
    };
    // a phase's name may be longer than its column, unless a value stands after it
    let name = if value.is_empty() { phase.into() } else { format::clip(phase, usize::from(NAME) - 1) };
    let name = name.into_owned();
    GaugeRow { name: painter.span(Role::Phase, name), value, ratio: progress.ratio(), filled, tails }
}

/// Memory in use against its limit, and the pressure in words.
pub fn memory<'a>(painter: &Painter<'_>, app: &App) -> Option<GaugeRow<'a>> {
    let sample = app.memory.now()?;
    let meter = Meter::memory(sample);
    let (word, role) = pressure(sample.pressure);
    let filled = if meter.is_high() { Role::GaugeMemoryHigh } else { Role::GaugeMemory };
    Some(GaugeRow {
        name: painter.span(Role::Muted, meter.name),
        value: format::bytes_of(meter.used, meter.limit),
        ratio: Some(meter.ratio()),
        filled,
        tails: vec![
            Line::from(vec![painter.span(Role::Muted, "pressure "), painter.span(role, word)]),
            Line::from(painter.span(role, word)),
        ],
    })
}

/// Draws swap: gauge, sparkline of its growth, and what it grew by since the job began, with the phase that did it.
pub fn draw_swap(painter: &mut Painter<'_>, app: &App, area: Rect, tail: u16) {
    let Some(sample) = app.memory.now() else { return };
    let meter = Meter::swap(sample);
    let row = GaugeRow {
        name: painter.span(Role::Muted, meter.name),
        value: if meter.limit == 0 { "none".into() } else { format::bytes_of(meter.used, meter.limit) },
        ratio: Some(meter.ratio()),
        filled: Role::GaugeSwap,
        tails: Vec::new(),
    };
    row.draw(painter, area, tail);
    let said = swap_growth(app, usize::from(tail));
    let said = Line::from(painter.span(Role::Muted, said));
    let taken = if said.width() == 0 { 0 } else { said.width() as u16 + 1 };
    let spark = tail.saturating_sub(taken).min(12);
    let values: Vec<u64> = app.memory.swap_grown(usize::from(spark)).collect();
    let area = Rect { x: area.right() - tail, width: tail, ..area };
    let graph = Rect { width: spark, ..area };
    Graph { values, limit: 0, style: painter.style(Role::Spark) }.render(graph, painter.buffer());
    painter.line_right(area, &said);
}

/// `+400 MiB step 7`, or as much of it as there is room for; what did it is worth more than how much.
fn swap_growth(app: &App, room: usize) -> String {
    let grown = app.memory.swap_grown_by_job();
    let Some(blamed) = app.memory.blamed().filter(|_| grown > 0) else { return String::new() };
    let whole = format!("+{} {blamed}", format::bytes(grown));
    [whole, blamed].into_iter().find(|text| text.width() <= room).unwrap_or_default()
}

/// The picture that develops, or the place where it will be.
pub fn preview(painter: &mut Painter<'_>, progress: &Progress, slot: Slot, area: Rect) {
    match &progress.preview {
        Some((step, picture)) => painter.picture(slot, picture, version(progress.job, *step), area),
        None => painter.plate(progress.size.unwrap_or(ImageSize::new(1, 1)), area),
    }
}

/// `embedded · metal · f16 · steps 20 · cfg 5`
pub fn facts<'a>(painter: &Painter<'_>, app: &App, width: u16) -> Line<'a> {
    let mut spans: Vec<Span<'a>> = Vec::new();
    let mut room = usize::from(width);
    let facts = [&app.facts.model, &app.facts.device, &app.facts.dtype].into_iter().filter(|f| !f.is_empty());
    let settings = app.facts.settings.iter().map(|(name, value)| format!("{name} {value}"));
    let parts = facts.map(|fact| (Role::Muted, fact.clone())).chain(settings.map(|text| (Role::Text, text)));
    for (role, text) in parts {
        let gap = if spans.is_empty() { "" } else { " · " };
        let clipped = format::clip(&text, room.saturating_sub(gap.chars().count())).into_owned();
        let line = Line::from(vec![painter.span(Role::Muted, gap), painter.span(role, clipped)]);
        if line.width() > room || room == 0 {
            break;
        }
        room -= line.width();
        spans.extend(line.spans);
    }
    Line::from(spans)
}

/// `2 waiting: #13 a blue cat · #14 an old tram`, or what a person should know now.
pub fn queue<'a>(painter: &Painter<'_>, app: &App, width: u16) -> Line<'a> {
    let width = usize::from(width);
    if let Some(notice) = &app.notice {
        return Line::from(painter.span(Role::Warning, format::clip(notice, width).into_owned()));
    }
    if app.waiting.is_empty() {
        return Line::default();
    }
    let paused = if app.paused { "paused, " } else { "" };
    let head = format!("{paused}{} waiting: ", app.waiting.len());
    let jobs: Vec<String> = app.waiting.iter().take(8).map(|w| format!("{} {}", w.job, w.prompt)).collect();
    let rest = format::clip(&jobs.join(" · "), width.saturating_sub(head.len())).into_owned();
    Line::from(vec![painter.span(Role::Muted, head), painter.span(Role::Text, rest)])
}

/// `67/77 tokens`, in the colour of an error when words are cut.
pub fn tokens<'a>(painter: &Painter<'_>, app: &App) -> Option<Line<'a>> {
    let tokens = app.tokens?;
    let role = if tokens.cut_at_byte.is_some() { Role::Warning } else { Role::Muted };
    let tail = if tokens.cut_at_byte.is_some() { ", the rest is cut" } else { "" };
    Some(Line::from(painter.span(role, format!("{}/{} tokens{tail}", tokens.used, tokens.limit))))
}
