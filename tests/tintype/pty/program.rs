//! The terminal code as a program lives it: typing, leaving, crashing, stopping, resizing.

use std::process::Command;
use std::time::{Duration, Instant};

use super::child;
use super::fake_terminal::{FakeTerminal, KITTY, MUTE, PROFILES, Profile, SIXEL, SLOW};

fn start(profile: Profile, columns: u16, rows: u16) -> FakeTerminal {
    start_with(profile, columns, rows, &[])
}

fn start_with(profile: Profile, columns: u16, rows: u16, env: &[(&str, &str)]) -> FakeTerminal {
    let mut command = child::command();
    command.envs(env.iter().copied());
    let mut terminal = FakeTerminal::start(command, profile, columns, rows);
    if rows > 1 && columns >= 60 {
        terminal.sees("0 lines");
        terminal.sees("\n>");
    }
    terminal
}

fn temporary_path(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name).to_string_lossy().into_owned();
    (folder, path)
}

#[test]
fn every_terminal_is_recognized() {
    for (profile, expected) in PROFILES.iter().zip([
        "[kitty 9x18 dark sync]",
        "[iterm2 8x17 light sync]",
        "[sixel 8x15 dark tearing]",
        "[placeholder 16x32 dark tearing]",
        "[half-blocks 9x18 dark tearing]",
        "[half-blocks 9x18 dark tearing]",
    ]) {
        let mut terminal = start(*profile, 80, 24);
        // a slow kitty is taken for a terminal that is mute; its colours are in the environment
        terminal.sees(expected);
    }
}

#[test]
fn what_is_typed_while_the_terminal_is_asked_is_not_lost() {
    for profile in [KITTY, MUTE] {
        let mut command = child::command();
        command.env("START_DELAY", "200");
        let mut terminal = FakeTerminal::start(command, profile, 80, 24);
        terminal.keys("typed ahead");
        terminal.sees("> typed ahead");
    }
}

