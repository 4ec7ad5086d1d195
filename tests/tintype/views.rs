//! Every view at 40, 80 and 120 columns, without colour, on light and on dark ground.
//!
//! A picture's cells are filled with `▒`, so that a snapshot shows where the terminal draws it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};
use ratatui::style::{Color, Style};
use tintype::engine::{EngineEvent, Phase, Preview};
use tintype::request::{GenerateParams, GenerateRequest, ImageSize, JobId, Picture, Recipe, Reused, Timings};
use tintype::session::entry::{Entry, JobState};
use tintype::telemetry::{MemSample, Pressure};
use tintype::theme::Theme;
use tintype::ui::app::{App, Facts, TokenCount};
use tintype::ui::gallery::{Gallery, Scope, Tile};
use tintype::ui::history::History;
use tintype::ui::painter::{Display, Painter};
use tintype::ui::themes::ThemePicker;
use tintype::ui::views;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

fn picture(width: u32, height: u32) -> Picture {
    Picture { size: ImageSize::new(width, height), rgb: vec![90; (width * height * 3) as usize].into() }
}

fn params(prompt: &str, seed: u64) -> GenerateParams {
    GenerateParams {
        prompt: prompt.into(),
        negative_prompt: None,
        model: "embedded".into(),
        revision: None,
        variant: None,
        scheduler: "dpmpp_2m".into(),
        steps: 20,
        guidance_scale: 7.0,
        eta: 0.0,
        seed,
        size: ImageSize::new(512, 512),
        image: None,
        strength: None,
        variation: None,
        variation_seed: None,
        clip_skip: 0,
        stop_after: None,
        deep_cache: None,
        cfg_until: None,
        branch: None,
    }
}

fn recipe(job: u64, prompt: &str) -> Recipe {
    Recipe {
        job: JobId(job),
        params: params(prompt, 3800 + job),
        device: "metal".into(),
        dtype: "f16".into(),
        version: "0.1.0".into(),
        timings: Timings { steps: vec![0.3; 20], total: 6.2, ..Timings::default() },
        reused: Reused::default(),
        peak_memory: 11 * GIB,
        swap_grown: 0,
        memory: std::collections::BTreeMap::new(),
        path: Some(PathBuf::from(format!("/home/ada/Pictures/tintype/{job:04}.png"))),
        pixels_sha256: String::new(),
        file_sha256: None,
        latents: Vec::new(),
        weights: std::collections::BTreeMap::new(),
        notices: Vec::new(),
    }
}

fn entry(job: u64, prompt: &str) -> Entry {
    let recipe = recipe(job, prompt);
    Entry {
        id: recipe.job,
        at: jiff::Timestamp::UNIX_EPOCH,
        typed: prompt.into(),
        request: GenerateRequest { prompt: prompt.into(), ..GenerateRequest::default() },
        parent: None,
        batch: None,
        state: JobState::Finished,
        held: None,
        params: Some(recipe.params.clone()),
        recipe: Some(recipe),
        name: None,
        rating: None,
        note: None,
        deleted: false,
    }
}

/// An app in which these jobs are done, through the same events as in real life.
fn idle(done: &[(u64, &str)]) -> App {
    let mut app = App::default();
    app.facts = Facts {
        model: "embedded".into(),
        device: "metal".into(),
        dtype: "f16".into(),
        settings: vec![("steps".into(), "20".into()), ("guidance-scale".into(), "5".into())],
    };
    for (job, prompt) in done {
        let id = JobId(*job);
        app.submitted(id, prompt);
        app.update(&EngineEvent::Queued { job: id });
        app.update(&EngineEvent::Started { job: id });
        let recipe = Box::new(recipe(*job, prompt));
        app.update(&EngineEvent::Finished { job: id, recipe, picture: picture(64, 64) });
        app.update(&EngineEvent::Ended { job: id });
    }
    app
}

