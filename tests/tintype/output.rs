//! Where pictures land, and what becomes of one that cannot.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};
use tintype::gallery::{self, metadata};
use tintype::session::history;

pub fn tintype(home: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(["--device", "cpu"])
        .args(args)
        .env("TINTYPE_HOME", home)
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("HF_HOME")
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files where the folders of today and tomorrow would be: a disk that takes the test but not the picture.
fn block(home: &Path) {
    std::fs::create_dir_all(home.join("pictures")).unwrap();
    for days in 0..2 {
        let day = jiff::ZonedDateTime::now().datetime().checked_add(jiff::Span::new().days(days)).unwrap();
        std::fs::write(home.join("pictures").join(day.strftime("%Y-%m-%d").to_string()), "").unwrap();
    }
}

#[test]
fn names_tell_the_day_and_the_job_and_are_never_taken_twice() {
    let home = tempfile::tempdir().unwrap();
    let made: Vec<PathBuf> = (0..2)
        .map(|_| {
            let output = tintype(home.path(), &["generate", "A red fox!", "-S", "5", "-s", "1", "64x64"], "");
            assert!(output.status.success(), "{}", text(&output.stderr));
            PathBuf::from(text(&output.stdout).trim())
        })
        .collect();
    let day = made[0].parent().unwrap().parent().unwrap();
    assert_eq!(day.parent().unwrap(), home.path().join("pictures"));
    assert_eq!(made[0], day.join("generate/0001-a-red-fox-5.png"));
    assert_eq!(made[1], day.join("generate/0001-a-red-fox-5-2.png"));
    for path in &made {
        let recipe = metadata::read_recipe(path).unwrap();
        assert_eq!(
            recipe.path.as_deref(),
            path.file_name().map(Path::new),
            "a file knows the name that it got"
        );
        assert_eq!(recipe.pixels_sha256, sha256(&gallery::load(path).unwrap().rgb));
        assert_eq!(recipe.latents.len(), 2, "the noise, and what the step left");
        assert!(recipe.weights.keys().any(|name| name.starts_with("unet/")), "{:?}", recipe.weights);
    }
}

#[test]
fn the_template_is_the_persons() {
    let home = tempfile::tempdir().unwrap();
    let args =
        ["generate", "A fox", "-S", "5", "-s", "1", "64x64", "--file-name", "{model}/{seed}_{steps}.png"];
    let output = tintype(home.path(), &args, "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(Path::new(text(&output.stdout).trim()), home.path().join("pictures/embedded/5_1.png"));
    let output =
        tintype(home.path(), &["generate", "A fox", "-s", "1", "64x64", "--file-name", "../{seed}"], "");
    assert!(text(&output.stderr).contains("--file-name: the file-name template must name a file within"));
    assert!(Path::new(text(&output.stdout).trim()).starts_with(home.path().join("pictures")));
}

#[test]
fn a_session_has_a_folder_and_its_record_the_hash_of_each_file() {
    let home = tempfile::tempdir().unwrap();
    let output = tintype(home.path(), &[], "a fox -S 5 -s 1 64x64\n+ rain\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let session = history::sessions(&home.path().join("sessions")).remove(0);
    let (ledger, _) = history::load(&session).unwrap();
    for (path, entry) in text(&output.stdout).lines().map(Path::new).zip(ledger.entries()) {
        assert_eq!(path.parent().unwrap().file_name(), session.file_stem());
        let recipe = entry.recipe.as_ref().unwrap();
        assert_eq!(recipe.path.as_deref(), Some(path));
        assert_eq!(recipe.file_sha256.as_deref(), Some(sha256(&std::fs::read(path).unwrap()).as_str()));
    }
    assert_eq!(ledger.entries().count(), 2);
}

#[test]
fn a_picture_that_cannot_be_written_is_kept_until_it_is_saved_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    block(home.path());
    let script = "a fox -S 5 -s 1 64x64\n/save $1 taken.png\n/save $1 kept.png\n/save $1 again.png\n";
    std::fs::write(home.path().join("taken.png"), "somebody's").unwrap();
    let output = tintype(home.path(), &[], script);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write") && said.contains("type /save $1 FILE"), "{said}");
    assert!(said.contains("cannot write taken.png") && said.contains("choose another name"), "{said}");
    assert_eq!(std::fs::read_to_string(home.path().join("taken.png")).unwrap(), "somebody's");

    let (ledger, _) = history::load(&history::sessions(&home.path().join("sessions"))[0]).unwrap();
    let recipe = ledger.entries().next().unwrap().recipe.clone().unwrap();
    let kept = home.path().join("kept.png");
    assert_eq!(recipe.path.unwrap().canonicalize().unwrap(), kept.canonicalize().unwrap());
    assert_eq!(sha256(&gallery::load(&kept).unwrap().rgb), recipe.pixels_sha256);
    assert_eq!(metadata::read_recipe(&kept).unwrap().path.as_deref(), Some(Path::new("kept.png")));
    assert_eq!(std::fs::read(&kept).unwrap(), std::fs::read(home.path().join("again.png")).unwrap());
}

#[test]
fn a_picture_of_the_shell_that_cannot_be_written_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    block(home.path());
    let output = tintype(home.path(), &["generate", "a fox", "-s", "1", "64x64"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("-o -"), "{}", text(&output.stderr));
}
