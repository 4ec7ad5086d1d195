//! The prompt end to end: the real program with its scripted engine, in terminals that we play ourselves; and the ways
//! in without a terminal.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ratatui::style::Color;
use serde_json::Value;
use tempfile::TempDir;
use tintype::theme::{Role, Theme};

use crate::pty::fake_terminal::{FakeTerminal, ITERM2, KITTY, MUTE, Profile, SIXEL, SLOW, TMUX};

const F1: &str = "\x1bOP";
const F2: &str = "\x1bOQ";
const F3: &str = "\x1bOR";
const F4: &str = "\x1bOS";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const ESC: &str = "\x1b";
/// What the idle panel ends in.
const READY: &str = "/help";

/// The program in a terminal, with a home of its own.
pub struct Repl {
    pub terminal: FakeTerminal,
    home: TempDir,
}

/// All files in a folder, at whatever depth.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    found.sort();
    found
}

pub fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
    command.args(arguments).env("TINTYPE_HOME", home).env("HOME", home).env_remove("HF_HOME");
    command
}

impl Repl {
    /// `step` milliseconds a step.
    pub fn start(step: u32, profile: Profile, columns: u16, rows: u16) -> Self {
        Self::start_with(&[&format!("--fake={step}")], &[], profile, columns, rows)
    }

    pub fn start_with(
        arguments: &[&str],
        env: &[(&str, &str)],
        profile: Profile,
        columns: u16,
        rows: u16,
    ) -> Self {
        Self::start_at(tempfile::tempdir().unwrap(), arguments, env, profile, columns, rows)
    }

