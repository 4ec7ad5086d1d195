use super::*;
use crate::request::{ImageSize, JobId};

fn tile(job: u64, prompt: &str) -> Tile {
    Tile::new(&crate::ui::samples::entry(job, prompt)).expect("it is finished")
}

fn gallery(jobs: std::ops::RangeInclusive<u64>) -> Gallery {
    let tiles = jobs.rev().map(|job| tile(job, if job % 2 == 0 { "a red fox" } else { "a blue cat" }));
    let mut gallery = Gallery::new(Scope::Session, tiles.collect());
    gallery.set_grid(3, 2);
    gallery
}

fn picture() -> Picture {
    Picture { size: ImageSize::new(1, 1), rgb: vec![1, 2, 3].into() }
}

/// Keys as text: letters, and `<` `>` `^` `v` for arrows, `E` Enter, `X` Esc, `B` Backspace.
fn press(gallery: &mut Gallery, keys: &str) -> Option<Ask> {
    keys.chars().fold(None, |_, key| {
        let code = match key {
            '<' => KeyCode::Left,
            '>' => KeyCode::Right,
            '^' => KeyCode::Up,
            'v' => KeyCode::Down,
            'E' => KeyCode::Enter,
            'X' => KeyCode::Esc,
            'B' => KeyCode::Backspace,
            other => KeyCode::Char(other),
        };
        gallery.key(&KeyEvent::new(code, KeyModifiers::NONE))
    })
}

fn selected(gallery: &Gallery) -> u64 {
    gallery.selected().expect("a selection").recipe.job.0
}

#[test]
fn arrows_walk_the_grid_and_stop_at_its_ends() {
    // newest first, three columns: 10 9 8 / 7 6 5 / 4 3 2 / 1
    for (keys, expected) in [
        ("", 10),
        (">", 9),
        ("v", 7),
        (">v", 6),
        ("<", 10),
        ("^", 10),
        ("vvv", 1),
        ("vvvvvv", 1),
        (">>>>", 6),
        ("vvv^", 4),
    ] {
        let mut gallery = gallery(1..=10);
        press(&mut gallery, keys);
        assert_eq!(selected(&gallery), expected, "{keys}");
    }
}

#[test]
fn the_selected_picture_is_always_on_the_screen() {
    let mut gallery = gallery(1..=10);
    press(&mut gallery, "vvv");
    let shown: Vec<u64> = gallery.visible().map(|(entry, ..)| entry.recipe.job.0).collect();
    assert_eq!(shown, [4, 3, 2, 1]);
    gallery.set_grid(5, 1);
    assert!(gallery.visible().any(|(_, selected, _)| selected));
    press(&mut gallery, "^^^^");
    assert_eq!(gallery.visible().count(), 5);
}

#[test]
fn filter_narrows_and_keeps_the_selection_if_it_can() {
    let mut gallery = gallery(1..=10);
    press(&mut gallery, ">/fox");
    assert_eq!((gallery.matching(), selected(&gallery)), (5, 10), "9 is a cat");
    press(&mut gallery, "BBBcat");
    assert_eq!(gallery.matching(), 5);
    press(&mut gallery, "E>");
    let before = selected(&gallery);
    assert_eq!(before, 7);
    press(&mut gallery, "X");
    assert_eq!((gallery.matching(), selected(&gallery)), (10, before));
    press(&mut gallery, "/nothing like it");
    assert!(gallery.selected().is_none() && press(&mut gallery, "Erdec").is_none());
}

#[test]
fn keys_in_the_filter_are_text() {
    let mut gallery = gallery(1..=4);
    assert!(press(&mut gallery, "/rdecq").is_none());
    assert_eq!(gallery.filter, "rdecq");
}

