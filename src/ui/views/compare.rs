//! Two pictures side by side, and below them only what differs in how they were made.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::gallery::large;
use crate::request::Recipe;
use crate::theme::Role;
use crate::ui::format;
use crate::ui::gallery::Tile;
use crate::ui::painter::{Painter, Slot};

/// Draws the comparison.
pub fn draw(left: &Tile, right: &Tile, area: Rect, painter: &mut Painter<'_>) {
    let differences = differences(&left.recipe, &right.recipe);
    let rows = (differences.len().max(1) as u16).min(area.height / 3);
    let [pictures, table] = Layout::vertical([Constraint::Min(0), Constraint::Length(rows)]).areas(area);
    let [one, _, other] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(pictures);
    large(left, Slot::Compare(0), one, painter);
    large(right, Slot::Compare(1), other, painter);
    if differences.is_empty() {
        return painter.line(table, &Line::from(painter.span(Role::Muted, "made the same way")));
    }
    for (y, (name, a, b)) in (table.y..table.bottom()).zip(differences) {
        let row = Rect { y, height: 1, ..table };
        let room = usize::from(table.width.saturating_sub(10) / 2).saturating_sub(2);
        let [name_area, a_area, b_area] =
            Layout::horizontal([Constraint::Length(10), Constraint::Fill(1), Constraint::Fill(1)]).areas(row);
        painter.line(name_area, &Line::from(painter.span(Role::Muted, name)));
        for (area, text) in [(a_area, a), (b_area, b)] {
            let text = format::clip(&text, room).into_owned();
            painter.line(area, &Line::from(painter.span(Role::Text, text)));
        }
    }
}

/// What two recipes do not have in common: name, left, right.
fn differences(left: &Recipe, right: &Recipe) -> Vec<(&'static str, String, String)> {
    let rows = |recipe: &Recipe| {
        let params = &recipe.params;
        [
            ("prompt", params.prompt.clone()),
            ("negative", params.negative_prompt.clone().unwrap_or_default()),
            ("model", params.model.clone()),
            ("seed", params.seed.to_string()),
            ("steps", params.steps.to_string()),
            ("scheduler", params.scheduler.clone()),
            ("cfg", format::number(params.guidance_scale)),
            ("size", params.size.to_string()),
            ("image", params.image.as_ref().map(|path| path.display().to_string()).unwrap_or_default()),
            ("strength", params.strength.map(format::number).unwrap_or_default()),
            ("variation", params.variation.map(format::number).unwrap_or_default()),
            ("eta", format::number(params.eta)),
            ("clip skip", params.clip_skip.to_string()),
            ("deep cache", params.deep_cache.map(|every| every.to_string()).unwrap_or_default()),
            ("cfg until", params.cfg_until.map(format::number).unwrap_or_default()),
            ("device", format!("{} {}", recipe.device, recipe.dtype)),
        ]
    };
    rows(left)
        .into_iter()
        .zip(rows(right))
        .filter(|(a, b)| a.1 != b.1)
        .map(|((name, a), (_, b))| (name, a, b))
        .collect()
}
