//! Sessions made again with the embedded model, to the bit; records that lie; sessions written as something else.

use std::path::{Path, PathBuf};
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tintype::gallery::{self, metadata, png_file};
use tintype::request::{Picture, Recipe};
use tintype::session::entry::Entry;
use tintype::session::history;

use crate::output::{text, tintype};

/// A home with one session in it: three pictures, the second made from the first's line, the third from its pixels.
struct Recorded {
    home: tempfile::TempDir,
    session: PathBuf,
}

const SCRIPT: &str =
    "a red circle -S 7 -s 3 64x64\n+ at night\na <b>\"square\"</b> & more -S 9 -s 4 64x64 -I $1\n";

impl Recorded {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let output = tintype(home.path(), &[], SCRIPT);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let session = history::sessions(&home.path().join("sessions")).remove(0);
        Self { home, session }
    }

    fn replay(&self, args: &[&str]) -> Output {
        let args: Vec<_> = std::iter::once("replay").chain(args.iter().copied()).collect();
        tintype(self.home.path(), &args, "")
    }

    /// The session's name.
    fn name(&self) -> String {
        self.session.file_stem().unwrap().to_string_lossy().into_owned()
    }

    fn entries(&self) -> Vec<Entry> {
        history::load(&self.session).unwrap().0.entries().cloned().collect()
    }

    fn picture(&self, number: usize) -> PathBuf {
        self.entries()[number - 1].recipe.clone().unwrap().path.unwrap()
    }

    /// Changes the record that says that a picture is finished.
    fn rewrite(&self, number: usize, change: impl Fn(&str) -> String) {
        let record = std::fs::read_to_string(&self.session).unwrap();
        let is_it = |line: &str| {
            line.contains("\"record\":\"finished\"") && line.contains(&format!("\"job\":{number},"))
        };
        let lines = record.lines().map(|line| if is_it(line) { change(line) } else { line.to_owned() });
        let changed = lines.collect::<Vec<_>>().join("\n") + "\n";
        assert_ne!(changed, record);
        std::fs::write(&self.session, changed).unwrap();
    }

    /// Everything below the home folder.
    fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut folders) = (Vec::new(), vec![self.home.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }
}

fn pixels(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.recipe.as_ref().unwrap().pixels_sha256.clone()).collect()
}

#[test]
fn a_recorded_session_is_made_again_to_the_bit() {
    let recorded = Recorded::new();
    let before = recorded.files();
    let output = recorded.replay(&["--check", "last"]);
    let (said, noted) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}{noted}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "ok    #1  a red circle · identical");
    assert_eq!(lines[1], "ok    #2  a red circle, at night · identical");
    assert_eq!(lines.len(), 3);
    assert!(noted.contains("3 checked, 3 identical, 0 failed"), "{noted}");
    assert_eq!(recorded.files(), before, "a check leaves nothing behind");
    // The same from the pictures themselves, and from a session whose pictures are gone.
    let folder = recorded.picture(1).parent().unwrap().to_owned();
    std::fs::write(folder.join("sheet.png"), std::fs::read(metadata_free()).unwrap()).unwrap();
    let output = recorded.replay(&["--check", &folder.to_string_lossy()]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stderr).contains("sheet.png: has no settings"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).lines().all(|line| line.ends_with("· identical")));
    assert_eq!(text(&output.stdout).lines().count(), 3);
    std::fs::remove_file(recorded.picture(2)).unwrap();
    let output = recorded.replay(&["--check", &recorded.name()]);
    assert!(output.status.success());
    assert!(text(&output.stdout).lines().nth(1).unwrap().ends_with("identical; its file is gone"));
}

/// A picture without a recipe.
fn metadata_free() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metadata/nothing.png")
}

