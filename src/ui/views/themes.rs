//! Trying themes on: the list, and beside it what everything looks like.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::full::{self, frame};
use super::panel;
use crate::theme::Role;
use crate::ui::app::App;
use crate::ui::painter::Painter;
use crate::ui::themes::ThemePicker;

/// Roles that are shown by their names, a line each.
const SAMPLES: &[&[Role]] = &[
    &[Role::Text, Role::Muted, Role::Title, Role::Job, Role::Path, Role::Hint],
    &[Role::Prompt, Role::InputCommand, Role::InputSwitch, Role::InputValue, Role::InputWeight],
    &[Role::InputError, Role::InputCut, Role::Phase, Role::Key, Role::Selection],
    &[Role::Success, Role::Warning, Role::Error],
    &[Role::PressureNormal, Role::PressureWarn, Role::PressureCritical],
];

/// Draws the list and the samples.
pub fn draw(picker: &ThemePicker, app: &App, area: Rect, painter: &mut Painter<'_>) {
    let list_width = (area.width / 3).clamp(16, 30).min(area.width);
    let [list, rest] = Layout::horizontal([Constraint::Length(list_width), Constraint::Min(0)]).areas(area);
    let keys = Line::from(vec![painter.span(Role::Key, " Enter"), painter.span(Role::Muted, " keeps ")]);
    let inner = frame("theme", &keys, list, painter);
    let first = (picker.at() + 1).saturating_sub(usize::from(inner.height));
    for (y, (name, chosen)) in (inner.y..inner.bottom()).zip(picker.rows().skip(first)) {
        let role = if chosen { Role::Selection } else { Role::Text };
        painter.line(Rect { y, height: 1, ..inner }, &Line::from(painter.span(role, name)));
    }
    let panel_rows = panel::height(app) + 2;
    let rows =
        [Constraint::Length(SAMPLES.len() as u16 + 2), Constraint::Length(panel_rows), Constraint::Min(0)];
    let [samples, panel_area, below] = Layout::vertical(rows).areas(rest);
    let inner = frame("roles", &Line::default(), samples, painter);
    for (y, roles) in (inner.y..inner.bottom()).zip(SAMPLES) {
        let spans: Vec<_> =
            roles.iter().flat_map(|role| [painter.span(*role, role.key()), "  ".into()]).collect();
        painter.line(Rect { y, height: 1, ..inner }, &Line::from(spans));
    }
    let inner = frame("panel", &Line::default(), panel_area, painter);
    panel::draw(app, inner, painter);
    if below.height > 8 {
        full::draw(app, below, painter);
    }
}
