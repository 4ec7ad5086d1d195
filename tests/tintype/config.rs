//! `config.toml` under the environment under switches, through every way in.

use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;

use crate::pty::fake_terminal::{FakeTerminal, KITTY, MUTE};
use crate::repl::{Repl, command, piped_at};

/// A home with this configuration.
fn home(config: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), config).unwrap();
    home
}

fn generate(home: &TempDir, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = command(home.path(), &["--fake=1", "generate", "a fox", "--json"]);
    command.args(arguments).envs(env.iter().copied()).output().unwrap()
}

fn steps(output: &Output) -> (serde_json::Value, String) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect(&stderr);
    (line["steps"].clone(), stderr)
}

#[test]
fn defaults_hold_for_a_line_that_does_not_say_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("output_dir = {:?}\n[defaults]\nsteps = 3\nsize = \"64x128\"\n", folder.path());
    let home = home(&config);
    let out = home.path().join("elsewhere");
    let env = [("TINTYPE_OUTPUT_DIR", out.to_str().unwrap())];
    assert_eq!(steps(&generate(&home, &[], &env)), (3.into(), String::new()));
    let said = generate(&home, &["-s", "5"], &env);
    assert_eq!(steps(&said), (5.into(), String::new()));
    let line: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    let path = std::path::PathBuf::from(line["path"].as_str().unwrap());
    assert!(path.starts_with(&out) && path.is_file(), "the variable wins over the file: {}", path.display());
    assert_eq!(image::image_dimensions(path).unwrap(), (64, 128));
    let piped = piped_at(&home, &["--fake=1", "--json"], "a cat\n");
    assert_eq!(steps(&piped).0, 3);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the file names the folder");
}

#[test]
fn a_broken_file_is_one_line_and_the_defaults_hold() {
    for (config, says) in [
        (
            "model = \"m\"\nthmee = \"nord\"\n",
            "config.toml:2: thmee: there is no setting `thmee`; did you mean `theme`?",
        ),
        ("[defaults]\nsteps = 0\n", "config.toml:2: steps: steps goes from 1 to 1000, not `0`"),
        ("[defaults]\n\nstesp = 9\n", "config.toml:3: stesp: there is no default `stesp`"),
        ("model = \"m\"\nfile_name = \"{sede}\"\n", "config.toml:2: file_name: "),
        ("steps = = 3\n", "config.toml:1: steps: "),
    ] {
        let home = home(config);
        let (steps, stderr) = steps(&generate(&home, &[], &[]));
        assert_eq!((steps, stderr.lines().count()), (20.into(), 1), "{stderr}");
        assert!(stderr.contains(says), "{stderr}");

        let mut terminal = FakeTerminal::start(command(home.path(), &["--fake=1"]), KITTY, 120, 30);
        terminal.sees("tintype ›");
        let screen = terminal.screen().replace('\n', " ");
        let place = &says[..says.len().min(40)];
        assert!(screen.contains(place), "{screen}");
        terminal.keys("a fox -s 2\r");
        terminal.sees("#1 seed ");
        terminal.keys("\x04");
        assert_eq!(terminal.exit().code(), Some(0));
    }
}

#[test]
fn the_prompt_is_as_the_configuration_has_it() {
    let config = "images = \"none\"\nedit_mode = \"vi\"\nconfirm_above = 2\n\
                  theme = { dark = \"wet-plate\", light = \"albumen\" }\n[defaults]\nsteps = 2\n";
    let mut repl = Repl::start_at(home(config), &["--fake=1"], &[], KITTY, 100, 30);
    repl.terminal.sees("steps 2");
    // a word back and a letter in, as vi has it
    repl.terminal.keys("a red fix\x1b");
    repl.terminal.rest(Duration::from_millis(700));
    repl.terminal.keys("hxio\x1b");
    repl.terminal.sees("tintype › a red fox");
    repl.terminal.rest(Duration::from_millis(700));
    repl.terminal.keys("\r");
    repl.printed("#1 seed ");
    assert!(repl.terminal.pictures(0).is_empty(), "images = none");
    let wet_plate = b"38;2;217;168;96";
    assert!(repl.terminal.raw().windows(wet_plate.len()).any(|bytes| bytes == wet_plate));
    repl.line("a {red|green|blue} fox");
    repl.printed("3 pictures");
    repl.line("n");
    repl.printed("not made");
    repl.terminal.keys("\x1b\x04\x04");
    repl.terminal.keys("i/quit\r");
    assert_eq!(repl.terminal.exit().code(), Some(0));
}

#[test]
fn switches_win_over_the_configuration_at_the_prompt() {
    let config = "images = \"none\"\ntheme = \"wet-plate\"\n";
    let arguments = ["--fake=1", "--images", "kitty", "--theme", "ansi"];
    let mut repl = Repl::start_at(home(config), &arguments, &[], KITTY, 100, 30);
    repl.line("a fox -s 2");
    repl.printed("#1 seed ");
    assert!(!repl.terminal.pictures(0).is_empty());
    assert!(!repl.terminal.raw().windows(5).any(|bytes| bytes == b"38;2;"), "ansi has 16 colours");
    repl.leave();
}

#[test]
fn plainly_the_configuration_holds_too() {
    let home = home("thmee = 1\n");
    let mut terminal = FakeTerminal::start(command(home.path(), &["--fake=1", "--plain"]), MUTE, 120, 24);
    terminal.sees("did you mean `theme`?");
    terminal.sees("tintype >");
    terminal.keys("/quit\r");
    assert_eq!(terminal.exit().code(), Some(0));
}
