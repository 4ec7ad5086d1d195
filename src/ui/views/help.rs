//! The help overlay: keys, and the commands that the command table describes.

use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget as _};

use super::full::frame;
use crate::theme::Role;
use crate::ui::format;
use crate::ui::keymap::KEYS;
use crate::ui::painter::Painter;

/// Keys that rustyline has, as far as they are more than moving about. The others are in [`KEYS`].
const PROMPT_KEYS: &[(&str, &str)] = &[
    ("Enter", "make the picture; queued while another one develops"),
    ("Alt-Enter  Ctrl-J", "next line of the prompt; so does a \\ at the end"),
    ("Tab", "complete commands, switches, models, files"),
    ("Ctrl-R", "search the history"),
    ("Ctrl-C", "clear the line; if empty cancel the job; twice leave"),
    ("Ctrl-D", "leave, on an empty line"),
];

/// Keys of the prompt and the screens, and what they do.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROMPT_KEYS.iter().copied().chain(KEYS.iter().map(|key| (key.name, key.help)))
}

/// A command: what to type, and what it does.
pub type CommandRow = (String, String);

/// Draws the help over what is there.
pub fn draw(commands: &[CommandRow], area: Rect, painter: &mut Painter<'_>) {
    let mut rows: Vec<(&str, &str)> = keys().collect();
    rows.extend(commands.iter().map(|(usage, help)| (usage.as_str(), help.as_str())));
    let width = area.width.min(96);
    let two = area.width >= 150 && rows.len() + 2 > usize::from(area.height);
    let columns = if two { 2 } else { 1 };
    let per_column = rows.len().div_ceil(columns);
    let height = (per_column as u16 + 2).min(area.height);
    let width = if two { area.width.min(2 * width) } else { width };
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, painter.buffer());
    let close = Line::from(vec![painter.span(Role::Key, " Esc"), painter.span(Role::Muted, " closes ")]);
    let inner = frame("help", &close, place, painter);
    let column_width = inner.width / columns as u16;
    let key_width = (column_width / 3).min(26);
    if inner.is_empty() {
        return;
    }
    // What does not fit is cut at the end, so that the keys stay; the last line says where the rest is.
    let room = columns * usize::from(inner.height);
    let more = format!("and {} more: /help", (rows.len() + 1).saturating_sub(room));
    if rows.len() > room {
        rows.truncate(room.saturating_sub(1));
        rows.push(("…", &more));
    }
    let per_column = per_column.min(usize::from(inner.height));
    for (at, (keys, what)) in rows.iter().enumerate() {
        let (column, row) = (at / per_column, (at % per_column) as u16);
        let area = Rect {
            x: inner.x + column as u16 * column_width,
            y: inner.y + row,
            width: column_width,
            height: 1,
        };
        let keys = format::clip(keys, usize::from(key_width).saturating_sub(1)).into_owned();
        painter.line(area, &Line::from(painter.span(Role::Key, keys)));
        let rest = Rect { x: area.x + key_width, width: area.width - key_width, ..area };
        let what = format::clip(what, usize::from(rest.width)).into_owned();
        painter.line(rest, &Line::from(painter.span(Role::Text, what)));
    }
}