fn sample(step: u32, pressure: Pressure) -> MemSample {
    MemSample {
        footprint: 9 * GIB,
        footprint_peak: 11 * GIB,
        memory_limit: 24 * GIB,
        memory_used: 15 * GIB,
        gpu_used: Some(if pressure == Pressure::Normal { 9 * GIB + 400 * MIB } else { 15 * GIB + 300 * MIB }),
        gpu_limit: Some(16 * GIB),
        swap_used: GIB / 2 + u64::from(step * step) * MIB,
        swap_total: 4 * GIB,
        pressure,
    }
}

fn submit(app: &mut App, job: u64, prompt: &str) {
    app.submitted(JobId(job), prompt);
    app.update(&EngineEvent::Queued { job: JobId(job) });
}

/// A job in its twelfth step of twenty, two more waiting.
fn stepping(pressure: Pressure) -> App {
    let mut app = idle(&[(10, "an old tram in Lisbon, rain"), (11, "a blue cat")]);
    let job = JobId(12);
    submit(&mut app, 12, "a red fox in the snow, watercolour, soft morning light, long shadows");
    app.update(&EngineEvent::Started { job });
    submit(&mut app, 13, "a lighthouse at night");
    submit(&mut app, 14, "狐狸在雪地里, 水彩");
    let params = Box::new(params("a red fox", 3812));
    app.update(&EngineEvent::Resolved { job, params, device: "metal".into(), dtype: "f16".into() });
    app.update(&EngineEvent::PhaseStarted { job, phase: Phase::Step });
    for step in 1..=12 {
        app.update(&EngineEvent::Step { job, step, steps: 20, seconds: 0.29 });
        app.update(&EngineEvent::Memory(Arc::new(sample(step, pressure))));
    }
    app.previewed(Preview { job, step: 12, picture: picture(64, 64) });
    app
}

fn loading() -> App {
    let mut app = idle(&[]);
    app.facts = Facts { model: "stabilityai/sdxl-turbo".into(), ..Facts::default() };
    let job = JobId(1);
    submit(&mut app, 1, "a red fox");
    app.update(&EngineEvent::Started { job });
    app.update(&EngineEvent::PhaseStarted { job, phase: Phase::Load });
    let (name, phase) = ("unet".into(), Phase::Load);
    app.update(&EngineEvent::Bytes { job, phase, name, done: 1200 * MIB, total: 5135 * MIB });
    app.tick(Instant::now() + Duration::from_millis(3050));
    app
}

fn gallery(keys: &[KeyCode]) -> Gallery {
    let prompts =
        ["a red fox in the snow, watercolour", "a blue cat", "an old tram in Lisbon, rain", "a lighthouse"];
    let tiles = prompts.iter().zip([12, 11, 10, 9]).filter_map(|(prompt, job)| {
        let mut tile = Tile::new(&entry(job, prompt))?;
        tile.thumbnail = Some(picture(64, 64));
        tile.gone = job == 9;
        Some(tile)
    });
    let mut gallery = Gallery::new(Scope::Session, tiles.collect());
    gallery.set_grid(4, 2);
    for key in keys {
        gallery.key(&KeyEvent::new(*key, KeyModifiers::NONE));
    }
    gallery
}