    /// With a home that may have something in it.
    pub fn start_at(
        home: TempDir,
        arguments: &[&str],
        env: &[(&str, &str)],
        profile: Profile,
        columns: u16,
        rows: u16,
    ) -> Self {
        let mut command = command(home.path(), arguments);
        command.envs(env.iter().copied());
        let terminal = FakeTerminal::start(command, profile, columns, rows);
        let mut repl = Self { terminal, home };
        if columns >= 40 && rows >= 4 {
            repl.terminal.sees("tintype ›");
        }
        repl
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The file of a picture, by the name that the session gave it.
    pub fn file(&self, job: u64) -> PathBuf {
        let found = files(&self.home().join("pictures"));
        let is =
            |path: &&PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(&format!("{job:04}-"));
        found.iter().find(is).unwrap_or_else(|| panic!("no picture {job} in {found:?}")).clone()
    }

    /// A line, and Enter.
    pub fn line(&mut self, text: &str) {
        self.terminal.keys(&format!("{text}\r"));
    }

    /// Waits for a text anywhere in what the terminal has shown, scrollback and all.
    pub fn printed(&mut self, text: &str) {
        self.printed_within(Duration::from_secs(20), text);
    }

    fn printed_within(&mut self, time: Duration, text: &str) {
        let start = std::time::Instant::now();
        while !self.history().contains(text) {
            assert!(start.elapsed() < time, "{text} never came:\n{}", self.history());
            self.terminal.rest(Duration::from_millis(10));
        }
    }

    pub fn history(&mut self) -> String {
        self.terminal.history().join("\n")
    }

    pub fn leave(mut self) {
        self.terminal.keys("\x05\x15\x04");
        assert_eq!(self.terminal.exit().code(), Some(0));
        assert!(self.terminal.is_sane());
    }
}

#[test]
fn the_next_prompt_is_typed_while_the_picture_develops() {
    let mut repl = Repl::start(30, KITTY, 130, 30);
    repl.terminal.sees("F2 full screen");
    repl.line("a red fox -s 20");
    repl.terminal.sees("#1 a red fox");
    repl.terminal.sees("it/s");
    repl.terminal.keys("a blue cat -s 3");
    repl.terminal.sees("tintype › a blue cat -s 3");
    assert!(repl.terminal.screen().contains("step  "), "and the first one still runs");
    repl.terminal.keys("\r");
    repl.terminal.sees("1 waiting: #2 a blue cat");
    repl.printed("#1 seed ");
    repl.printed("#2 seed ");
    repl.terminal.sees(READY);
    let history = repl.history();
    for line in [
        "tintype › a red fox -s 20",
        "20 × dpmpp_2m · cfg 7 · 512×512",
        "tintype › a blue cat -s 3",
        "3 × dpmpp_2m",
    ] {
        assert_eq!(history.matches(line).count(), 1, "{line} in\n{history}");
    }
    assert!(!history.contains("waiting"), "no panel is left behind:\n{history}");
    repl.leave();
}

#[test]
fn finished_pictures_are_shown_to_the_pixel() {
    for profile in [KITTY, ITERM2, TMUX] {
        let mut repl = Repl::start(60, profile, 80, 30);
        repl.line("a red fox -s 4 128x64");
        repl.printed("#1 seed ");
        let saved = image::open(repl.file(1)).unwrap().into_rgb8();
        let shown = repl.terminal.pictures(0);
        let found = shown.iter().any(|picture| picture.pixels == saved);
        assert!(found, "{}: {} pictures, none of them it", profile.name, shown.len());
        let preview = shown.iter().find(|picture| picture.pixels.dimensions() == (16, 8));
        let sizes: Vec<_> =
            shown.iter().map(|picture| (picture.pixels.dimensions(), picture.bytes)).collect();
        let small = preview.is_some_and(|preview| preview.bytes < 20_000);
        assert!(small, "{}: a small preview among {sizes:?}", profile.name);
        repl.leave();
    }
}

#[test]
fn sixel_and_half_blocks_show_something_in_the_right_place() {
    for profile in [SIXEL, MUTE] {
        let mut repl = Repl::start_with(&["--fake=5"], &[("COLORTERM", "truecolor")], profile, 80, 40);
        repl.line("a red fox -s 2");
        repl.printed("#1 seed ");
        if profile.name == "sixel" {
            assert!(!repl.terminal.pictures(0).is_empty());
        } else {
            let history = repl.history();
            assert!(history.lines().filter(|line| line.starts_with("▀▀▀▀▀▀")).count() >= 10, "{history}");
        }
        repl.leave();
    }
}

#[test]
fn ctrl_c_clears_then_cancels_then_leaves() {
    let mut repl = Repl::start(40, KITTY, 80, 30);
    repl.line("a red fox -s 500");
    repl.terminal.sees("it/s");
    repl.terminal.keys("half a prom");
    repl.terminal.sees("half a prom");
    repl.terminal.keys(CTRL_C);
    repl.terminal.until("an empty prompt", |terminal| !terminal.screen().contains("half a prom"));
    assert!(repl.terminal.screen().contains("it/s"), "the job runs on");
    repl.terminal.keys(CTRL_C);
    repl.printed("#1 cancelled after step ");
    repl.terminal.sees(READY);
    repl.terminal.keys("typing in between counts\x15");
    repl.terminal.rest(Duration::from_millis(50));
    repl.terminal.keys(CTRL_C);
    repl.printed("Ctrl-C again leaves");
    repl.terminal.keys(CTRL_C);
    assert_eq!(repl.terminal.exit().code(), Some(0));
    assert!(repl.terminal.is_sane());
}

#[test]
fn eight_prompts_in_one_burst_are_eight_pictures_in_order() {
    let mut repl = Repl::start(4, MUTE, 100, 40);
    let burst: String = (1..=8).map(|n| format!("prompt {n} -s 2 64x64\r")).collect();
    repl.terminal.keys(&burst);
    repl.printed("#8 seed ");
    let history = repl.history();
    let places: Vec<_> = (1..=8).map(|n| history.find(&format!("\n#{n} seed ")).unwrap()).collect();
    assert!(places.is_sorted(), "{history}");
    for n in 1..=8 {
        assert_eq!(history.matches(&format!("tintype › prompt {n} ")).count(), 1, "{history}");
    }
    repl.leave();
}

#[test]
fn a_failure_and_a_panic_are_told_and_the_session_goes_on() {
    let mut repl = Repl::start(4, KITTY, 100, 30);
    repl.line("a fox, fail at 2");
    repl.printed("#1 the script said so at step 2");
    repl.line("a fox, panic at 1");
    repl.printed("#2 the engine panicked");
    repl.line("a fox -s 2");
    repl.printed("#3 seed ");
    assert!(!repl.terminal.is_cooked(), "the terminal is still ours");
    assert!(!repl.history().contains("thread 'engine'"), "the panic message went elsewhere");
    repl.leave();
}

#[test]
fn errors_show_the_place_and_the_nearest_word_and_lose_nothing() {
    let mut repl = Repl::start(4, KITTY, 100, 30);
    repl.line("a fox --stesp 20");
    repl.printed("^^^^^^^ did you mean --steps?");
    repl.terminal.keys("\x1b[A");
    repl.terminal.sees("tintype › a fox --stesp 20");
    repl.terminal.keys("\x15");
    repl.line("/galery");
    repl.printed("did you mean");
    repl.line("a fox -s 4 -o -");
    repl.printed("a terminal cannot show; name a file: -o picture.png");
    repl.line("/set steps 3");
    repl.terminal.sees("steps 3");
    repl.line("/steps 4");
    repl.terminal.sees("steps 4");
    repl.leave();
}

#[test]
fn the_full_screen_shares_prompt_and_state_and_prints_what_finished() {
    let mut repl = Repl::start(20, KITTY, 100, 30);
    repl.line("a red fox -s 10");
    repl.terminal.keys("half");
    repl.terminal.sees("tintype › half");
    repl.terminal.keys(F2);
    repl.terminal.until("the full screen", |terminal| {
        let screen = terminal.screen();
        terminal.vt().alternate_screen() && screen.contains("history") && screen.contains("tintype › half")
    });
    repl.terminal.keys(" typed -s 2");
    repl.terminal.sees("tintype › half typed -s 2");
    repl.terminal.sees("seed ");
    repl.terminal.keys(F2);
    repl.terminal.until("the scrollback", |terminal| !terminal.vt().alternate_screen());
    repl.printed("\n#1 seed ");
    repl.terminal.sees("tintype › half typed");
    repl.terminal.keys("\r");
    repl.printed("\n#2 seed ");
    repl.leave();
}

#[test]
fn help_and_gallery_lie_over_everything_and_go_away() {
    let mut repl = Repl::start(4, KITTY, 100, 30);
    for n in 1..=3 {
        repl.line(&format!("picture {n} -s 2 64x64"));
        repl.printed(&format!("\n#{n} seed "));
    }
    repl.terminal.keys(F1);
    repl.terminal.sees("search the history");
    repl.terminal.keys(ESC);
    repl.terminal.until("no help", |terminal| !terminal.vt().alternate_screen());
    repl.terminal.keys(F3);
    repl.terminal.sees("gallery  this session · 3 pictures");
    repl.terminal.keys("\x1b[C");
    repl.terminal.keys("\r");
    repl.terminal.sees("#2 picture 2");
    repl.terminal.keys("e");
    repl.terminal.sees("tintype › picture 2 -s 2 -S ");
    assert!(!repl.terminal.vt().alternate_screen());
    repl.terminal.keys("\x15");
    repl.line("/gallery");
    repl.terminal.sees("3 pictures");
    repl.terminal.keys("/picture 1\r");
    repl.terminal.sees("1 of 3 pictures");
    repl.terminal.keys("r");
    repl.terminal.keys("\x1b\x1b");
    repl.printed("\n#4 seed ");
    repl.terminal.keys("q");
    repl.terminal.until("no gallery", |terminal| !terminal.vt().alternate_screen());
    repl.leave();
}

#[test]
fn themes_are_tried_on_and_kept() {
    let mut repl = Repl::start(4, KITTY, 100, 30);
    repl.line("/theme");
    repl.terminal.sees("pressure.critical");
    repl.terminal.keys("\x1b[F\r");
    repl.terminal.until("the scrollback", |terminal| !terminal.vt().alternate_screen());
    let mark = repl.terminal.raw().len();
    repl.terminal.keys("x");
    repl.terminal.sees("tintype › x");
    let accent = "38;2;217;168;96";
    let drawn = String::from_utf8_lossy(&repl.terminal.raw()[mark..]).into_owned();
    assert!(
        repl.terminal.raw().windows(accent.len()).any(|bytes| bytes == accent.as_bytes()),
        "wet-plate: {drawn:?}"
    );
    repl.leave();
}

#[test]
fn resizing_in_the_middle_of_a_job_leaves_one_clean_panel() {
    let mut repl = Repl::start(15, KITTY, 120, 30);
    repl.line("a red fox -s 60");
    repl.terminal.sees("it/s");
    for columns in (80..120).rev().step_by(5).chain((80..=120).step_by(7)) {
        repl.terminal.resize(columns, 30);
        repl.terminal.rest(Duration::from_millis(8));
    }
    repl.printed("\n#1 seed ");
    repl.terminal.sees(READY);
    let history = repl.history();
    assert_eq!(history.matches("tintype › a red fox").count(), 1, "{history}");
    assert_eq!(history.matches("#1 seed").count(), 1, "{history}");
    assert!(!history.contains("it/s"), "{history}");
    repl.leave();
}

#[test]
fn orders_to_end_and_a_closed_window_end_it_while_a_job_runs() {
    for full in [false, true] {
        for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
            let mut repl = Repl::start(50, KITTY, 80, 24);
            repl.line("a red fox -s 500");
            repl.terminal.sees("it/s");
            if full {
                repl.terminal.keys(F2);
                repl.terminal.until("the full screen", |terminal| terminal.vt().alternate_screen());
            }
            repl.terminal.signal(signal);
            assert_eq!(repl.terminal.exit().code(), Some(code), "{signal} {full}");
            assert!(repl.terminal.is_sane(), "{signal} {full}");
        }
        let mut repl = Repl::start(50, KITTY, 80, 24);
        repl.line("a red fox -s 500");
        repl.terminal.sees("it/s");
        if full {
            repl.terminal.keys(F2);
            repl.terminal.rest(Duration::from_millis(100));
        }
        let closed = std::time::Instant::now();
        repl.terminal.hang_up();
        assert!(!repl.terminal.exit().success());
        assert!(closed.elapsed() < Duration::from_secs(3), "it does not spin");
    }
}

