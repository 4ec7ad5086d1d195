//! The history as a list, with its filter at the foot.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::full::frame;
use crate::theme::Role;
use crate::ui::format;
use crate::ui::gallery::Scope;
use crate::ui::history::History;
use crate::ui::painter::Painter;

/// What the keys do, the most wanted first: a narrow window cuts the line.
const KEYS: &[(&str, &str)] =
    &[("Enter", "runs"), ("Tab", "edits"), ("Ctrl-R", "all sessions or this one"), ("Esc", "closes")];

/// Draws the list over the whole area.
pub fn draw(history: &History, area: Rect, painter: &mut Painter<'_>) {
    let [list, filter, keys] =
        Layout::vertical([Constraint::Min(0), Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let scope = match history.scope {
        Scope::Session => "history · this session",
        Scope::All => "history · all sessions",
    };
    let (shown, all) = history.count();
    let count = if shown == all { format!(" {all} ") } else { format!(" {shown} of {all} ") };
    let inner = frame(scope, &Line::from(painter.span(Role::Muted, count)), list, painter);
    let first = (history.at() + 1).saturating_sub(usize::from(inner.height));
    for (y, (text, chosen)) in (inner.y..inner.bottom()).zip(history.rows().skip(first)) {
        let role = if chosen { Role::Selection } else { Role::Text };
        let text = format::clip(&format::one_line(text), usize::from(inner.width)).to_string();
        painter.line(Rect { y, height: 1, ..inner }, &Line::from(painter.span(role, text)));
    }
    if shown == 0 && inner.height > 0 {
        let text = if all == 0 { "nothing was made yet" } else { "nothing is like that" };
        painter.line(Rect { height: 1, ..inner }, &Line::from(painter.span(Role::Muted, text)));
    }
    let line = match &history.trouble {
        Some(trouble) => vec![
            painter.span(Role::Prompt, " filter › "),
            painter.span(Role::Text, history.filter.clone()),
            painter.span(Role::Error, format!("  {trouble}")),
        ],
        None if history.filter.is_empty() => vec![
            painter.span(Role::Prompt, " filter › "),
            painter.span(Role::Muted, "fox steps>20 rating>=3 after:yesterday"),
        ],
        None => vec![
            painter.span(Role::Prompt, " filter › "),
            painter.span(Role::Text, format!("{}▏", history.filter)),
        ],
    };
    painter.line(filter, &Line::from(line));
    let hints = KEYS.iter().flat_map(|(key, what)| {
        [painter.span(Role::Key, format!(" {key}")), painter.span(Role::Muted, format!(" {what} "))]
    });
    painter.line(keys, &Line::from(hints.collect::<Vec<_>>()));
}