/// Draws into a buffer, fills pictures, and returns it.
fn draw(size: (u16, u16), theme: &Theme, pictures: bool, view: impl Fn(Rect, &mut Painter<'_>)) -> Buffer {
    let area = Rect::new(0, 0, size.0, size.1);
    let mut buffer = Buffer::empty(area);
    let display = Display { cell: Size::new(8, 16), pictures };
    let mut painter = Painter::new(&mut buffer, theme, display);
    view(area, &mut painter);
    for placed in painter.into_placed() {
        assert_eq!(placed.area.intersection(area), placed.area, "a picture must lie on the screen");
        for position in placed.area.positions() {
            assert_eq!(buffer[position].symbol(), " ", "a picture's cells must be blank");
            buffer[position].set_symbol("▒");
        }
    }
    buffer
}

fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut row = String::new();
        let mut x = 0;
        while x < buffer.area.width {
            let symbol = buffer[(x, y)].symbol();
            row.push_str(symbol);
            x += (unicode_width::UnicodeWidthStr::width(symbol) as u16).max(1);
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// The runs of equal style, a row a line: what each piece of text looks like.
fn styles(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut runs: Vec<(Style, String)> = Vec::new();
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            match runs.last_mut() {
                Some((style, text)) if *style == cell.style() => text.push_str(cell.symbol()),
                _ => runs.push((cell.style(), cell.symbol().into())),
            }
        }
        for (style, text) in runs.iter().filter(|(_, text)| !text.trim().is_empty()) {
            let mut name = String::new();
            for (prefix, color) in [("", style.fg), ("on ", style.bg)] {
                if let Some(color) = color.filter(|color| *color != Color::Reset) {
                    let _ = write!(name, "{prefix}{color} ");
                }
            }
            if !style.add_modifier.is_empty() {
                let _ = write!(name, "{:?}", style.add_modifier);
            }
            let _ = write!(out, "[{}]{} ", name.trim_end(), text.trim());
        }
        out.push('\n');
    }
    out
}

/// Snapshots the view at three widths and in four themes.
fn snapshot(name: &str, height: u16, view: impl Fn(Rect, &mut Painter<'_>)) {
    let ansi = Theme::default();
    for width in [40, 80, 120] {
        let buffer = draw((width, height), &ansi, true, &view);
        insta::assert_snapshot!(format!("{name}_{width}"), text(&buffer));
    }
    let plain = draw((80, height), &ansi.clone().without_color(), false, &view);
    assert!(
        plain.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset),
        "no colour"
    );
    insta::assert_snapshot!(format!("{name}_80_no_color"), format!("{}\n{}", text(&plain), styles(&plain)));
    for theme in ["albumen", "nord"] {
        let theme = Theme::load(theme, None).unwrap_or_else(|e| panic!("{e}"));
        let buffer = draw((80, height), &theme, true, &view);
        insta::assert_snapshot!(format!("{name}_80_{}", theme.name()), styles(&buffer));
    }
    // any size at all must be safe
    for size in [(0, 0), (1, 1), (5, 1), (12, 3), (300, 1), (1, 60), (200, 60)] {
        for pictures in [true, false] {
            draw(size, &ansi, pictures, &view);
        }
    }
}

fn panel(name: &str, app: &App) {
    snapshot(name, views::panel::height(app), |area, painter| views::panel::draw(app, area, painter));
    for height in 1..views::panel::height(app) {
        let buffer = draw((80, height), &Theme::default(), true, |area, painter| {
            views::panel::draw(app, area, painter);
        });
        assert!(text(&buffer).lines().all(|line| line.chars().count() <= 78), "78 columns at most");
    }
}

#[test]
fn panel_idle() {
    panel("panel_idle", &idle(&[]));
}

#[test]
fn panel_idle_with_tokens() {
    let mut app = idle(&[(1, "a fox")]);
    app.tokens = Some(TokenCount { used: 91, limit: 77, cut_at_byte: Some(300) });
    panel("panel_idle_tokens", &app);
}

#[test]
fn panel_loading() {
    panel("panel_loading", &loading());
}

#[test]
fn panel_stepping() {
    panel("panel_stepping", &stepping(Pressure::Normal));
}

#[test]
fn panel_under_pressure_and_cancelled() {
    let mut app = stepping(Pressure::Critical);
    let text = "memory is short: the next steps run with sliced attention".into();
    app.update(&EngineEvent::Notice { job: JobId(12), text });
    app.cancelling();
    panel("panel_pressure", &app);
}

#[test]
fn full_screen_stepping() {
    let app = stepping(Pressure::Normal);
    snapshot("full_stepping", 36, |area, painter| views::full::draw(&app, area, painter));
}