#[test]
fn a_shell_can_stop_and_continue_it_in_the_middle_of_a_job() {
    let home = tempfile::tempdir().unwrap();
    let script = format!(
        "set -m; '{}' --fake=20 & pid=$!; fg >/dev/null; echo \"[stopped]\"; read go; fg >/dev/null",
        env!("CARGO_BIN_EXE_tintype")
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).env("TINTYPE_HOME", home.path());
    let mut terminal = FakeTerminal::start(command, KITTY, 80, 24);
    terminal.sees("tintype ›");
    terminal.keys("a red fox -s 40\r");
    terminal.sees("it/s");
    terminal.keys("half\x1a");
    terminal.sees("[stopped]");
    assert!(terminal.is_sane(), "the shell has its terminal back");
    terminal.keys("\r");
    terminal.sees("tintype › half");
    terminal.until("the picture", |terminal| terminal.screen().contains("#1 seed "));
    terminal.keys("\x15\x04");
    terminal.exit();
    assert!(terminal.is_sane());
}

#[test]
fn windows_too_small_for_anything_do_no_harm() {
    for (columns, rows) in [(1, 1), (2, 2), (5, 1), (9, 3), (12, 3), (39, 4), (300, 1)] {
        let mut repl = Repl::start(3, KITTY, columns, rows);
        repl.terminal.rest(Duration::from_millis(150));
        repl.line("a fox -s 3 64x64");
        repl.terminal.rest(Duration::from_millis(60));
        repl.terminal.keys(F2);
        repl.terminal.rest(Duration::from_millis(30));
        repl.terminal.resize(1, 1);
        repl.terminal.rest(Duration::from_millis(30));
        repl.terminal.keys(F2);
        repl.terminal.resize(60, 20);
        repl.terminal.sees("tintype");
        repl.leave();
    }
}

