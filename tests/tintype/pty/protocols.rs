//! Pictures through a whole program and back to pixels.

use std::time::Duration;

use super::child::{self, flat_picture, test_picture};
use super::fake_terminal::{FakeTerminal, ITERM2, KITTY, MUTE, Profile, SIXEL, TMUX};
use super::pictures::ShownPicture;

fn shown(profile: Profile, side: u32) -> (FakeTerminal, Vec<ShownPicture>) {
    let mut terminal = FakeTerminal::start(child::command(), profile, 100, 40);
    terminal.sees("0 lines");
    let mark = terminal.raw().len();
    terminal.keys(&format!("picture {side}\r"));
    terminal.sees("1 lines");
    let pictures = terminal.pictures(mark);
    (terminal, pictures)
}

#[test]
fn exact_pixels_arrive() {
    for (profile, protocol, cells) in
        [(KITTY, "kitty", (12, 6)), (ITERM2, "iterm2", (13, 6)), (TMUX, "placeholder", (12, 6))]
    {
        let (_, pictures) = shown(profile, 200);
        let [picture] = &pictures[..] else { panic!("{} pictures in {}", pictures.len(), profile.name) };
        assert_eq!((picture.protocol, picture.cells), (protocol, Some(cells)));
        assert_eq!(picture.pixels.as_raw()[..], test_picture(200, 200).rgb[..], "{protocol}");
    }
}

#[test]
fn a_local_kitty_reads_the_picture_from_a_file() {
    let (_, pictures) = shown(KITTY, 500);
    assert!(pictures[0].bytes < 300, "{} bytes", pictures[0].bytes);
    assert_eq!(pictures[0].pixels.as_raw()[..], test_picture(500, 500).rgb[..]);
}

#[test]
fn sixels_fill_their_cells_exactly() {
    let (_, pictures) = shown(SIXEL, 200);
    let [picture] = &pictures[..] else { panic!("{} pictures", pictures.len()) };
    // 6 rows of 15 pixels; the largest multiple of six
    assert_eq!(picture.pixels.dimensions(), (11 * 8, 90));
}

#[test]
fn placeholders_name_every_cell() {
    let (terminal, pictures) = shown(TMUX, 100);
    let id = pictures[0].id.expect("a number");
    let (rows, columns) = (0..40, 0..12);
    let cells: Vec<(u16, u16)> =
        rows.flat_map(|row| columns.clone().map(move |column| (row, column))).collect();
    let placed: Vec<_> = cells
        .into_iter()
        .filter_map(|(row, column)| terminal.vt().cell(row, column))
        .filter(|cell| cell.contents().starts_with('\u{10eeee}'))
        .collect();
    assert_eq!(placed.len(), 12 * 6);
    assert!(
        placed.iter().all(|cell| cell.fgcolor() == vt100::Color::Idx(id as u8)),
        "the colour is the number"
    );
    let marks: std::collections::BTreeSet<_> = placed.iter().map(|cell| cell.contents()).collect();
    assert_eq!(marks.len(), 12 * 6, "every cell shows another piece");
}

#[test]
fn half_blocks_show_two_pixels_a_cell() {
    let (terminal, pictures) = shown(Profile { env: &[("COLORTERM", "truecolor")], ..MUTE }, 12);
    assert!(pictures.is_empty());
    let screen = terminal.vt();
    let row =
        (0..40).find(|&row| screen.cell(row, 0).is_some_and(|cell| cell.contents() == "▀")).expect("blocks");
    let picture = test_picture(12, 12);
    let pixel = |x: usize, y: usize| {
        let at = (y * 12 + x) * 3;
        vt100::Color::Rgb(picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2])
    };
    for y in 0..6 {
        for x in 0..12 {
            let cell = screen.cell(row + y as u16, x as u16).expect("a cell");
            assert_eq!((cell.fgcolor(), cell.bgcolor()), (pixel(x, 2 * y), pixel(x, 2 * y + 1)), "{x}, {y}");
        }
    }
}

#[test]
fn previews_are_small_reuse_their_number_and_are_deleted() {
    for (profile, limit) in [(KITTY, 17_000), (TMUX, 18_000), (ITERM2, 17_000), (SIXEL, 20_000)] {
        let mut terminal = FakeTerminal::start(child::command(), profile, 100, 40);
        terminal.sees("0 lines");
        let mark = terminal.raw().len();
        terminal.keys("previews\r");
        terminal.sees(r#"got "previews""#);
        terminal.rest(Duration::from_millis(100));
        let pictures = terminal.pictures(mark);
        // one for each step, and the last once more because a line was printed above
        assert_eq!(pictures.len(), 101, "{}", profile.name);
        let ids: std::collections::BTreeSet<_> = pictures.iter().map(|picture| picture.id).collect();
        assert_eq!(ids.len(), 1, "{}", profile.name);
        assert!(pictures.iter().all(|picture| picture.bytes < limit), "{}", profile.name);
        if profile.name != "sixel" {
            let last = &pictures[99].pixels;
            assert_eq!(last.as_raw()[..], flat_picture(64, 64, [100, 0, 0]).rgb[..], "{}", profile.name);
        }
        let mark = terminal.raw().len();
        terminal.keys("no preview\r");
        terminal.sees("2 lines");
        terminal.rest(Duration::from_millis(50));
        let text = String::from_utf8_lossy(&terminal.raw()[mark..]).into_owned();
        let deletes = text.matches("a=d,d=I").count();
        assert_eq!(deletes > 0, pictures[0].id.is_some(), "{}: {text:?}", profile.name);
    }
}

#[test]
fn words_stand_for_a_picture_where_there_are_no_colours() {
    let mut command = child::command();
    command.env("NO_COLOR", "1");
    let mut terminal = FakeTerminal::start(command, MUTE, 80, 24);
    terminal.sees("[none ");
    terminal.keys("picture 8\r");
    terminal.sees("[picture 8×8, mean colour #");
}

#[test]
fn the_person_may_choose_another_protocol() {
    let mut command = child::command();
    command.env("IMAGES", "sixel");
    let mut terminal = FakeTerminal::start(command, KITTY, 80, 24);
    terminal.sees("[sixel 9x18");
}