#[test]
fn deleting_needs_two_presses_in_a_row() {
    let mut gallery = gallery(1..=4);
    assert!(press(&mut gallery, "d").is_none() && gallery.confirm);
    assert!(press(&mut gallery, ">").is_none() && !gallery.confirm);
    assert!(press(&mut gallery, "d").is_none());
    let Some(Ask::Trash(entry)) = press(&mut gallery, "d") else { panic!("not trashed") };
    assert_eq!(entry.id, JobId(3));
    gallery.trashed(Path::new("3.png"));
    assert_eq!(gallery.len(), 4, "the entry stays");
    assert!(press(&mut gallery, "dd").is_none(), "there is nothing to trash any more");
    assert!(matches!(press(&mut gallery, "r"), Some(Ask::Rerun(_))), "but it can be made again");
}

#[test]
fn compare_takes_a_mark_and_a_selection() {
    let mut gallery = gallery(1..=4);
    press(&mut gallery, "c");
    assert_eq!((gallery.show, gallery.marked().map(|entry| entry.recipe.job.0)), (Show::Grid, Some(4)));
    press(&mut gallery, ">c");
    assert_eq!((gallery.show, selected(&gallery)), (Show::Compare, 3));
    press(&mut gallery, ">");
    assert_eq!((gallery.show, selected(&gallery)), (Show::Compare, 2));
    assert!(press(&mut gallery, "XX").is_none(), "first the comparison, then the mark");
    assert!(matches!(press(&mut gallery, "X"), Some(Ask::Close)));
}

#[test]
fn only_what_is_seen_is_loaded_and_large_pictures_do_not_stay() {
    let mut gallery = gallery(1..=10);
    let want = |job: u64, side| Want { path: format!("{job}.png").into(), side };
    for job in (5..=10).rev() {
        assert_eq!(gallery.wants(), Some(want(job, THUMBNAIL)));
        gallery.loaded(&want(job, THUMBNAIL), Some(&picture()));
    }
    assert_eq!(gallery.wants(), None);
    press(&mut gallery, "E");
    assert_eq!(gallery.wants(), Some(want(10, LARGE)));
    gallery.loaded(&want(10, LARGE), Some(&picture()));
    assert!(gallery.wants().is_none() && gallery.selected().is_some_and(|entry| entry.large.is_some()));
    press(&mut gallery, "X");
    assert!(gallery.selected().is_some_and(|entry| entry.large.is_none()));
    press(&mut gallery, "vv");
    gallery.loaded(&want(4, THUMBNAIL), None);
    assert!(gallery.selected().is_some_and(|entry| entry.gone), "unreadable");
    assert_ne!(gallery.wants(), Some(want(4, THUMBNAIL)), "and not tried again");
}

#[test]
fn a_picture_that_finishes_meanwhile_does_not_move_the_selection() {
    let mut gallery = gallery(1..=4);
    press(&mut gallery, "c>");
    gallery.add(tile(5, "a tram"));
    assert_eq!((gallery.len(), selected(&gallery)), (5, 3));
    assert_eq!(gallery.marked().map(|entry| entry.recipe.job.0), Some(4));
}

#[test]
fn an_empty_gallery_takes_every_key() {
    let mut gallery = Gallery::new(Scope::Session, Vec::new());
    gallery.set_grid(0, 0);
    assert!(press(&mut gallery, "<>^vEcrded").is_none());
    assert!(matches!(press(&mut gallery, "X"), Some(Ask::Close)));
}

#[test]
fn a_filter_that_makes_no_sense_says_so() {
    let mut gallery = gallery(1..=4);
    press(&mut gallery, "/seed:x");
    assert!(
        gallery.trouble.as_ref().is_some_and(|trouble| trouble.contains("seed")),
        "{:?}",
        gallery.trouble
    );
    // `x` was no seed, `3` is one.
    press(&mut gallery, "B3");
    assert_eq!((gallery.matching(), gallery.trouble.as_deref()), (1, None));
}

#[test]
fn two_jobs_can_be_compared_at_once() {
    let mut gallery = gallery(1..=4);
    gallery.compare_jobs(JobId(2), JobId(4));
    assert_eq!((gallery.show, selected(&gallery)), (Show::Compare, 4));
    assert_eq!(gallery.marked().map(|tile| tile.entry.id), Some(JobId(2)));
    gallery.compare_jobs(JobId(2), JobId(77));
    assert_eq!(selected(&gallery), 4, "there is none: nothing happens");
}
