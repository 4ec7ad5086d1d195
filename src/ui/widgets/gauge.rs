//! A gauge of one row, exact to half a cell.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

/// A line that is filled from the left.
#[derive(Clone, Copy, Debug)]
pub struct Gauge {
    /// Filled share, 0 to 1; `None` shows an empty track.
    pub ratio: Option<f64>,
    /// Style of the filled part.
    pub filled: Style,
    /// Style of the rest.
    pub track: Style,
}

impl Widget for Gauge {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let halves = self.ratio.map_or(0, |ratio| {
            let all = f64::from(area.width) * 2.0;
            (ratio.clamp(0.0, 1.0) * all).round() as u16
        });
        for x in 0..area.width {
            let (symbol, style) = match halves.saturating_sub(2 * x) {
                0 => ("─", self.track),
                1 => ("╸", self.filled),
                _ => ("━", self.filled),
            };
            buffer.set_string(area.x + x, area.y, symbol, style);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(ratio: Option<f64>, width: u16) -> String {
        let area = Rect::new(0, 0, width, 1);
        let mut buffer = Buffer::empty(area);
        Gauge { ratio, filled: Style::new(), track: Style::new() }.render(area, &mut buffer);
        buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect()
    }

    #[test]
    fn half_cells_count() {
        assert_eq!(drawn(Some(0.5), 5), "━━╸──");
        assert_eq!(drawn(Some(0.0), 3), "───");
        assert_eq!(drawn(Some(7.0), 3), "━━━");
        assert_eq!(drawn(Some(f64::NAN), 3), "───");
        assert_eq!(drawn(None, 3), "───");
        assert_eq!(drawn(Some(0.5), 0), "");
    }
}
