//! Keys through the real loop: what they make of the prompt, what commands make of the session, and every protocol
//! back to pixels.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pty::fake_terminal::{KITTY, MUTE, Profile};
use crate::repl::Repl;

const LEFT: &str = "\x1b[D";
const CLEAR: &str = "\x03";

/// A mute terminal with every colour.
const COLOURFUL: Profile = Profile { env: &[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")], ..MUTE };

#[test]
fn keys_make_lines() {
    let mut repl = Repl::start(3, KITTY, 80, 24);
    for (keys, shown) in [
        ("a fox\x01red \x05es", "tintype › red a foxes"),
        ("one two three\x17\x17", "tintype › one"),
        ("one two\x1bb\x0b", "tintype › one"),
        ("abc\x14", "tintype › acb"),
        ("kept\x15\x19", "tintype › kept"),
        ("tow\x1b\rlines", "tintype › tow\nlines"),
        ("goes on\\\rbelow", "tintype › goes on\\\nbelow"),
        ("日本語の狐", "tintype › 日本語の狐"),
        ("🦊👩‍💻x", "🦊"),
        ("日本", "tintype › 日本"),
        ("e\u{301}tude", "tintype › e\u{301}tude"),
    ] {
        repl.terminal.keys(keys);
        repl.terminal.sees(shown);
        repl.terminal.keys(CLEAR);
        repl.terminal
            .until("an empty prompt", |terminal| terminal.screen().trim_end().ends_with("tintype ›"));
    }
    repl.terminal.keys(&format!("日本{LEFT}{LEFT}の"));
    repl.terminal.sees("tintype › の日本");
    repl.leave();
}

#[test]
fn everything_that_is_listed_completes() {
    let mut repl = Repl::start(3, KITTY, 100, 24);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bait.png"), "").unwrap();
    let folder = folder.path().display();
    repl.line("a fox -s 2 -S 4711 64x64");
    repl.printed("#1 seed 4711");
    for (typed, completed) in [
        ("/galler", "/gallery"),
        ("/theme nor", "/theme nord"),
        ("/set wid", "/set width"),
        ("/scheduler unip", "/scheduler unipc"),
        ("a cat --negat", "a cat --negative-prompt"),
        ("a cat -m embe", "a cat -m embedded"),
        ("a cat -A lc", "a cat -A lcm"),
        ("a cat -S 47", "a cat -S 4711"),
        (&format!("a cat --image {folder}/ba"), "/bait.png"),
    ] {
        repl.terminal.keys(&format!("{typed}\t"));
        repl.terminal.sees(completed);
        repl.terminal.keys(CLEAR);
        repl.terminal
            .until("an empty prompt", |terminal| terminal.screen().trim_end().ends_with("tintype ›"));
    }
    // the history is offered behind the cursor
    repl.terminal.keys("a fo");
    repl.terminal.sees("tintype › a fox -s 2 -S 4711 64x64");
    repl.terminal.keys("\x1b[C\x05!");
    repl.terminal.sees("64x64!");
    repl.leave();
}

#[test]
fn who_comes_from_ollama_is_understood() {
    let mut repl = Repl::start(3, KITTY, 100, 30);
    repl.line("/set width 768");
    repl.terminal.sees("width 768");
    repl.line("/show");
    repl.printed("guidance-scale");
    repl.line("/?");
    repl.printed("/gallery");
    repl.line("/model nobody/nothing");
    repl.terminal.sees("nobody/nothing ·");
    repl.line("/reset");
    repl.terminal.sees("\nembedded");
    repl.terminal.until("no settings", |terminal| !terminal.screen().trim_end().ends_with("width 768"));
    repl.line("/bye");
    assert_eq!(repl.terminal.exit().code(), Some(0));
    assert!(repl.terminal.is_sane());
}

#[test]
fn a_picture_is_rated_noted_copied_saved_and_opened() {
    let nothing = tempfile::tempdir().unwrap();
    let path = nothing.path().to_str().unwrap();
    let mut repl = Repl::start_with(&["--fake=3"], &[("PATH", path)], KITTY, 100, 40);
    repl.line("a fox -s 2 -S 7 64x64");
    repl.printed("#1 seed 7");
    repl.line("/rate 4");
    repl.printed("#1 ★★★★");
    repl.line("/note the good one");
    repl.printed("#1 the good one");
    repl.line("/history");
    repl.printed("★★★★");
    repl.line("/rate 9");
    repl.printed("a rating goes from 0 (none) to 5, not 9");
    let copy = nothing.path().join("copy.png");
    repl.line(&format!("/save {}", copy.display()));
    repl.printed("saved as ");
    let saved = image::open(&copy).unwrap().into_rgb8();
    assert_eq!(saved.dimensions(), (64, 64));
    repl.line(&format!("/save {}", copy.display()));
    repl.printed("exists");
    repl.line("/open");
    repl.printed("cannot be started");
    repl.line("/copy");
    repl.printed("copied");
    let raw = String::from_utf8_lossy(repl.terminal.raw()).into_owned();
    let encoded = raw.split("\x1b]52;c;").nth(1).and_then(|rest| rest.split('\x1b').next()).unwrap();
    let line = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
    assert!(line.starts_with("a fox ") && line.contains("-S 7"), "{line}");
    repl.line("/memory");
    repl.printed("GiB");
    repl.leave();
}

#[test]
fn a_paste_of_20_kb_is_one_line_and_arrives_whole() {
    let mut repl = Repl::start(1, KITTY, 100, 30);
    let text: String =
        (0..2_900).map(|n| if n % 40 == 39 { "line\n ".into() } else { format!("w{n:05} ") }).collect();
    assert!(text.len() >= 20_000, "{}", text.len());
    repl.terminal.paste(&text);
    repl.terminal.sees("w02898");
    repl.terminal.keys("the end -s 1 64x64\r");
    repl.printed("#1 seed ");
    let session = std::fs::read_dir(repl.home().join("sessions")).unwrap().next().unwrap().unwrap().path();
    let session = std::fs::read_to_string(session).unwrap();
    let words: Vec<_> = (0..2_900).filter(|n| n % 40 != 39).map(|n| format!("w{n:05} ")).collect();
    assert!(words.iter().all(|word| session.contains(word)), "every word is there");
    assert!(session.contains("the end"));
    repl.leave();
}

#[test]
fn the_panel_moves_while_the_history_is_searched() {
    let mut repl = Repl::start(20, KITTY, 100, 30);
    repl.line("an old prompt -s 2 64x64");
    repl.printed("#1 seed ");
    repl.line("a slow one -s 900 64x64");
    repl.terminal.sees("it/s");
    repl.terminal.keys("\x12old");
    repl.terminal.sees("reverse-i-search");
    let before = repl.terminal.screen();
    repl.terminal.until("another step", |terminal| {
        let screen = terminal.screen();
        screen.contains("reverse-i-search") && screen.contains("it/s") && screen != before
    });
    repl.terminal.keys("\x05");
    repl.terminal.sees("tintype › an old prompt -s 2 64x64");
    repl.terminal.keys("\x15\x03");
    repl.printed("#2 cancelled");
    repl.leave();
}

#[test]
fn ctrl_l_leaves_the_prompt_alone_on_the_screen() {
    let mut repl = Repl::start(3, KITTY, 80, 24);
    repl.line("/help");
    repl.printed("/gallery");
    repl.terminal.keys("half\x0c");
    repl.terminal.until("a clear screen", |terminal| {
        let screen = terminal.screen();
        screen.contains("tintype › half") && !screen.contains("/gallery")
    });
    repl.leave();
}

#[test]
fn pictures_are_compared_and_go_to_the_trash() {
    let mut repl = Repl::start(3, KITTY, 100, 30);
    for n in 1..=2 {
        repl.line(&format!("picture {n} -s 2 64x64"));
        repl.printed(&format!("\n#{n} seed "));
    }
    repl.line("/gallery");
    repl.terminal.sees("2 pictures");
    repl.terminal.keys("c\x1b[C");
    repl.terminal.keys("c");
    repl.terminal.until("both", |terminal| {
        let screen = terminal.screen();
        screen.contains("picture 1") && screen.contains("picture 2") && screen.contains("#1")
    });
    repl.terminal.keys("\x1b");
    repl.terminal.rest(Duration::from_millis(100));
    let file = repl.file(2);
    assert!(file.is_file());
    repl.terminal.keys("\x1b[Hd");
    repl.terminal.rest(Duration::from_millis(100));
    assert!(file.is_file(), "it is asked first");
    repl.terminal.keys("d");
    repl.terminal.until("the trash", |_| !file.exists());
    // the first takes the mark away
    repl.terminal.keys("qq");
    repl.printed("#2 is in the trash");
    repl.leave();
}

/// Waits for the first picture and returns what was saved.
fn picture(repl: &mut Repl, line: &str) -> image::RgbImage {
    repl.line(line);
    repl.printed("#1 seed ");
    image::open(repl.file(1)).unwrap().into_rgb8()
}

#[test]
fn each_protocol_can_be_forced_and_shows_the_very_pixels() {
    for name in ["kitty", "placeholder", "iterm2"] {
        let mut repl = Repl::start_with(&["--fake=3", "--images", name], &[], COLOURFUL, 80, 30);
        let saved = picture(&mut repl, "a red fox -s 2 128x64");
        let shown = repl.terminal.pictures(0);
        let found = shown.iter().any(|picture| picture.protocol == name && picture.pixels == saved);
        assert!(found, "{name}: {} pictures, none of them it", shown.len());
        repl.leave();
    }
    let mut repl = Repl::start_with(&["--fake=3", "--images", "sixel"], &[], COLOURFUL, 80, 30);
    // sixels have a palette: of one colour they are exact
    let saved = picture(&mut repl, "flat ff00ff -s 2 128x64");
    let shown = repl.terminal.pictures(0);
    let last = shown.last().unwrap();
    assert!(last.protocol == "sixel" && last.pixels.pixels().all(|pixel| pixel == saved.get_pixel(0, 0)));
    repl.leave();
    let mut repl = Repl::start_with(&["--fake=3", "--images", "half-blocks"], &[], COLOURFUL, 80, 30);
    picture(&mut repl, "flat 10c0f0 -s 2 128x64");
    let screen = repl.terminal.vt();
    let colour = vt100::Color::Rgb(0x10, 0xc0, 0xf0);
    let cells = (0..30).flat_map(|row| (0..80).filter_map(move |column| screen.cell(row, column)));
    let blocks: Vec<_> = cells.filter(|cell| cell.contents() == "▀").collect();
    assert!(
        blocks.len() >= 20 && blocks.iter().all(|cell| (cell.fgcolor(), cell.bgcolor()) == (colour, colour))
    );
    repl.leave();
    let mut repl = Repl::start_with(&["--fake=3", "--images", "none"], &[], KITTY, 80, 30);
    picture(&mut repl, "a fox -s 2 128x64");
    assert!(repl.terminal.pictures(0).is_empty());
    repl.leave();
}

#[test]
fn on_a_slow_line_previews_are_halved() {
    let mut repl = Repl::start(40, KITTY, 80, 30);
    let mark = repl.terminal.raw().len();
    repl.line("a red fox -s 900 512x512");
    for _ in 0..50 {
        // a few KB, then nothing for a while
        std::thread::sleep(Duration::from_millis(120));
        repl.terminal.pump();
    }
    let widths: Vec<u32> =
        repl.terminal.pictures(mark).iter().map(|picture| picture.pixels.width()).collect();
    assert_eq!(widths.first(), Some(&64), "latent-sized at first: {widths:?}");
    assert!(widths.contains(&32), "halved: {widths:?}");
    repl.terminal.keys("x");
    repl.terminal.sees("tintype › x");
    repl.terminal.keys("\x15\x03");
    repl.printed("#1 cancelled");
    repl.leave();
}

#[test]
fn the_folder_of_a_new_home_is_made() {
    let repl = Repl::start(3, KITTY, 80, 24);
    let names = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(names(&repl.home().join("sessions")), 1);
    assert!(repl.home().join("tintype.log").is_file());
    repl.leave();
}
