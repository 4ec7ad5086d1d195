//! A bar a column, newest at the right, an eighth of a cell high at least where there is anything.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Widget;

const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Values over time.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Oldest first; the newest as many as there are columns are drawn.
    pub values: Vec<u64>,
    /// The value of a full column; 0 takes the largest one drawn.
    pub limit: u64,
    /// Style of the bars.
    pub style: Style,
}

impl Widget for Graph {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let shown = &self.values[self.values.len().saturating_sub(usize::from(area.width))..];
        let most = shown.iter().copied().max().unwrap_or(0);
        let limit = if self.limit == 0 { most } else { self.limit };
        let left = area.right() - shown.len() as u16;
        for (column, value) in shown.iter().enumerate().filter(|(_, value)| **value > 0) {
            let eighths = (*value as f64 / limit as f64 * f64::from(area.height) * 8.0).ceil() as u16;
            for row in 0..area.height {
                if let Some(bar) = eighths.saturating_sub(row * 8).checked_sub(1) {
                    let symbol = BARS[usize::from(bar.min(7))];
                    buffer.set_string(left + column as u16, area.bottom() - 1 - row, symbol, self.style);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[u64], limit: u64, width: u16, height: u16) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        Graph { values: values.into(), limit, style: Style::new() }.render(area, &mut buffer);
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    #[test]
    fn newest_at_the_right_and_nothing_where_nothing_is() {
        assert_eq!(drawn(&[9, 0, 1, 8], 0, 3, 1), [" ▁█"]);
        assert_eq!(drawn(&[4, 8], 8, 4, 1), ["  ▄█"]);
        assert_eq!(drawn(&[4, 8, 12], 16, 3, 2), ["  ▄", "▄██"]);
        assert_eq!(drawn(&[], 0, 3, 1), ["   "]);
        assert_eq!(drawn(&[0, 0], 0, 2, 1), ["  "]);
        assert_eq!(drawn(&[99], 10, 1, 1), ["█"]);
    }
}
