//! Everything at once: the picture large, progress, memory, queue, settings, history. The prompt lies below it.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, BorderType, Widget as _};

use super::{memory, result, rows, sheet};
use crate::request::JobId;
use crate::theme::Role;
use crate::ui::app::{App, Shot};
use crate::ui::format;
use crate::ui::painter::{Painter, Slot, version};

/// From this width on, the lists stand beside the picture.
const TWO_COLUMNS: u16 = 70;

/// Draws the screen into `area`, which is all but the prompt's rows.
pub fn draw(app: &App, area: Rect, painter: &mut Painter<'_>) {
    if area.width < TWO_COLUMNS {
        let lists = u16::from(area.height > 24) * 8;
        let [main, side] = Layout::vertical([Constraint::Min(1), Constraint::Length(lists)]).areas(area);
        picture(app, main, painter);
        if lists > 0 {
            history(app, side, painter);
        }
        return;
    }
    let side_width = (area.width / 3).clamp(28, 48);
    let [main, side] = Layout::horizontal([Constraint::Min(1), Constraint::Length(side_width)]).areas(area);
    let graphs = if area.height >= 22 { 7 } else { 0 };
    let [large, below] = Layout::vertical([Constraint::Min(1), Constraint::Length(graphs)]).areas(main);
    picture(app, large, painter);
    if graphs > 0 {
        let inner = frame("memory", &Line::default(), below, painter);
        memory::draw(app, inner, painter);
    }
    let queue_rows = (app.waiting.len() as u16).clamp(1, 5) + 2;
    let setting_rows = (app.facts.settings.len() as u16 + 1).clamp(1, 6) + 2;
    let rows = [Constraint::Length(queue_rows), Constraint::Length(setting_rows), Constraint::Min(0)];
    let [top, middle, bottom] = Layout::vertical(rows).areas(side);
    queue(app, top, painter);
    settings(app, middle, painter);
    history(app, bottom, painter);
}

/// A frame with a title at the left and another one at the right; returns what is inside.
pub fn frame(title: &str, right: &Line<'_>, area: Rect, painter: &mut Painter<'_>) -> Rect {
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(painter.style(Role::Border));
    let inner = block.inner(area);
    block.render(area, painter.buffer());
    if area.width > 4 && area.height > 0 {
        let top = Rect { x: area.x + 2, width: area.width - 4, height: 1, ..area };
        let text = format!(" {} ", format::clip(title, usize::from(top.width).saturating_sub(2)));
        let line = Line::from(painter.span(Role::Muted, text));
        let room = top.width.saturating_sub(line.width() as u16 + 1);
        painter.line(top, &line);
        if right.width() > 0 && right.width() <= usize::from(room) {
            painter.line_right(top, right);
        }
    }
    inner
}

fn picture(app: &App, area: Rect, painter: &mut Painter<'_>) {
    let facts = rows::facts(painter, app, area.width.saturating_sub(14));
    let mut right = Line::default();
    if facts.width() > 0 {
        right.spans.push(" ".into());
        right.spans.extend(facts.spans);
        right.spans.push(" ".into());
    }
    let title = match (&app.running, app.shots.last()) {
        (Some(_), _) => "now",
        (None, Some(_)) => "last",
        (None, None) => "picture",
    };
    let inner = frame(title, &right, area, painter);
    let [view, title, gauge] =
        Layout::vertical([Constraint::Min(0), Constraint::Length(1), Constraint::Length(1)]).areas(inner);
    match (&app.running, app.shots.last()) {
        (Some(progress), _) => {
            match &app.sheet {
                Some(live) => sheet::draw(live, app, view, painter),
                None => rows::preview(painter, progress, Slot::Large, view),
            }
            painter.line(title, &rows::title(painter, progress, title.width));
            rows::progress(painter, progress).draw(painter, gauge, rows::tail_width(gauge.width));
        }
        (None, Some(shot)) => {
            let picture = app.last_picture.as_ref().unwrap_or(&shot.thumbnail);
            painter.picture(Slot::Large, picture, version(shot.recipe.job, u32::MAX), view);
            caption(shot, title, painter);
            let settings =
                format::clip(&result::settings(&shot.recipe), usize::from(gauge.width)).into_owned();
            painter.line(gauge, &Line::from(painter.span(Role::Muted, settings)));
        }
        (None, None) => {
            painter.plate(crate::request::ImageSize::new(1, 1), view);
            let text = "type a prompt and press Enter";
            painter.line(title, &Line::from(painter.span(Role::Muted, text)));
        }
    }
}