#[test]
fn slow_and_mute_terminals_get_a_prompt_too() {
    for profile in [SLOW, MUTE] {
        let mut repl = Repl::start(3, profile, 80, 24);
        repl.line("a fox -s 2 64x64");
        repl.printed("#1 seed ");
        repl.terminal.rest(Duration::from_millis(300));
        repl.terminal.keys("x");
        repl.terminal.sees("tintype › x");
        repl.leave();
    }
}

/// kitty on white.
const KITTY_LIGHT: Profile = Profile {
    answers: &[
        ("\x1b[>q", "\x1bP>|kitty(0.41.1)\x1b\\"),
        ("\x1b]11;?\x1b\\", "\x1b]11;rgb:ffff/ffff/ffff\x1b\\"),
        ("\x1b[16t", "\x1b[6;18;9t"),
        ("\x1b[c", "\x1b[?62;52;c"),
    ],
    ..KITTY
};

#[test]
fn the_terminals_background_chooses_the_theme() {
    let colour = |theme: &str| {
        let style = Theme::load(theme, None).unwrap().style(Role::Prompt);
        let Some(Color::Rgb(r, g, b)) = style.fg else { panic!("{theme}: {style:?}") };
        format!("38;2;{r};{g};{b}m")
    };
    let (dark, light) = (colour("nord"), colour("albumen"));
    assert_ne!(dark, light);
    for (profile, ours, other) in [(KITTY, &dark, &light), (KITTY_LIGHT, &light, &dark)] {
        let theme = [("TINTYPE_THEME", "{ dark = \"nord\", light = \"albumen\" }")];
        let mut repl = Repl::start_with(&["--fake=3"], &theme, profile, 80, 24);
        repl.line("a fox -s 2 64x64");
        repl.printed("#1 seed ");
        let raw = String::from_utf8_lossy(repl.terminal.raw()).into_owned();
        assert!(raw.contains(ours.as_str()), "{ours} in {raw:?}");
        assert!(!raw.contains(other.as_str()), "{other} in {raw:?}");
        repl.leave();
    }
}