#[test]
fn full_screen_idle() {
    let empty = idle(&[]);
    snapshot("full_empty", 24, |area, painter| views::full::draw(&empty, area, painter));
    let app = idle(&[(10, "an old tram in Lisbon, rain"), (11, "a blue cat")]);
    snapshot("full_idle", 24, |area, painter| views::full::draw(&app, area, painter));
}

#[test]
fn gallery_grid() {
    let marked = gallery(&[KeyCode::Right, KeyCode::Char('c'), KeyCode::Left]);
    snapshot("gallery_grid", 24, |area, painter| views::gallery::draw(&marked, area, painter));
    let empty = Gallery::new(Scope::Session, Vec::new());
    snapshot("gallery_empty", 8, |area, painter| views::gallery::draw(&empty, area, painter));
    let filtered = gallery(&[KeyCode::Char('/'), KeyCode::Char('b'), KeyCode::Char('l')]);
    snapshot("gallery_filter", 24, |area, painter| views::gallery::draw(&filtered, area, painter));
}

#[test]
fn gallery_large_and_delete() {
    let large = gallery(&[KeyCode::Right, KeyCode::Enter, KeyCode::Char('d')]);
    snapshot("gallery_large", 24, |area, painter| views::gallery::draw(&large, area, painter));
}

#[test]
fn gallery_compare() {
    let compare = gallery(&[KeyCode::Char('c'), KeyCode::Right, KeyCode::Char('c')]);
    snapshot("gallery_compare", 24, |area, painter| views::gallery::draw(&compare, area, painter));
}

#[test]
fn history() {
    let mut entries =
        vec![entry(11, "a blue cat"), entry(10, "an old tram in Lisbon, rain"), entry(9, "fox")];
    entries[1].rating = Some(4);
    entries[2].state = JobState::Failed("no memory".into());
    let now = jiff::Timestamp::UNIX_EPOCH.to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let mut list = History::new(Scope::Session, entries, &now);
    list.key(&KeyEvent::new(KeyCode::Down, KeyModifiers::NONE));
    snapshot("history", 10, |area, painter| views::history::draw(&list, area, painter));
    list.paste("cat steps>");
    snapshot("history_half_typed", 8, |area, painter| views::history::draw(&list, area, painter));
    let empty = History::default();
    snapshot("history_empty", 6, |area, painter| views::history::draw(&empty, area, painter));
}

#[test]
fn help() {
    let commands = vec![
        ("/set NAME VALUE".to_owned(), "change a setting for the session".to_owned()),
        ("/quit".to_owned(), "leave".to_owned()),
    ];
    snapshot("help", 20, |area, painter| views::help::draw(&commands, area, painter));
    snapshot("help_cut", 12, |area, painter| views::help::draw(&commands, area, painter));
}

#[test]
fn themes() {
    let app = stepping(Pressure::Warn);
    let picker = ThemePicker::new(Theme::names(None), "ansi");
    snapshot("themes", 36, |area, painter| views::themes::draw(&picker, &app, area, painter));
}

#[test]
fn result_line() {
    let mut recipe = recipe(12, "a red fox");
    let home = PathBuf::from("/home/ada");
    let within = |recipe: &Recipe, width: usize| {
        let line = views::result::line(recipe, &Theme::default(), Some(&home), width);
        assert!(line.width() <= width, "{line}");
        line.to_string()
    };
    let line = |recipe: &Recipe| within(recipe, 120);
    insta::assert_snapshot!(line(&recipe), @"#12 seed 3812 · 20 × dpmpp_2m · cfg 7 · 512×512 · 6.2 s · ~/Pictures/tintype/0012.png");
    let shorter: String =
        [87, 80, 72, 60, 44, 36, 30, 20].map(|width| within(&recipe, width) + "\n").concat();
    insta::assert_snapshot!(shorter);
    recipe.path = None;
    recipe.params.image = Some("fox.png".into());
    recipe.params.strength = Some(0.75);
    insta::assert_snapshot!(line(&recipe), @"#12 seed 3812 · 20 × dpmpp_2m · cfg 7 · 512×512 · strength 0.75 · 6.2 s");
}
