//! The gallery: a grid of pictures, or one of them large.

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};

use super::{compare, result};
use crate::theme::{Role, Theme};
use crate::ui::format;
use crate::ui::gallery::{Gallery, Scope, Show, Tile};
use crate::ui::painter::{Painter, Slot, version};

/// Columns of a picture's place in the grid, at least.
const CELL_WIDTH: u16 = 20;

/// Draws the gallery over the whole area.
pub fn draw(gallery: &Gallery, area: Rect, painter: &mut Painter<'_>) {
    let [head, middle, foot] = areas(area);
    painter.line(head, &header(gallery, painter));
    match gallery.show {
        Show::Grid => grid(gallery, middle, painter),
        Show::Large => {
            if let Some(tile) = gallery.selected() {
                large(tile, Slot::Large, middle, painter);
            }
        }
        Show::Compare => {
            if let (Some(left), Some(right)) = (gallery.marked(), gallery.selected()) {
                compare::draw(left, right, middle, painter);
            }
        }
    }
    footer(gallery, foot, painter);
}

fn areas(area: Rect) -> [Rect; 3] {
    Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(2)]).areas(area)
}

/// How many columns and rows of pictures an area holds.
pub fn grid_size(area: Rect) -> (u16, u16) {
    let [_, middle, _] = areas(area);
    let columns = (middle.width / CELL_WIDTH).max(1);
    (columns, (middle.height / cell_height(middle.width / columns)).max(1))
}

/// Picture, caption and a gap.
fn cell_height(width: u16) -> u16 {
    width.saturating_sub(2).div_ceil(2).max(1) + 2
}

fn header<'a>(gallery: &Gallery, painter: &Painter<'_>) -> Line<'a> {
    let scope = match gallery.scope {
        Scope::Session => "this session",
        Scope::All => "all sessions",
    };
    let count = match (gallery.matching(), gallery.len()) {
        (shown, all) if shown == all => format!("{all} pictures"),
        (shown, all) => format!("{shown} of {all} pictures"),
    };
    let mut spans =
        vec![painter.span(Role::Title, "gallery"), painter.span(Role::Muted, format!("  {scope} · {count}"))];
    if gallery.filtering || !gallery.filter.is_empty() {
        spans.push(painter.span(Role::Key, "  /"));
        spans.push(painter.span(Role::Text, gallery.filter.clone()));
    }
    if gallery.filtering {
        spans.push(painter.span(Role::Selection, " "));
    }
    Line::from(spans)
}

fn grid(gallery: &Gallery, area: Rect, painter: &mut Painter<'_>) {
    if gallery.matching() == 0 {
        let text = if gallery.is_empty() {
            "no picture yet: leave with Esc and type a prompt"
        } else {
            "no picture matches: Esc shows all"
        };
        return painter.line(area, &Line::from(painter.span(Role::Muted, text)));
    }
    let columns = (area.width / CELL_WIDTH).max(1);
    let width = area.width / columns;
    let height = cell_height(width);
    for (at, (tile, selected, marked)) in (0u16..).zip(gallery.visible()) {
        let (column, row) = (at % columns, at / columns);
        let cell = Rect::new(
            area.x + column * width,
            area.y + row * height,
            width.saturating_sub(1),
            height.saturating_sub(1),
        )
        .intersection(area);
        let picture =
            Rect { height: cell.height.saturating_sub(1), width: cell.width.saturating_sub(1), ..cell };
        match &tile.thumbnail {
            Some(thumbnail) if !tile.gone => {
                painter.picture(Slot::Thumbnail(at), thumbnail, version(tile.recipe.job, u32::MAX), picture);
            }
            _ => {
                painter.plate(tile.recipe.params.size, picture);
                let text = if tile.gone { "no file" } else { "" };
                let row = Rect {
                    y: picture.y + picture.height / 2,
                    x: picture.x + 2,
                    height: 1,
                    width: picture.width.saturating_sub(2),
                };
                painter.line(row.intersection(picture), &Line::from(painter.span(Role::Muted, text)));
            }
        }
        let caption = Rect { y: cell.bottom().saturating_sub(1), height: 1, ..cell };
        painter.line(caption, &caption_line(tile, (selected, marked), caption.width, painter));
    }
}

