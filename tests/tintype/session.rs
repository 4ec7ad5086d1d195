//! Sessions on disk: whatever happens to the program, what it said is still there.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use tintype::command::{self, Outcome};
use tintype::engine::EngineEvent;
use tintype::request::{GenerateRequest, ImageSize, JobId, Picture, Recipe, Seed};
use tintype::session::entry::JobState;
use tintype::session::{Session, history};

/// Where a child of [`a_program_killed_at_any_record_keeps_the_ones_before`] dies.
const DIE_AT: &str = "TINTYPE_TEST_DIE_AT";

/// Says that something is recorded, and dies there if this is the place.
fn recorded(what: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let Ok(place) = std::env::var(DIE_AT) else { return };
    println!("\n{what}");
    if COUNT.fetch_add(1, Ordering::SeqCst).to_string() == place {
        Command::new("kill").args(["-KILL", &std::process::id().to_string()]).status().unwrap();
        loop {
            std::thread::park();
        }
    }
}

/// Types a line that makes pictures, and lets a scripted engine finish or fail them.
fn type_line(session: &mut Session, line: &str) {
    let outcome = command::execute(line, session).unwrap_or_else(|error| panic!("{}", error.render(line)));
    recorded("line");
    let Outcome::Submit(submission) = outcome else { return };
    for job in submission.jobs {
        let id = job.id;
        session.apply(&EngineEvent::Started { job: id });
        recorded("started");
        if job.request.prompt.contains("unlucky") {
            session.apply(&EngineEvent::Failed { job: id, error: "no luck".into(), refused: false });
            recorded("failed");
        } else {
            let picture = Picture { size: ImageSize::new(1, 1), rgb: vec![0; 3].into() };
            let recipe = Box::new(recipe(id, &job.request));
            session.apply(&EngineEvent::Finished { job: id, recipe, picture });
            recorded("finished");
        }
        session.apply(&EngineEvent::Ended { job: id });
    }
}

fn recipe(job: JobId, request: &GenerateRequest) -> Recipe {
    let Some(Seed::Fixed(seed)) = request.seed else { panic!("the session settles every seed") };
    serde_json::from_value(serde_json::json!({
        "job": job,
        "params": {
            "prompt": request.prompt, "model": "embedded", "scheduler": "ddim", "steps": 4, "guidance_scale": 7.1,
            "seed": seed, "size": { "width": 1, "height": 1 }, "clip_skip": 0,
        },
        "device": "cpu", "dtype": "f32", "version": "0", "timings": { "total": 1.5 },
        "peak_memory": 1, "path": format!("{job}.png"), "pixels_sha256": "00",
    }))
    .unwrap()
}

const SCRIPT: &[&str] = &[
    "a red fox -S 7",
    "+ rain",
    "an unlucky fox",
    "/set steps 9",
    "a {big|small} dog -S 1..2",
    "/rate $1 5",
    "/note $1 the good one",
    "/name $1 hero",
    "/branch $@hero",
    "s/fox/wolf/ -C 6",
];

fn scripted(folder: &Path) -> PathBuf {
    let mut session = Session::create(folder, GenerateRequest::default()).unwrap();
    for line in SCRIPT {
        type_line(&mut session, line);
    }
    session.sync();
    session.path().unwrap().to_owned()
}

#[test]
fn a_file_cut_anywhere_keeps_everything_before_the_cut() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(scripted(folder.path())).unwrap();
    let finished: Vec<usize> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .scan(0, |end, line| {
            *end += line.len();
            Some((*end, line))
        })
        .filter(|(_, line)| String::from_utf8_lossy(line).contains("\"record\":\"finished\""))
        .map(|(end, _)| end)
        .collect();
    assert_eq!(finished.len(), 7);
    let cut = folder.path().join("cut.jsonl");
    for length in (0..=bytes.len()).rev().step_by(7).chain(finished.iter().flat_map(|end| [end - 1, *end])) {
        std::fs::write(&cut, &bytes[..length]).unwrap();
        let (mut session, bad) = Session::resume(&cut, GenerateRequest::default()).unwrap();
        let whole_lines = length == 0 || bytes[length - 1] == b'\n';
        // Without its line break a record may still be whole.
        assert!(
            bad.len() <= usize::from(!whole_lines) && bad.iter().all(|line| line.torn),
            "{length}: {bad:?}"
        );
        let expected = finished.iter().filter(|end| **end <= length + 1).count();
        let found = session.ledger().entries().filter(|entry| entry.state == JobState::Finished).count();
        assert_eq!(found, expected, "{length}");
        assert!(session.ledger().entries().all(|entry| entry.state.is_over()));
        // And it can be written on.
        type_line(&mut session, "another fox");
        let last = session.ledger().clone();
        drop(session);
        let (read, bad) = history::load(&cut).unwrap();
        assert_eq!(read, last, "{length}");
        assert!(bad.iter().all(|line| !line.torn), "{length}: {bad:?}");
    }
}

