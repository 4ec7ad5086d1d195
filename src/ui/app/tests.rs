use super::*;
use crate::engine::Phase;
use crate::request::ImageSize;
use crate::telemetry::MemSample;

fn start(app: &mut App, job: u64) {
    app.submitted(JobId(job), &format!("prompt {job}"));
    app.update(&EngineEvent::Queued { job: JobId(job) });
    app.update(&EngineEvent::Started { job: JobId(job) });
}

fn picture() -> Picture {
    Picture { size: ImageSize::new(512, 256), rgb: vec![7; 512 * 256 * 3].into() }
}

fn finish(app: &mut App, job: u64) {
    let recipe = Box::new(crate::ui::samples::recipe(job, "a fox"));
    app.update(&EngineEvent::Finished { job: JobId(job), recipe, picture: picture() });
}

#[test]
fn a_job_goes_from_the_queue_through_progress_to_a_shot() {
    let mut app = App::default();
    app.submitted(JobId(2), "later");
    app.update(&EngineEvent::Queued { job: JobId(2) });
    start(&mut app, 1);
    assert_eq!(app.waiting, [Waiting { job: JobId(2), prompt: "later".into() }]);
    let running = app.running.as_ref().expect("it runs");
    assert_eq!((running.job, running.prompt.as_str()), (JobId(1), "prompt 1"));
    app.update(&EngineEvent::PhaseStarted { job: JobId(1), phase: Phase::Step });
    app.update(&EngineEvent::Step { job: JobId(1), step: 3, steps: 4, seconds: 0.5 });
    app.previewed(Preview { job: JobId(1), step: 3, picture: picture() });
    assert_eq!(app.running.as_ref().and_then(Progress::ratio), Some(0.75));
    finish(&mut app, 1);
    assert!(app.running.as_ref().is_some_and(|running| running.preview.is_none()), "one more may follow");
    app.update(&EngineEvent::Ended { job: JobId(1) });
    assert!(app.running.is_none() && app.shots.len() == 1);
    assert_eq!(app.shots[0].thumbnail.size, ImageSize::new(THUMBNAIL, THUMBNAIL / 2));
}

#[test]
fn events_and_previews_of_another_job_change_nothing() {
    let mut app = App::default();
    start(&mut app, 1);
    assert!(!app.update(&EngineEvent::Step { job: JobId(7), step: 3, steps: 4, seconds: 0.5 }));
    app.previewed(Preview { job: JobId(7), step: 3, picture: picture() });
    assert!(app.running.as_ref().is_some_and(|running| running.step == 0 && running.preview.is_none()));
    app.update(&EngineEvent::Ended { job: JobId(7) });
    assert!(app.running.is_some());
}

#[test]
fn a_job_cancelled_in_the_queue_disappears_from_it() {
    let mut app = App::default();
    app.update(&EngineEvent::Queued { job: JobId(4) });
    app.update(&EngineEvent::Cancelled { job: JobId(4), step: 0 });
    app.update(&EngineEvent::Ended { job: JobId(4) });
    assert!(app.waiting.is_empty());
}

#[test]
fn nothing_moves_while_nothing_runs() {
    let mut app = App::default();
    assert!(!app.update(&EngineEvent::Memory(Arc::new(MemSample::default()))));
    assert!(app.memory.now().is_some(), "but the reading is kept");
    assert_eq!(app.tick(Instant::now()), (false, None));
    start(&mut app, 1);
    assert!(app.update(&EngineEvent::Memory(Arc::new(MemSample::default()))));
}

#[test]
fn the_clock_moves_once_a_second_and_only_where_it_shows() {
    let mut app = App::default();
    start(&mut app, 1);
    let begin = Instant::now();
    app.update(&EngineEvent::PhaseStarted { job: JobId(1), phase: Phase::Load });
    assert!(!app.tick(begin).0);
    let (moved, next) = app.tick(begin + Duration::from_millis(1200));
    assert!(moved && next.is_some_and(|next| next <= Duration::from_millis(900)));
    assert!(!app.tick(begin + Duration::from_millis(1300)).0);
    app.update(&EngineEvent::PhaseStarted { job: JobId(1), phase: Phase::Step });
    app.update(&EngineEvent::Step { job: JobId(1), step: 1, steps: 4, seconds: 0.5 });
    assert!(!app.tick(begin + Duration::from_secs(5)).0, "the steps themselves move");
}

#[test]
fn what_is_remembered_of_a_job_goes_with_it() {
    let mut app = App::default();
    start(&mut app, 1);
    app.update(&EngineEvent::Notice { job: JobId(1), text: "tight".into() });
    assert_eq!(app.notice.as_deref(), Some("tight"));
    app.update(&EngineEvent::Ended { job: JobId(1) });
    assert!(app.notice.is_none() && app.prompts.is_empty());
}
