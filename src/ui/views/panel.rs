//! The live panel above the prompt: one row while idle, up to six while a job runs.

use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{rows, sheet};
use crate::request::ImageSize;
use crate::theme::Role;
use crate::ui::app::App;
use crate::ui::format;
use crate::ui::painter::{Painter, Slot};
use crate::ui::progress::Progress;

/// Rows are never longer: a window that stays this wide can be resized without the terminal re-wrapping them.
pub const MAX_WIDTH: u16 = 78;
/// Below this width there is no picture beside the rows.
const PICTURE_FROM: u16 = 56;
/// A picture is at most this wide.
const PICTURE_MAX: u16 = 20;

/// The rows that the panel wants.
pub fn height(app: &App) -> u16 {
    if app.running.is_some() { 6 + sheet::height(app, app.rows) } else { 1 }
}

/// Draws the panel into as many rows as there are; the most important ones come first.
pub fn draw(app: &App, area: Rect, painter: &mut Painter<'_>) {
    let area = Rect { width: area.width.min(MAX_WIDTH), ..area };
    match &app.running {
        Some(progress) => running(app, progress, area, painter),
        None => idle(app, area, painter),
    }
}

fn idle(app: &App, area: Rect, painter: &mut Painter<'_>) {
    let right = status(app, painter);
    let used = right.width() as u16;
    painter.line_right(area, &right);
    let left = area.width.saturating_sub(used + 2);
    let line = if app.paused && !app.waiting.is_empty() {
        rows::queue(painter, app, left)
    } else {
        rows::facts(painter, app, left)
    };
    painter.line(Rect { width: left, ..area }, &line);
}

/// What stands at the right end of the last row: the token count while typing, else where to find more.
fn status<'a>(app: &App, painter: &Painter<'_>) -> Line<'a> {
    rows::tokens(painter, app).unwrap_or_else(|| {
        let muted = |text: &'static str| painter.span(Role::Muted, text);
        let key = |text: &'static str| painter.span(Role::Key, text);
        Line::from(vec![key("F2"), muted(" full screen  "), key("/help")])
    })
}

fn running(app: &App, progress: &Progress, area: Rect, painter: &mut Painter<'_>) {
    let mut text = area;
    let sheet = app.sheet.as_ref().filter(|_| area.height > 6);
    if let Some(live) = sheet {
        let above = Rect { height: area.height - 6, ..area };
        sheet::draw(live, app, above, painter);
        text = Rect { y: area.y + above.height, height: 6, ..area };
    }
    if sheet.is_none() && area.width >= PICTURE_FROM && area.height >= 4 && painter.display().pictures {
        let size = progress.size.unwrap_or(ImageSize::new(1, 1));
        let wide = Rect { width: PICTURE_MAX, ..area };
        let width = crate::ui::painter::fit(size, wide, painter.display().cell).width;
        rows::preview(painter, progress, Slot::Preview, Rect { width, ..area });
        let used = width + 2;
        text = Rect { x: area.x + used, width: area.width - used, ..area };
    }
    let tail = rows::tail_width(text.width);
    if text.height == 1 {
        let mut only = rows::progress(painter, progress);
        if progress.step > 0 {
            only.name = painter.span(Role::Job, format::clip(&progress.job.to_string(), 4).into_owned());
        }
        return only.draw(painter, text, tail);
    }
    let mut free = (text.y..text.bottom()).map(|y| Rect { y, height: 1, ..text });
    if let Some(row) = free.next() {
        painter.line(row, &rows::title(painter, progress, row.width));
    }
    if let Some(row) = free.next() {
        rows::progress(painter, progress).draw(painter, row, tail);
    }
    if let (Some(memory), Some(row)) = (rows::memory(painter, app), free.next()) {
        memory.draw(painter, row, tail);
        if let Some(row) = free.next() {
            rows::draw_swap(painter, app, row, tail);
        }
    }
    if let Some(row) = free.next() {
        painter.line(row, &rows::facts(painter, app, row.width));
    }
    if let Some(row) = free.next() {
        let count = rows::tokens(painter, app).unwrap_or_default();
        let left = row.width.saturating_sub(count.width() as u16 + 2);
        painter.line(Rect { width: left, ..row }, &rows::queue(painter, app, left));
        painter.line_right(row, &count);
    }
}