/// The child of [`a_killed_program_loses_nothing_that_it_reported`]: reports each picture once it is recorded.
#[test]
#[ignore = "is killed by another test"]
fn victim() {
    let folder = std::env::var("TINTYPE_TEST_FOLDER").unwrap();
    let mut session = Session::create(Path::new(&folder), GenerateRequest::default()).unwrap();
    for number in 1.. {
        type_line(&mut session, &format!("fox {number}"));
        println!("\nfinished {number}");
    }
}

/// The other child.
#[test]
#[ignore = "is killed by another test"]
fn scripted_victim() {
    scripted(Path::new(&std::env::var("TINTYPE_TEST_FOLDER").unwrap()));
}

#[test]
fn a_program_killed_at_any_record_keeps_the_ones_before() {
    for place in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["session::scripted_victim", "--exact", "--ignored", "--nocapture"])
            .env("TINTYPE_TEST_FOLDER", folder.path())
            .env(DIE_AT, place.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let reported = |what: &str| said.lines().filter(|line| *line == what).count();
        let path = history::sessions(folder.path()).remove(0);
        let (mut session, bad) = Session::resume(&path, GenerateRequest::default()).unwrap();
        assert_eq!(bad, [], "{place}");
        let states = |wanted: fn(&JobState) -> bool| {
            session.ledger().entries().filter(|entry| wanted(&entry.state)).count()
        };
        assert_eq!(states(|state| *state == JobState::Finished), reported("finished"), "{place}");
        assert_eq!(states(|state| matches!(state, JobState::Failed(_))), reported("failed"), "{place}");
        assert!(session.ledger().entries().all(|entry| entry.state.is_over()), "{place}");
        if output.status.success() {
            assert!(place > 25, "it died at every place before");
            return;
        }
        type_line(&mut session, "another fox");
    }
}

#[test]
fn a_killed_program_loses_nothing_that_it_reported() {
    for reports in [1, 2, 3, 10, 40] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["session::victim", "--exact", "--ignored", "--nocapture"])
            .env("TINTYPE_TEST_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert_eq!(lines.filter(|line| line.starts_with("finished")).take(reports).count(), reports);
        child.kill().unwrap();
        child.wait().unwrap();
        let path = history::sessions(folder.path()).remove(0);
        let (session, bad) = Session::resume(&path, GenerateRequest::default()).unwrap();
        assert!(bad.iter().all(|line| line.torn));
        let found = session.ledger().entries().filter(|entry| entry.state == JobState::Finished).count();
        assert!(found >= reports, "{found} of {reports}");
    }
}

#[test]
fn sessions_of_the_same_second_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let mut sessions: Vec<_> =
        (0..4).map(|_| Session::create(folder.path(), GenerateRequest::default()).unwrap()).collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        type_line(session, &format!("fox {number}"));
    }
    assert_eq!(history::sessions(folder.path()).len(), 4);
    let first = &mut sessions[0];
    let all = command::execute("/history all fox", first).unwrap();
    let Outcome::Print(lines) = all else { panic!("{all:?}") };
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(history::lines(folder.path(), 3).len(), 3);
}

#[test]
fn bad_records_are_left_out_and_later_versions_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = scripted(folder.path());
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.insert(3, "{\"at\":\"2026-11-24T10:00:00Z\",\"record\":\"sung\",\"tune\":\"fox\"}");
    lines.insert(5, "\u{0}\u{0}\u{0}");
    lines.insert(6, "");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let (session, bad) = Session::resume(&path, GenerateRequest::default()).unwrap();
    assert_eq!(bad.iter().map(|bad| (bad.line, bad.torn)).collect::<Vec<_>>(), [(6, false)]);
    assert!(bad[0].to_string().contains(".jsonl:6: this record cannot be read"));
    assert_eq!(session.ledger().entries().count(), 8);
}
