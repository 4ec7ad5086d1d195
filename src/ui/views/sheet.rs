//! A contact sheet that fills in place: columns and rows with their labels, the picture that develops among them.

use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::request::{ImageSize, JobId};
use crate::theme::Role;
use crate::ui::app::App;
use crate::ui::format;
use crate::ui::painter::{Painter, Slot, version};
use crate::ui::sheet::LiveSheet;

/// Rows of the window that a cell wants, its gap included.
const CELL_ROWS: u16 = 4;
/// A cell narrower or lower than this shows nothing.
const LEAST: (u16, u16) = (4, 2);
/// Room for the labels of rows.
const LABEL_MAX: usize = 18;
/// Slots of cells follow those of lists.
const FIRST_SLOT: u16 = 1000;

/// The rows that the sheet wants in a window of so many.
pub fn height(app: &App, window: u16) -> u16 {
    let Some(live) = app.sheet.as_ref().filter(|_| app.running.is_some()) else { return 0 };
    let wanted = (live.sheet.rows.len() as u16).saturating_mul(CELL_ROWS) + header(live);
    let most = window / 2;
    if most < LEAST.1 + header(live) { 0 } else { wanted.min(most) }
}

fn header(live: &LiveSheet) -> u16 {
    u16::from(live.sheet.columns.iter().any(|label| !label.is_empty()))
}

/// What of `count` is shown where there is room for `room`: the place `now` is among it.
fn window(count: usize, room: usize, now: usize) -> std::ops::Range<usize> {
    let room = room.clamp(1, count.max(1));
    let start = (now / room * room).min(count.saturating_sub(room));
    start..start + room
}

/// Draws as much of the sheet as there is room for, around the job that runs.
pub fn draw(live: &LiveSheet, app: &App, area: Rect, painter: &mut Painter<'_>) {
    let columns = live.sheet.columns.len().max(1);
    let running = app.running.as_ref();
    let now = running.and_then(|progress| live.place(progress.job)).unwrap_or(0);
    let widest = live.sheet.rows.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let left =
        if widest == 0 { 0 } else { widest.min(LABEL_MAX).min(usize::from(area.width / 3)) as u16 + 1 };
    let top = header(live).min(area.height);
    let inner = Rect {
        x: area.x + left,
        y: area.y + top,
        width: area.width.saturating_sub(left),
        height: area.height.saturating_sub(top),
    };
    let across = window(columns, usize::from(inner.width / LEAST.0), now % columns);
    let down = window(live.sheet.rows.len(), usize::from(inner.height / LEAST.1), now / columns);
    let (width, height) = (inner.width / across.len() as u16, inner.height / down.len() as u16);
    if width < LEAST.0 || height < LEAST.1 {
        return;
    }
    // Wide cells would only lie apart.
    let width = width.min((height.saturating_mul(3)).max(12));
    let place = |column: usize, row: usize| Rect {
        x: inner.x + (column - across.start) as u16 * width,
        y: inner.y + (row - down.start) as u16 * height,
        width: width - 1,
        height: height - u16::from(height > LEAST.1),
    };
    for column in across.clone().filter(|_| top > 0) {
        let cell = place(column, down.start);
        label(&live.sheet.columns[column], Rect { y: area.y, height: 1, ..cell }, painter);
    }
    for row in down.clone() {
        if left > 0 {
            let cell = place(across.start, row);
            label(&live.sheet.rows[row], Rect { x: area.x, width: left - 1, height: 1, ..cell }, painter);
        }
        for column in across.clone() {
            let at = row * columns + column;
            let Some(Some(job)) = live.sheet.cells.get(at) else { continue };
            let slot = Slot::Thumbnail(FIRST_SLOT.saturating_add(at as u16));
            picture(live, app, (at, *job), slot, place(column, row), painter);
        }
    }
}

fn picture(
    live: &LiveSheet,
    app: &App,
    (at, job): (usize, JobId),
    slot: Slot,
    area: Rect,
    painter: &mut Painter<'_>,
) {
    let running = app.running.as_ref().filter(|progress| progress.job == job);
    let preview = running.and_then(|progress| progress.preview.as_ref());
    match (live.pictures.get(at).and_then(Option::as_ref), preview) {
        (Some(done), _) => painter.picture(slot, done, version(job, u32::MAX), area),
        (None, Some((step, preview))) => painter.picture(slot, preview, version(job, *step), area),
        (None, None) => {
            let size = app.running.as_ref().and_then(|progress| progress.size);
            painter.plate(size.unwrap_or(ImageSize::new(1, 1)), area);
        }
    }
}

fn label(text: &str, area: Rect, painter: &mut Painter<'_>) {
    let text = format::clip(text, usize::from(area.width)).into_owned();
    painter.line(area, &Line::from(painter.span(Role::Muted, text)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_place_is_always_in_the_window() {
        for (count, room) in [(10, 3), (3, 10), (7, 7), (1, 1), (9, 4)] {
            for now in 0..count {
                let shown = window(count, room, now);
                assert!(shown.contains(&now) && shown.end <= count, "{count} {room} {now}: {shown:?}");
            }
        }
    }
}