#[test]
fn no_color_means_no_colour_at_all() {
    let mut repl = Repl::start_with(&["--fake=3"], &[("NO_COLOR", "1")], MUTE, 80, 24);
    repl.line("a fox -s 3 --stesp");
    repl.line("a fox -s 3");
    repl.printed("#1 seed ");
    repl.terminal.keys(F2);
    repl.terminal.sees("history");
    repl.terminal.keys(F2);
    repl.terminal.sees("tintype ›");
    let text = String::from_utf8_lossy(repl.terminal.raw()).into_owned();
    for sequence in text.split("\x1b[").skip(1) {
        let Some((parameters, _)) =
            sequence.split_once('m').filter(|(p, _)| p.chars().all(|c| c.is_ascii_digit() || c == ';'))
        else {
            continue;
        };
        let colour = parameters.split(';').filter_map(|p| p.parse::<u32>().ok()).find(|p| *p >= 30);
        assert_eq!(colour, None, "SGR {parameters}");
    }
    repl.leave();
}

#[test]
fn tokens_are_counted_as_the_model_reads_them() {
    let mut repl = Repl::start(3, KITTY, 80, 24);
    repl.terminal.keys("red red red");
    repl.terminal.sees("5/77 tokens");
    repl.terminal.keys(" (red:1.2) -s 4");
    repl.terminal.sees("6/77 tokens");
    repl.terminal.keys("\x15");
    repl.terminal.sees(READY);
    let mark = repl.terminal.raw().len();
    repl.terminal.keys(&"red ".repeat(75));
    repl.terminal.sees("77/77 tokens");
    assert!(!repl.terminal.screen().contains("cut"));
    repl.terminal.keys("unread");
    repl.terminal.sees("tokens, the rest is cut");
    let drawn = String::from_utf8_lossy(&repl.terminal.raw()[mark..]).into_owned();
    assert!(drawn.contains("\x1b[0;2;3m"), "dim and italic: {drawn:?}");
    repl.terminal.keys("\x15");
    repl.line("/model nobody/nothing");
    repl.terminal.keys("a fox");
    repl.terminal.sees("tintype › a fox");
    repl.terminal.until("no count without a tokenizer", |terminal| !terminal.screen().contains("tokens"));
    repl.terminal.keys("\x15");
    repl.line("/model embedded");
    repl.terminal.keys("red red");
    repl.terminal.sees("4/77 tokens");
    repl.leave();
}

