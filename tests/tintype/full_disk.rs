//! A disk that is full for a while: each thing that finds no room is one line, and nothing that was made is lost.
//!
//! What stands in for the disk is a limit on the size of the program's files, which is set and lifted while it runs.

use serde_json::Value;

use crate::pty::fake_terminal::KITTY;
use crate::repl::{Repl, files};

fn start() -> Repl {
    Repl::start(3, KITTY, 240, 40)
}

/// The records of the one session, each of them whole.
fn records(repl: &Repl) -> Vec<Value> {
    let found = files(repl.home());
    let session = found.iter().find(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    let text = std::fs::read_to_string(session.expect("a session")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn finished(repl: &Repl) -> Vec<u64> {
    let records = records(repl);
    let finished = records.iter().filter(|record| record["record"] == "finished");
    finished.map(|record| record["job"].as_u64().unwrap()).collect()
}

#[test]
fn a_picture_that_finds_no_room_is_kept_until_there_is_some() {
    let mut repl = start();
    repl.line("a small fox -s 2 -S 5 64x64");
    repl.printed("\n#1 seed 5");
    let (first, limit) = (repl.file(1), 40_000);
    let bytes = std::fs::read(&first).unwrap();
    repl.terminal.limit_files(Some(limit));
    repl.line("a large fox -s 2 -S 6 512x512");
    repl.printed("#2 is kept in memory: type /save $2 FILE");
    let history = repl.history();
    assert_eq!(history.matches("cannot write").count(), 1, "{history}");
    assert!(!history.contains(".part"), "{history}");
    let left = files(&repl.home().join("pictures"));
    assert_eq!(left, std::slice::from_ref(&first), "no part of a picture, no temporary file");
    assert_eq!(std::fs::read(&first).unwrap(), bytes);

    repl.line("/save $2 large.png");
    repl.printed(
        "cannot write large.png: File too large (os error 27); choose another disk, or raise `ulimit -f`",
    );
    repl.line("a third fox -s 2 -S 7 64x64");
    repl.printed("\n#3 seed 7");
    repl.terminal.limit_files(None);
    let large = repl.home().join("large.png");
    repl.line(&format!("/save $2 {}", large.display()));
    repl.printed("saved as");
    assert_eq!(image::image_dimensions(&large).unwrap(), (512, 512));
    repl.line("a fourth fox -s 2 -S 8 512x512");
    repl.printed("\n#4 seed 8");
    assert!(repl.file(4).is_file());
    assert_eq!(finished(&repl), [1, 2, 3, 4]);
    repl.leave();
}

#[test]
fn records_that_find_no_room_are_written_when_there_is_some() {
    let mut repl = start();
    // So that the session is larger than a picture.
    for seed in 1..=4 {
        repl.line(&format!("flat ff00ff -s 1 -S {seed} 64x64"));
        repl.printed(&format!("\n#{seed} seed {seed} "));
    }
    let found = files(repl.home());
    let session = found.iter().find(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    let size = session.expect("a session").metadata().unwrap().len();
    assert!(repl.file(4).metadata().unwrap().len() < size);
    // In the middle of a record.
    repl.terminal.limit_files(Some(size + 100));
    repl.line("flat ff00ff -s 1 -S 5 64x64");
    repl.printed("\n#5 seed 5 ");
    repl.line("flat ff00ff -s 1 -S 6 64x64");
    repl.printed("\n#6 seed 6 ");
    let history = repl.history();
    assert_eq!(history.matches("cannot write the session").count(), 1, "{history}");
    assert!(history.contains("what happens is written as soon as there is room"), "{history}");
    assert_eq!(finished(&repl), [1, 2, 3, 4], "and no part of a record");
    repl.terminal.limit_files(None);
    repl.line("/rate $6 5");
    repl.printed("nothing of it is missing");
    assert_eq!(finished(&repl), [1, 2, 3, 4, 5, 6]);
    repl.leave();
}

#[test]
fn what_waits_for_room_is_written_at_the_end() {
    let mut repl = start();
    repl.line("flat ff00ff -s 1 -S 1 64x64");
    repl.printed("\n#1 seed 1 ");
    repl.terminal.limit_files(Some(0));
    repl.line("/rate $1 4");
    repl.printed("cannot write the session");
    let before = records(&repl).len();
    repl.terminal.limit_files(None);
    repl.terminal.keys("\x04");
    assert_eq!(repl.terminal.exit().code(), Some(0));
    assert!(records(&repl).len() > before);
}
