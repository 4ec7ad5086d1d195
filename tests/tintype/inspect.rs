//! `tintype inspect`, as a person runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metadata").join(name)
}

fn inspect(args: &[&str], files: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_tintype"))
        .env("TINTYPE_HOME", home.path())
        .arg("inspect")
        .args(args)
        .args(files.iter().map(|name| fixture(name)))
        .output()
        .unwrap()
}

#[test]
fn a_line_to_edit_and_what_is_left_are_printed() {
    let output = inspect(&[], &["draw_things.png"]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "a \"tin\" cup & saucer -A dpmpp_2m_karras -s 30 -C 4.5 --negative-prompt \"blurry\" -S 1601874409 \
         --clip-skip 1 768x512\n\
         # made by Draw Things\n\
         # what has no counterpart here:\n\
         #   model  sd_xl_turbo_1.0_f16.ckpt\n\
         #   loras  [{\"file\":\"ink_lora_f16.ckpt\",\"weight\":0.6}]\n"
    );
}

#[test]
fn json_has_a_line_a_file_and_a_file_without_settings_fails_alone() {
    let output = inspect(&["--json"], &["nothing.png", "a1111.png"]);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["error"].as_str().unwrap().contains("no settings"));
    assert_eq!(lines[1]["source"], "A1111");
    assert_eq!(lines[1]["request"]["steps"], 28);
    assert_eq!(lines[1]["unmapped"][0]["key"], "Model hash");
}