#[test]
fn the_doctor_looks_at_terminal_and_device_while_one_types() {
    let mut repl = Repl::start(3, KITTY, 100, 30);
    repl.line("/doctor");
    repl.terminal.sees("testing the device");
    repl.terminal.keys("typed meanwhile");
    repl.terminal.sees("tintype › typed meanwhile");
    // in a development build, on a machine with other things to do
    repl.printed_within(Duration::from_mins(2), "attention slicing");
    let history = repl.history();
    for row in ["kitty(0.41.1)", "9×18 pixels", "ops, against plain loops"] {
        assert!(history.contains(row), "{row} in\n{history}");
    }
    repl.terminal.sees("tintype › typed meanwhile");
    repl.leave();
}

#[test]
fn idle_costs_nothing_before_and_after_a_job() {
    let mut repl = Repl::start(3, KITTY, 80, 24);
    for round in 0..2 {
        repl.terminal.rest(Duration::from_millis(400));
        let (bytes, time) = (repl.terminal.raw().len(), repl.terminal.cpu_time());
        repl.terminal.rest(Duration::from_secs(1));
        assert_eq!(repl.terminal.raw().len(), bytes, "nothing is written, round {round}");
        assert_eq!(repl.terminal.cpu_time(), time, "no processor time is used, round {round}");
        repl.line("a fox -s 2 64x64");
        repl.printed("#1 seed ");
        repl.terminal.sees(READY);
    }
    repl.leave();
}

#[test]
fn the_history_is_there_the_next_time() {
    let mut repl = Repl::start(3, KITTY, 80, 24);
    repl.line("an old prompt -s 2 64x64");
    repl.printed("#1 seed ");
    repl.terminal.keys(CTRL_D);
    assert_eq!(repl.terminal.exit().code(), Some(0));
    let mut again = FakeTerminal::start(command(repl.home.path(), &["--fake=3"]), KITTY, 80, 24);
    again.sees("tintype ›");
    again.keys("\x12old");
    again.sees("reverse-i-search");
    again.sees("an old prompt");
    again.keys("\x03\x03");
    again.rest(Duration::from_millis(100));
    again.keys(CTRL_D);
    again.exit();
}

fn piped(arguments: &[&str], input: &str) -> (TempDir, Output) {
    let home = tempfile::tempdir().unwrap();
    let output = piped_at(&home, arguments, input);
    (home, output)
}