#[test]
fn late_answers_are_not_typed_into_the_prompt() {
    let mut terminal = start(SLOW, 80, 24);
    terminal.keys("before");
    terminal.sees("> before");
    terminal.rest(SLOW.delay + Duration::from_millis(300));
    terminal.keys(" after\r");
    terminal.sees(r#"got "before after""#);
}

#[test]
fn lines_are_edited_by_rustyline() {
    let mut terminal = start(KITTY, 80, 24);
    terminal.keys("a fox\x01red \x05es\r");
    terminal.sees(r#"got "red a foxes""#);
    terminal.keys("wat\t\t");
    terminal.sees("waterfall");
    terminal.keys("\x15two\x1b\rlines\r");
    terminal.sees(r#"got "two\nlines""#);
    terminal.keys("continued\\\rhere\r");
    terminal.sees(r#"got "continued\\\nhere""#);
    terminal.keys("日本語 👩‍💻\x1b[D\x1b[D!\r");
    terminal.sees("日本語!");
    terminal.keys("\x04");
    assert_eq!(terminal.exit().code(), Some(0));
}

#[test]
fn vi_keys_work_with_a_lone_escape() {
    let mut terminal = start_with(KITTY, 80, 24, &[("VI", "1")]);
    terminal.keys("a fox");
    terminal.sees("> a fox");
    terminal.keys("\x1b");
    terminal.rest(Duration::from_millis(100));
    terminal.keys("0xx");
    terminal.sees("> fox");
    terminal.keys("ired \r");
    terminal.sees(r#"got "red fox""#);
}

#[test]
fn the_panel_moves_while_the_history_is_searched() {
    let mut terminal = start(KITTY, 80, 24);
    terminal.keys("an old prompt\r");
    terminal.sees(r#"got "an old prompt""#);
    terminal.keys("tick\r");
    terminal.keys("\x12old");
    terminal.sees("reverse-i-search");
    terminal.until("ticks beside the search", |terminal| {
        let screen = terminal.screen();
        screen.contains("an old prompt")
            && screen.contains("reverse-i-search")
            && screen.contains("100 ticks")
    });
    terminal.keys("\r");
    terminal
        .until("the prompt found again", |terminal| terminal.screen().matches("an old prompt").count() >= 2);
}

#[test]
fn eight_lines_in_one_burst_are_eight_lines() {
    let mut terminal = start(KITTY, 80, 40);
    let burst: Vec<String> = (1..=8).map(|n| format!("prompt {n}\r")).collect();
    terminal.keys(&burst.concat());
    terminal.sees("8 lines");
    let screen = terminal.screen();
    let places: Vec<_> =
        (1..=8).map(|n| screen.find(&format!(r#"got "prompt {n}""#)).expect("there")).collect();
    assert!(places.is_sorted(), "in order");
}

#[test]
fn a_long_paste_arrives_whole() {
    let (_folder, history) = temporary_path("history");
    let mut terminal = start_with(KITTY, 80, 24, &[("HISTORY", &history)]);
    let text: String = (0..20_000_u32).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    terminal.paste(&text);
    terminal.sees(&text[text.len() - 60..]);
    // its first line can be edited: it is not the terminal's scrollback but the prompt's
    terminal.keys("\x01START ");
    terminal.sees("> START abcdef");
    terminal.keys("\r");
    terminal.sees("1 lines");
    let written = std::fs::read_to_string(&history).expect("a history");
    assert!(written.lines().any(|line| line == format!("START {text}")));
}

#[test]
fn text_can_be_put_into_the_prompt() {
    let mut terminal = start(KITTY, 80, 24);
    terminal.keys("edit\r");
    terminal.sees("> typed for you");
    terminal.keys("\r");
    terminal.sees(r#"got "typed for you""#);
    terminal.keys("\x15replace\r");
    terminal.sees("> replaced text");
}

#[test]
fn ctrl_c_says_what_it_threw_away() {
    let mut terminal = start(KITTY, 80, 24);
    terminal.keys("half a prom");
    terminal.sees("half a prom");
    terminal.keys("\x03");
    terminal.sees(r#"interrupted "half a prom""#);
    terminal.keys("\x03");
    terminal.sees(r#"interrupted """#);
}

#[test]
fn the_full_screen_shares_the_half_typed_prompt() {
    let mut terminal = start(KITTY, 80, 24);
    terminal.keys("one\r");
    terminal.sees(r#"got "one""#);
    terminal.keys("half");
    terminal.sees("> half");
    terminal.keys("\x1bOQ");
    terminal.until("the alternate screen", |terminal| {
        terminal.vt().alternate_screen() && terminal.screen().contains("> half")
    });
    terminal.keys(" typed\r");
    terminal.sees("2 lines");
    terminal.keys("\x1bOQ");
    terminal.until("the normal screen", |terminal| !terminal.vt().alternate_screen());
    terminal.sees(r#"got "half typed""#);
    assert!(terminal.screen().contains(r#"got "one""#), "what was there before is back");
}

#[test]
fn the_normal_screen_is_never_cleared_nor_addressed() {
    let mut terminal = start(KITTY, 80, 24);
    let mark = terminal.raw().len();
    terminal.keys("tick\r");
    for columns in [60, 120, 40, 80] {
        terminal.resize(columns, 24);
        terminal.rest(Duration::from_millis(30));
    }
    terminal.keys("picture 16\rpreviews\rno preview\r");
    terminal.sees("4 lines");
    let text = String::from_utf8_lossy(&terminal.raw()[mark..]).into_owned();
    for sequence in text.split("\x1b[").skip(1) {
        let last = sequence.chars().find(|c| ('@'..='~').contains(c)).expect("a final byte");
        assert!("ABCKmhl".contains(last), "CSI {:?}", sequence.chars().take(10).collect::<String>());
    }
}

#[test]
fn scrollback_keeps_every_line_once() {
    let mut terminal = start(KITTY, 80, 10);
    for n in 1..=30 {
        terminal.keys(&format!("line {n}\r"));
        terminal.sees(&format!("{n} lines"));
    }
    let history = terminal.history().join("\n");
    for n in 1..=30 {
        assert_eq!(history.matches(&format!("got \"line {n}\"")).count(), 1, "line {n} in\n{history}");
    }
    assert_eq!(history.matches("lines,").count(), 1, "one panel in\n{history}");
}

#[test]
fn every_order_to_end_leaves_a_sane_terminal() {
    for (signal, code) in
        [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGQUIT, 131), (libc::SIGHUP, 129)]
    {
        for full in [false, true] {
            let mut terminal = start(KITTY, 80, 24);
            if full {
                terminal.keys("\x1bOQ");
                terminal.until("the alternate screen", |terminal| terminal.vt().alternate_screen());
            }
            assert!(!terminal.is_cooked());
            terminal.signal(signal);
            assert_eq!(terminal.exit().code(), Some(code), "signal {signal}, full screen {full}");
            assert!(terminal.is_sane(), "signal {signal}, full screen {full}");
            assert!(!terminal.screen().contains("lines,"), "the region is gone");
        }
    }
}

#[test]
fn a_panic_restores_the_terminal_and_is_readable_below_the_region() {
    let (_folder, log) = temporary_path("log");
    let mut terminal = start_with(KITTY, 80, 24, &[("LOG", &log)]);
    terminal.keys("panic\r");
    assert_eq!(terminal.exit().code(), Some(101));
    assert!(terminal.is_sane());
    let screen = terminal.screen();
    let (panel, message) = (screen.find("0 lines"), screen.find("asked to panic"));
    assert!(panel.is_some() && panel < message, "{screen}");
}

#[test]
fn a_panic_of_another_thread_does_not_take_the_terminal_away() {
    let (_folder, log) = temporary_path("log");
    let mut terminal = start_with(KITTY, 80, 24, &[("LOG", &log)]);
    terminal.keys("thread panic\r");
    terminal.sees("thread worker panicked");
    terminal.keys("stderr\r");
    terminal.sees(r#"got "stderr""#);
    assert!(!terminal.is_cooked() && !terminal.screen().contains("fell over"));
    terminal.keys("quit\r");
    assert_eq!(terminal.exit().code(), Some(0));
    assert!(!terminal.screen().contains("driver's message"));
    let log = std::fs::read_to_string(&log).expect("a log");
    assert!(log.contains("the worker fell over") && log.contains("a driver's message"), "{log}");
}

#[test]
fn a_closed_window_ends_the_program() {
    let mut terminal = start(KITTY, 80, 24);
    let closed = Instant::now();
    terminal.hang_up();
    assert!(!terminal.exit().success());
    assert!(closed.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_shell_can_stop_and_continue_it() {
    for key in [true, false] {
        let mut command = Command::new("sh");
        let child = child::command();
        let arguments: Vec<_> = child.get_args().map(|argument| argument.to_string_lossy()).collect();
        let program = format!("'{}' {}", child.get_program().to_string_lossy(), arguments.join(" "));
        let script = format!(
            "set -m; {program} & pid=$!; fg >/dev/null; echo \"[stopped $?]\"; read go; fg >/dev/null"
        );
        command.args(["-c", &script]).envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut terminal = FakeTerminal::start(command, KITTY, 80, 24);
        terminal.sees("0 lines");
        terminal.keys("half");
        terminal.sees("> half");
        if key {
            terminal.keys("\x1a");
        } else {
            terminal.signal_program(libc::SIGTSTP);
        }
        terminal.sees("[stopped");
        assert!(terminal.is_sane(), "a shell has its terminal back");
        assert!(!terminal.screen().contains("> half"), "the region is erased");
        terminal.resize(100, 24);
        terminal.keys("\r");
        terminal.sees("> half");
        assert!(!terminal.is_cooked());
        terminal.keys(" typed\r");
        terminal.sees(r#"got "half typed""#);
        terminal.keys("quit\r");
        terminal.exit();
        assert!(terminal.is_sane());
    }
}

#[test]
fn tiny_windows_do_no_harm() {
    for (columns, rows) in [(1, 1), (2, 2), (5, 1), (12, 3), (20, 2), (300, 1)] {
        let mut terminal = start(KITTY, columns, rows);
        terminal.rest(Duration::from_millis(100));
        terminal.keys("ab\r");
        terminal.rest(Duration::from_millis(50));
        terminal.resize(1, 1);
        terminal.rest(Duration::from_millis(50));
        terminal.resize(columns, rows);
        terminal.keys("quit\r");
        assert_eq!(terminal.exit().code(), Some(0), "{columns}×{rows}");
        assert!(terminal.is_sane(), "{columns}×{rows}");
    }
}

#[test]
fn a_storm_of_resizes_ends_in_one_clean_region() {
    for profile in [KITTY, SIXEL] {
        let mut terminal = start(profile, 120, 24);
        terminal.keys("the prompt");
        terminal.sees("> the prompt");
        // the panel's row is 44 columns: what is drawn too late must not be cut by a terminal without wrapping
        for columns in (48..120).rev().step_by(7).chain((48..=120).step_by(9)) {
            terminal.resize(columns, 24);
            terminal.rest(Duration::from_millis(4));
        }
        terminal.resize(100, 24);
        terminal.keys(" typed\r");
        terminal.sees(r#"got "the prompt typed""#);
        terminal.until("one panel", |terminal| terminal.screen().matches("lines,").count() == 1);
    }
}

#[test]
fn the_real_program_finds_its_terminal() {
    let mut terminal = FakeTerminal::tintype(&["--version"], KITTY, 80, 24);
    assert_eq!(terminal.exit().code(), Some(0));
    assert!(terminal.screen().starts_with("tintype ") && terminal.is_sane(), "{}", terminal.screen());
}

#[test]
fn idle_costs_nothing() {
    let mut terminal = start(KITTY, 80, 24);
    terminal.rest(Duration::from_millis(300));
    let (bytes, time) = (terminal.raw().len(), terminal.cpu_time());
    terminal.rest(Duration::from_secs(1));
    assert_eq!(terminal.raw().len(), bytes, "nothing is written");
    assert_eq!(terminal.cpu_time(), time, "no processor time is used");
}