fn queue(app: &App, area: Rect, painter: &mut Painter<'_>) {
    let title = if app.paused { "queue, paused" } else { "queue" };
    let count = format!(" {} ", app.waiting.len());
    let right =
        Line::from(painter.span(Role::Muted, if app.waiting.is_empty() { String::new() } else { count }));
    let inner = frame(title, &right, area, painter);
    if let Some(notice) = app.notice.as_ref().filter(|_| app.waiting.is_empty()) {
        let text = format::clip(notice, usize::from(inner.width)).into_owned();
        return painter.line(inner, &Line::from(painter.span(Role::Warning, text)));
    }
    for (row, waiting) in (inner.y..inner.bottom()).zip(&app.waiting) {
        let line = job_and_prompt(waiting.job, &waiting.prompt, inner.width, painter);
        painter.line(Rect { y: row, height: 1, ..inner }, &line);
    }
}

fn settings(app: &App, area: Rect, painter: &mut Painter<'_>) {
    let inner = frame("settings", &Line::default(), area, painter);
    let model = ("model".to_owned(), app.facts.model.clone());
    let rows = std::iter::once(&model).chain(&app.facts.settings);
    for (row, (name, value)) in (inner.y..inner.bottom()).zip(rows) {
        let row = Rect { y: row, height: 1, ..inner };
        painter.line(row, &Line::from(painter.span(Role::Muted, name.as_str())));
        let value_area = Rect { x: row.x + 16.min(row.width), width: row.width.saturating_sub(16), ..row };
        let value = format::clip(value, usize::from(value_area.width)).into_owned();
        painter.line(value_area, &Line::from(painter.span(Role::Text, value)));
    }
}

/// Rows of one picture in the history list, its gap included.
const HISTORY_ROWS: u16 = 4;

fn history(app: &App, area: Rect, painter: &mut Painter<'_>) {
    let count = format!(" {} ", app.shots.len());
    let right = Line::from(painter.span(Role::Muted, count));
    let inner = frame("history", &right, area, painter);
    let rooms = inner.height / HISTORY_ROWS;
    for (at, shot) in (0..rooms).zip(app.shots.iter().rev()) {
        let row = Rect { y: inner.y + at * HISTORY_ROWS, height: HISTORY_ROWS - 1, ..inner };
        let mut text = row;
        if painter.display().pictures && row.width >= 24 {
            let thumbnail = Rect { width: 8, ..row };
            painter.picture(
                Slot::Thumbnail(at),
                &shot.thumbnail,
                version(shot.recipe.job, u32::MAX),
                thumbnail,
            );
            text = Rect { x: row.x + 9, width: row.width - 9, ..row };
        }
        caption(shot, text, painter);
        let lines = [result::settings(&shot.recipe), format::seconds(shot.recipe.timings.total)];
        for (line, y) in lines.iter().zip(text.y + 1..text.bottom()) {
            let clipped = format::clip(line, usize::from(text.width)).into_owned();
            let line = Line::from(painter.span(Role::Muted, clipped));
            painter.line(Rect { y, height: 1, ..text }, &line);
        }
    }
}

fn caption(shot: &Shot, area: Rect, painter: &mut Painter<'_>) {
    let line = job_and_prompt(shot.recipe.job, &shot.recipe.params.prompt, area.width, painter);
    painter.line(area, &line);
}

/// `#12 a red fox`, cut to the width.
pub fn job_and_prompt<'a>(job: JobId, prompt: &str, width: u16, painter: &Painter<'_>) -> Line<'a> {
    let job = format!("{job} ");
    let prompt = format::clip(prompt, usize::from(width).saturating_sub(job.len())).into_owned();
    Line::from(vec![painter.span(Role::Job, job), painter.span(Role::Text, prompt)])
}