/// With a home that may have something in it.
pub fn piped_at(home: &TempDir, arguments: &[&str], input: &str) -> Output {
    let mut command = command(home.path(), arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn the_history_is_filtered_as_one_types_enter_runs_and_tab_edits() {
    let mut repl = Repl::start(4, KITTY, 100, 30);
    for (n, prompt) in [(1, "a red fox -s 2 64x64 -S 7"), (2, "a dog -s 3 64x64 -S 8")] {
        repl.line(prompt);
        repl.printed(&format!("\n#{n} seed "));
    }
    repl.terminal.keys(F4);
    repl.terminal.sees("history · this session");
    repl.terminal.keys("fox steps<3");
    repl.terminal.sees("1 of 2");
    repl.terminal.keys("\t");
    repl.terminal.sees("tintype › a red fox -s 2 -S 7 64x64");
    repl.terminal.keys("\x15");
    repl.terminal.keys(F4);
    repl.terminal.sees("history · this session");
    repl.terminal.keys("seed:8\r");
    repl.printed("\n#3 seed 8");
    repl.terminal.keys(F4);
    repl.terminal.sees("history · this session");
    repl.terminal.keys(ESC);
    repl.terminal.until("the prompt", |terminal| !terminal.vt().alternate_screen());
    repl.line("/rate $1 4");
    repl.line("/note $1 the good one");
    repl.line("/history rating>=3 after:yesterday");
    repl.printed("a red fox · seed 7 · 2 × dpmpp_2m · cfg 7 · 64×64 · ★★★★ · the good one");
    repl.leave();
}

#[test]
fn a_pipe_takes_a_prompt_a_line_and_gives_a_path_a_line() {
    let (home, output) = piped(
        &["--fake=1"],
        "a fox -s 2 64x64\n\n# a note\na cat \\\nin snow -s 2 64x64\n/set steps 3\n+ rain\n",
    );
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).unwrap();
    let paths: Vec<&Path> = paths.lines().map(Path::new).collect();
    assert_eq!(paths.len(), 3);
    for path in paths {
        assert!(path.starts_with(home.path()) && path.is_file(), "{}", path.display());
    }
}

#[test]
fn a_pipe_gives_json_and_fails_when_any_line_does() {
    let (_home, output) = piped(
        &["--fake=1", "--json"],
        "a fox -s 2 -S 7 64x64\na fox, fail at 1\na cat --stesp 2\na cat -s 2 64x64\n",
    );
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "the lines after a failure are done");
    assert_eq!((&lines[0]["seed"], &lines[0]["steps"]), (&7.into(), &2.into()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the script said so") && said.contains("did you mean --steps?"), "{said}");
    assert!(!said.contains('\x1b'), "no escape sequences where no terminal is");
}

#[test]
fn plainly_a_line_is_done_before_the_next_is_read() {
    for (arguments, env) in
        [(&["--fake=3", "--plain"][..], &[][..]), (&["--fake=3"][..], &[("TERM", "dumb")][..])]
    {
        let home = tempfile::tempdir().unwrap();
        let mut command = command(home.path(), arguments);
        command.envs(env.iter().copied());
        let mut terminal = FakeTerminal::start(command, MUTE, 80, 24);
        terminal.sees("tintype >");
        terminal.keys("a fox -s 2 64x64\r");
        terminal.sees("0001-a-fox-");
        terminal.keys("a fox --stesp 2\r");
        terminal.sees("did you mean --steps?");
        terminal.keys("/quit\r");
        assert_eq!(terminal.exit().code(), Some(0));
        assert!(terminal.is_sane());
    }
}

#[test]
fn a_pipe_writes_one_picture_to_standard_output() {
    let (_home, output) = piped(&["--fake=1"], "/set steps 2\na fox 128x64 -o -\n");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let picture = image::load_from_memory(&output.stdout).unwrap();
    assert_eq!((picture.width(), picture.height()), (128, 64));
    let end = b"IEND\xaeB`\x82";
    assert!(output.stdout.ends_with(end), "nothing follows it");

    let clear = [
        ("a fox 128x64 -o -\na cat 128x64\n", "nothing can follow it"),
        ("a fox 128x64 -o -\na cat 128x64 -o -\n", "nothing can follow it"),
        ("a fox 128x64\na cat 128x64 -o -\n", "must be the only picture of the pipe"),
        ("a {fox|cat} 128x64 -o -\n", "holds one picture"),
    ];
    for (input, why) in clear {
        let (_home, output) = piped(&["--fake=1"], input);
        assert_eq!(output.status.code(), Some(1), "{input}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.matches(why).count(), 1, "{input}: {said}");
        let pictures = output.stdout.windows(end.len()).filter(|bytes| bytes == end).count();
        assert!(pictures == usize::from(input.starts_with("a fox 128x64 -o -")), "{input}");
    }
}

#[test]
fn a_sheet_lies_beside_its_pictures_also_without_a_panel() {
    let (home, output) = piped(&["--fake=1"], "a {red|blue} fox -s 1 128x64\na fox -s 1 -n 2 64x64\n");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).unwrap();
    let paths: Vec<&Path> = paths.lines().map(Path::new).collect();
    assert_eq!(paths.len(), 4, "pictures alone");
    let said = String::from_utf8(output.stderr).unwrap();
    let sheets: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("contact sheet: ")).collect();
    let [sheet] = sheets[..] else { panic!("one sheet: {said}") };
    assert_eq!(Path::new(sheet).parent(), paths[0].parent());
    assert!(image::image_dimensions(sheet).unwrap().0 >= 2 * 128);
    assert_eq!(files(&home.path().join("pictures")).len(), 5);

    let mut command =
        command(home.path(), &["--fake=1", "generate", "a fox", "-s", "1", "-n", "3", "-g", "-o"]);
    let output = command.arg(home.path().join("out/")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        home.path().join("out").join("contact-sheet.png").is_file() || {
            let made = files(&home.path().join("out"));
            made.iter().filter(|file| file.ends_with("contact-sheet.png")).count() == 1 && made.len() == 4
        }
    );
}