#[test]
fn a_picture_that_was_altered_fails_the_check() {
    let recorded = Recorded::new();
    let path = recorded.picture(1);
    let mut rgb = gallery::load(&path).unwrap().rgb.to_vec();
    rgb[100] = rgb[100].wrapping_add(9);
    let recipe = metadata::read_recipe(&path).unwrap();
    let size = recipe.params.size;
    let altered = png_file::encode(&Picture { size, rgb: rgb.into() }, &metadata::texts(&recipe)).unwrap();
    std::fs::write(&path, altered).unwrap();
    for what in [recorded.name(), path.to_string_lossy().into_owned()] {
        let output = recorded.replay(&["--check", &what]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        let line = text(&output.stdout).lines().next().unwrap().to_owned();
        assert!(line.starts_with("FAIL") && line.contains("its file holds other pixels"), "{line}");
        assert!(line.contains("dB, at most 9 of 255") || line.contains("at most 247"), "{line}");
    }
    // One value in 12288: as near as 40 dB, not as near as 90.
    let path = path.to_string_lossy();
    assert_eq!(recorded.replay(&["--check", "--tolerance", "40", &path]).status.code(), Some(0));
    assert_eq!(recorded.replay(&["--check", "--tolerance", "90", &path]).status.code(), Some(1));
}

#[test]
fn a_recipe_that_was_altered_fails_the_check_and_says_where_the_runs_part() {
    let recorded = Recorded::new();
    recorded.rewrite(1, |line| line.replace("\"seed\":7,", "\"seed\":8,"));
    recorded.rewrite(2, |line| {
        let line = line.replace("\"device\":\"cpu\"", "\"device\":\"cuda\"");
        let line = line.replace("\"dtype\":\"f32\"", "\"dtype\":\"f16\"");
        line.replace("at night\"", "at noon\"")
    });
    // Other pixels than were recorded, in the same steps: the VAE is what is different.
    recorded.rewrite(3, |line| {
        let hash = pixels(&recorded.entries())[2].clone();
        line.replace(&hash, &"0".repeat(64))
    });
    let output = recorded.replay(&["--check", &recorded.name()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("FAIL") && lines[0].contains("from the start on"), "{said}");
    assert!(lines[0].contains("dB, at most "), "{said}");
    assert!(lines[1].contains("from step 1 on; device cuda → cpu; dtype f16 → f32"), "{said}");
    assert!(lines[2].contains("after the last step"), "{said}");
    assert!(text(&output.stderr).contains("3 checked, 0 identical, 3 failed"));
    let output = recorded.replay(&["--check", "--json", &recorded.name()]);
    let first = text(&output.stdout).lines().next().unwrap().to_owned();
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&first["passed"], &first["comparison"]["parting"]), (&false.into(), &"start".into()));
}