fn caption_line<'a>(tile: &Tile, at: (bool, bool), width: u16, painter: &Painter<'_>) -> Line<'a> {
    let (selected, marked) = at;
    let mark = if marked { "◆ " } else { "" };
    let text = format!("{mark}{} {}", tile.recipe.job, tile.recipe.params.prompt);
    let text = format::clip(&text, usize::from(width)).into_owned();
    let role = match at {
        _ if selected => Role::Selection,
        _ if tile.gone => Role::Muted,
        _ => Role::Text,
    };
    Line::from(painter.span(role, text))
}

/// One picture with its prompt and settings.
pub fn large(tile: &Tile, slot: Slot, area: Rect, painter: &mut Painter<'_>) {
    let [view, prompt, settings] =
        Layout::vertical([Constraint::Min(0), Constraint::Length(1), Constraint::Length(1)]).areas(area);
    match tile.best() {
        Some(picture) => {
            // a thumbnail and the picture itself are two versions
            let step = if tile.large.is_some() { u32::MAX } else { 0 };
            painter.picture(slot, picture, version(tile.recipe.job, step), view);
        }
        None => painter.plate(tile.recipe.params.size, view),
    }
    let width = usize::from(area.width);
    let title = super::full::job_and_prompt(tile.recipe.job, &tile.recipe.params.prompt, area.width, painter);
    painter.line(prompt, &title);
    let text = format::clip(&result::settings(&tile.recipe), width).into_owned();
    painter.line(settings, &Line::from(painter.span(Role::Muted, text)));
}

fn footer(gallery: &Gallery, area: Rect, painter: &mut Painter<'_>) {
    let first = Rect { height: area.height.min(1), ..area };
    let last = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
    if let Some(tile) = gallery.selected().filter(|_| gallery.show == Show::Grid && gallery.trouble.is_none())
    {
        let (home, width) = (gallery.home.as_deref(), usize::from(first.width));
        let text = result::line(&tile.recipe, &Theme::default(), home, width).to_string();
        painter.line(first, &Line::from(painter.span(Role::Muted, text)));
    }
    if let Some(trouble) = &gallery.trouble {
        let text = format::clip(trouble, usize::from(first.width)).into_owned();
        painter.line(first, &Line::from(painter.span(Role::InputError, text)));
    }
    if gallery.confirm {
        let text = "press d again to move the picture to the trash; its history entry stays";
        return painter.line(last, &Line::from(painter.span(Role::Warning, text)));
    }
    let keys: &[(&str, &str)] = match (gallery.filtering, gallery.show) {
        (true, _) => &[("Enter", "keep"), ("Esc", "clear")],
        (_, Show::Grid) => &[
            ("Enter", "large"),
            ("r", "rerun"),
            ("e", "edit"),
            ("c", if gallery.marked().is_some() { "compare" } else { "mark" }),
            ("d", "delete"),
            ("/", "filter"),
            ("a", if gallery.scope == Scope::All { "this session" } else { "all" }),
            ("Esc", "back"),
        ],
        (_, Show::Large) => {
            &[("←→", "next"), ("r", "rerun"), ("e", "edit"), ("c", "mark"), ("d", "delete"), ("Esc", "back")]
        }
        (_, Show::Compare) => &[("←→", "next"), ("r", "rerun"), ("e", "edit"), ("Esc", "back")],
    };
    let spans: Vec<Span<'_>> = keys
        .iter()
        .flat_map(|(key, what)| {
            [painter.span(Role::Key, *key), painter.span(Role::Muted, format!(" {what}  "))]
        })
        .collect();
    painter.line(last, &Line::from(spans));
}
