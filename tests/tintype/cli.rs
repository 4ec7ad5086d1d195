//! `tintype generate` from outside: what it writes, what it says, and its exit codes.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn tintype(home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
    command.env("TINTYPE_HOME", home).env("HF_HUB_OFFLINE", "1").env_remove("HF_HOME").stdin(Stdio::null());
    command
}

fn generate(args: &[&str]) -> (tempfile::TempDir, Output) {
    let home = tempfile::tempdir().unwrap();
    let output = tintype(home.path()).current_dir(home.path()).arg("generate").args(args).output().unwrap();
    (home, output)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_picture_is_written_and_told_of_in_json() {
    let args = ["a red circle", "-S", "7", "-s", "2", "64x96", "-o", "out.png", "--json", "--device", "cpu"];
    let (home, output) = generate(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["path"], "out.png");
    assert_eq!((&line["seed"], &line["steps"]), (&7.into(), &2.into()));
    assert_eq!(line["scheduler"], "ddim");
    assert_eq!(line["seconds"]["steps"].as_array().unwrap().len(), 2);
    assert!(line["peak_memory"].as_u64().unwrap() > 1 << 20);
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(std::fs::File::open(home.path().join("out.png")).unwrap()))
            .read_info()
            .unwrap();
    assert_eq!((reader.info().width, reader.info().height), (64, 96));
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert!(pixels.iter().any(|byte| *byte != pixels[0]), "the picture is not of one colour");
    assert!(output.stderr.is_empty(), "no progress without a terminal: {}", stderr(&output));
}

#[test]
fn a_png_goes_to_standard_output_and_nothing_else_does() {
    let (_home, output) = generate(&["a fox", "-s", "1", "64x64", "-o", "-"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(output.stdout.starts_with(b"\x89PNG\r\n\x1a\n"));
    assert!(output.stdout.ends_with(b"IEND\xaeB\x60\x82"));
}

#[test]
fn several_pictures_are_made_one_after_another_with_the_next_seeds() {
    let args = ["a fox", "-s", "1", "64x64", "-S", "5", "--num-images", "3", "-o", "fox.png", "--json"];
    let (home, output) = generate(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let seeds: Vec<_> = lines.iter().map(|line| line["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [5, 6, 7]);
    let hashes: std::collections::BTreeSet<_> =
        lines.iter().map(|line| line["pixels_sha256"].to_string()).collect();
    assert_eq!(hashes.len(), 3);
    for line in &lines {
        assert!(home.path().join(line["path"].as_str().unwrap()).is_file());
    }
    // The second picture of a request is the picture of its own seed.
    let (_home, alone) = generate(&["a fox", "-s", "1", "64x64", "-S", "6", "-o", "fox.png", "--json"]);
    let alone: Value = serde_json::from_slice(&alone.stdout).unwrap();
    assert_eq!(alone["pixels_sha256"], lines[1]["pixels_sha256"]);
}

#[test]
fn what_cannot_be_done_is_one_line_and_exit_code_2() {
    for (args, says) in [
        (&[""][..], "the prompt is empty"),
        (&["a fox", "-s", "0"], "steps"),
        (&["a fox", "-C", "NaN"], "guidance"),
        (&["a fox", "130x128"], "multiples of 4"),
        (&["a fox", "--stpes", "4"], "--steps"),
        (&["a fox", "-A", "eular"], "euler"),
        (&["a fox", "-o", "/no/such/folder/fox.png"], "/no/such/folder/fox.png"),
        (&["a fox", "-m", "nobody/nothing"], "nobody/nothing"),
        (&["a fox", "-m", "./nothing"], "nothing"),
        (&["a fox", "--device", "tpu"], "tpu"),
        (&["a fox", "-I", "no-such.png"], "no-such.png"),
        (&["a fox", "-o", "-", "--num-images", "2"], "-o picture.png"),
    ] {
        let (_home, output) = generate(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
#[cfg(unix)]
fn an_interrupt_stops_after_the_step_in_hand_with_130() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("never.png");
    let child = tintype(home.path())
        .args(["generate", "a fox", "-s", "500", "128x128", "-o"])
        .arg(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(!out.exists());
    assert_eq!(
        std::fs::read_dir(home.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "part"))
            .count(),
        0
    );
}

#[test]
fn the_models_that_are_here_are_listed() {
    let home = tempfile::tempdir().unwrap();
    let output = tintype(home.path()).arg("models").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("embedded") && text.contains("astronaut"), "{text}");
}

#[test]
fn help_lists_every_switch_and_option() {
    let (_home, output) = generate(&["--help"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    for word in
        ["--steps", "-s", "--guidance-scale", "--negative-prompt", "--scheduler", "--device", "--json"]
    {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
}
