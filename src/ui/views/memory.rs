//! Memory over time: the graphs of the full screen.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::Widget as _;

use super::rows;
use crate::theme::Role;
use crate::ui::app::App;
use crate::ui::memory::Meter;
use crate::ui::painter::Painter;
use crate::ui::widgets::Graph;

/// Draws the two gauges, and above them as much history as there is room for.
pub fn draw(app: &App, area: Rect, painter: &mut Painter<'_>) {
    let Some(sample) = app.memory.now() else { return };
    let limit = Meter::memory(sample).limit;
    let [graph, memory, swap] =
        Layout::vertical([Constraint::Min(0), Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let tail = rows::tail_width(area.width);
    if let Some(row) = rows::memory(painter, app) {
        row.draw(painter, memory, tail);
    }
    rows::draw_swap(painter, app, swap, tail);
    if !graph.is_empty() {
        let values = app.memory.used(usize::from(graph.width)).collect();
        Graph { values, limit, style: painter.style(Role::GaugeMemory) }.render(graph, painter.buffer());
    }
}