#[test]
fn a_replay_is_a_session_of_its_own() {
    let recorded = Recorded::new();
    // The picture that the third one starts from is gone; the one that was made in its place serves.
    std::fs::remove_file(recorded.picture(1)).unwrap();
    let output = recorded.replay(&[&recorded.name()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let sessions = history::sessions(&recorded.home.path().join("sessions"));
    let newer = sessions.iter().find(|path| **path != recorded.session).unwrap();
    let again: Vec<Entry> = history::load(newer).unwrap().0.entries().cloned().collect();
    assert_eq!(pixels(&again), pixels(&recorded.entries()));
    let parents = |entries: &[Entry]| entries.iter().map(|entry| entry.parent).collect::<Vec<_>>();
    assert_eq!(parents(&again), parents(&recorded.entries()));
    let said = text(&output.stderr);
    assert!(said.contains("#2 is #2 again: identical"), "{said}");
    assert!(said.contains(&format!("session {}", newer.file_stem().unwrap().to_string_lossy())), "{said}");
    for (path, entry) in text(&output.stdout).lines().zip(&again) {
        assert_eq!(entry.recipe.as_ref().unwrap().path.as_deref(), Some(Path::new(path)));
        assert!(Path::new(path).is_file());
    }
}

#[test]
fn the_prompt_replays_too() {
    let recorded = Recorded::new();
    let script = format!("a fox -S 1 -s 1 64x64\n/replay\n/replay {}\n/replay nothing\n", recorded.name());
    let output = tintype(recorded.home.path(), &[], &script);
    let said = text(&output.stderr);
    assert!(said.contains("#2 is #1 again: identical"), "{said}");
    assert!(said.contains("3 pictures") && said.contains("#5 is #3 again: identical"), "{said}");
    assert!(said.contains("there is no session or file `nothing`; the nearest sessions are "), "{said}");
    assert_eq!(text(&output.stdout).lines().count(), 5);
}

#[test]
fn what_is_not_there_is_one_line_and_exit_code_2() {
    let home = tempfile::tempdir().unwrap();
    let say = |args: &[&str]| {
        let output = tintype(home.path(), args, "");
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = say(&["replay", "yesterday"]);
    assert_eq!(code, Some(2));
    assert_eq!(said, "tintype: there is no session or file `yesterday`; no session was recorded yet\n");
    let fixture = metadata_free().with_file_name("a1111.png");
    let (code, said) = say(&["replay", &fixture.to_string_lossy()]);
    assert_eq!(code, Some(2));
    assert!(said.contains("a picture of another tool is made with /load"), "{said}");
    for args in [&["replay", "x", "--tolerance", "3"][..], &["replay", "x", "--show", "--speed", "0"]] {
        assert_eq!(say(args).0, Some(2), "{args:?}");
    }
}

#[test]
fn a_session_plays_back() {
    let recorded = Recorded::new();
    let started = std::time::Instant::now();
    let output = recorded.replay(&["--show", "--speed", "1000", &recorded.name()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(started.elapsed().as_secs() < 10);
    let said = text(&output.stdout);
    let places: Vec<_> =
        ["tintype › a red circle -S 7", "#1 seed 7", "tintype › + at night", "#2 seed 7", "#3 seed 9"]
            .map(|text| said.find(text).unwrap_or_else(|| panic!("{text} in {said}")))
            .to_vec();
    assert!(places.is_sorted(), "{said}");
    assert_eq!(said.matches("tintype ›").count(), 3, "each line once: {said}");
    std::fs::remove_file(recorded.picture(2)).unwrap();
    let output = recorded.replay(&["--show", "--speed", "1000", &recorded.name()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("(the file is gone)"));
}

#[test]
fn an_exported_script_makes_the_same_pictures() {
    let recorded = Recorded::new();
    let home = recorded.home.path();
    let output = tintype(home, &["export", "last"], "");
    let script = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(script.starts_with("# session "), "{script}");
    assert_eq!(script.lines().count(), 4);
    let other = tempfile::tempdir().unwrap();
    let output = tintype(other.path(), &[], &script);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = history::load(&history::sessions(&other.path().join("sessions"))[0]).unwrap().0;
    let again: Vec<Entry> = again.entries().cloned().collect();
    assert_eq!(pixels(&again), pixels(&recorded.entries()));
    let params = |entries: &[Entry]| entries.iter().map(|e| e.params.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(params(&again), params(&recorded.entries()));
}

#[test]
fn a_session_is_exported_as_json_and_as_a_page_that_needs_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let lines =
        "/note $1 <i>good</i>\n/rate $1 4\n/export s.json\n/export s.html\n/export s.txt\n/export s.txt\n";
    let output = tintype(home.path(), &[], &format!("{SCRIPT}{lines}"));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "the second script is refused: {said}");
    assert!(said.contains("cannot write s.txt") && said.contains("choose another name"), "{said}");
    let read = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap();
    let session: serde_json::Value = serde_json::from_str(&read("s.json")).unwrap();
    let pictures = session["pictures"].as_array().unwrap();
    assert_eq!((pictures.len(), &pictures[0]["rating"]), (3, &4.into()));
    let recipe: Recipe = serde_json::from_value(pictures[2]["recipe"].clone()).unwrap();
    assert_eq!(recipe.latents.len(), 1 + recipe.timings.steps.len());

    let page = read("s.html");
    assert!(page.contains("a &lt;b&gt;&quot;square&quot;&lt;/b&gt; &amp; more"), "{}", &page[..2000]);
    assert!(page.contains("&lt;i&gt;good&lt;/i&gt;") && page.contains("★★★★"));
    assert!(
        !page.contains("<b>")
            && !page.contains("<i>")
            && !page.contains("http:")
            && !page.contains("<script")
    );
    let images: Vec<Vec<u8>> = page
        .split("src=\"data:image/png;base64,")
        .skip(1)
        .map(|rest| STANDARD.decode(rest.split('"').next().unwrap()).unwrap())
        .collect();
    let files: Vec<Vec<u8>> = pictures
        .iter()
        .map(|picture| std::fs::read(picture["recipe"]["path"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(images, files);
    assert_eq!(page.matches("src=").count(), 3, "nothing else is loaded");
}
