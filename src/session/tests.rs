use super::derive::{Derivation, Edit};
use super::sweep::{Axis, Typed};
use super::*;
use crate::engine::Phase;
use crate::request::{GenerateParams, ImageSize, Picture, Recipe, Reused, Seed, Timings};

fn prompt(text: &str) -> Typed {
    GenerateRequest { prompt: text.into(), ..Default::default() }.into()
}

fn axis(name: &str, text: &str) -> Axis {
    let setting = settings::find(name).unwrap();
    Axis { setting, values: sweep::values(setting, text).unwrap() }
}

fn submit(session: &mut Session, text: &str) -> JobId {
    let plan = session.plan(text, &prompt(text)).unwrap();
    session.submit(&plan)[0].id
}

fn params(request: &GenerateRequest) -> GenerateParams {
    let Some(Seed::Fixed(seed)) = request.seed else { panic!("the session settles every seed") };
    serde_json::from_value(serde_json::json!({
        "prompt": request.prompt, "model": "embedded", "scheduler": "ddim", "steps": request.steps.unwrap_or(20),
        "guidance_scale": request.guidance_scale.unwrap_or(7.3), "seed": seed, "size": ImageSize::new(64, 64), "clip_skip": 0,
    }))
    .unwrap()
}

/// What an engine says about a job that ends in a picture.
fn finish(session: &mut Session, job: JobId, path: Option<PathBuf>) -> Option<Batch> {
    let params = params(&session.ledger().entry(job).unwrap().request);
    let recipe = Recipe {
        job,
        params: params.clone(),
        device: "cpu".into(),
        dtype: "f32".into(),
        version: "0".into(),
        timings: Timings { total: 2.0, steps: vec![0.1, 0.2], ..Default::default() },
        reused: Reused::default(),
        peak_memory: 1,
        swap_grown: 0,
        memory: std::collections::BTreeMap::new(),
        path,
        pixels_sha256: "00".into(),
        file_sha256: None,
        latents: Vec::new(),
        weights: std::collections::BTreeMap::new(),
        notices: Vec::new(),
    };
    let picture = Picture { size: params.size, rgb: vec![0; 64 * 64 * 3].into() };
    let (device, dtype) = ("cpu".to_owned(), "f32".to_owned());
    for event in [
        EngineEvent::Queued { job },
        EngineEvent::Started { job },
        EngineEvent::Resolved { job, params: Box::new(params), device, dtype },
        EngineEvent::PhaseStarted { job, phase: Phase::Step },
        EngineEvent::Step { job, step: 1, steps: 20, seconds: 0.1 },
        EngineEvent::Finished { job, recipe: Box::new(recipe), picture },
    ] {
        assert_eq!(session.apply(&event), None);
    }
    session.apply(&EngineEvent::Ended { job }).cloned()
}

fn seeds(plan: &Plan) -> Vec<u64> {
    let seed = |picture: &plan::Planned| match picture.request.seed {
        Some(Seed::Fixed(seed)) => seed,
        other => panic!("{other:?}"),
    };
    plan.pictures.iter().map(seed).collect()
}

#[test]
fn what_is_typed_wins_over_the_session_over_nothing() {
    let defaults = GenerateRequest { steps: Some(30), guidance_scale: Some(5.0), ..Default::default() };
    let session = Session::new(defaults);
    let mut typed = prompt("a fox");
    typed.request.steps = Some(8);
    let plan = session.plan("a fox -s 8", &typed).unwrap();
    let request = &plan.pictures[0].request;
    assert_eq!((request.steps, request.guidance_scale, request.width), (Some(8), Some(5.0), None));
    assert!(matches!(request.seed, Some(Seed::Fixed(seed)) if seed < 1 << 32));
    assert!(!plan.sheet && plan.axes.is_empty());
}

#[test]
fn jobs_run_through_their_states() {
    let mut session = Session::new(GenerateRequest::default());
    let job = submit(&mut session, "a fox");
    assert_eq!(job, JobId(1));
    let state = |session: &Session| session.ledger().entry(job).unwrap().state.clone();
    assert_eq!(state(&session), JobState::Queued);
    session.apply(&EngineEvent::Started { job });
    session.apply(&EngineEvent::PhaseStarted { job, phase: Phase::Step });
    session.apply(&EngineEvent::Step { job, step: 3, steps: 20, seconds: 0.5 });
    let JobState::Running(progress) = state(&session) else { panic!() };
    assert_eq!((progress.phase, progress.step, progress.steps), (Some(Phase::Step), 3, 20));
    session.apply(&EngineEvent::Cancelled { job, step: 3 });
    assert_eq!(state(&session), JobState::Cancelled(3));
    assert!(matches!(session.picture(None), Err(SessionError::NothingYet)));

    let job = submit(&mut session, "a fox");
    finish(&mut session, job, None);
    let entry = session.ledger().entry(job).unwrap();
    assert_eq!(entry.state, JobState::Finished);
    assert_eq!(entry.params.as_ref().unwrap().guidance_scale, 7.3);
    // Two steps took 0.3 s, and 1.7 s went by beside them.
    let of = |typed: Typed| session.estimate(&session.plan("", &typed).unwrap()).unwrap();
    let steps = |steps| GenerateRequest { steps: Some(steps), ..prompt("a fox").request };
    assert!((of(steps(10).into()) - 3.2).abs() < 1e-9);
    assert!((of(Typed { axes: vec![axis("seed", "1..3")], ..steps(10).into() }) - 9.6).abs() < 1e-9);
    let stops = vec![axis("stop-after", "2,5,10")];
    assert!((of(Typed { axes: stops, ..steps(10).into() }) - (10. * 0.15 + 3. * 1.7)).abs() < 1e-9);
    let large = GenerateRequest { width: Some(128), height: Some(64), ..steps(10) };
    assert!((of(large.into()) - 6.4).abs() < 1e-9);
    let job = submit(&mut session, "a fox");
    session.apply(&EngineEvent::Failed { job, error: "no".into(), refused: false });
    assert_eq!(session.picture(None).unwrap().id, JobId(2), "a failed one is not the current one");
}

#[test]
fn references_and_seeds_of_earlier_pictures() {
    let mut session = Session::new(GenerateRequest::default());
    let mut typed = prompt("a fox");
    for seed in [11, 22, 33] {
        typed.request.seed = Some(Seed::Fixed(seed));
        let plan = session.plan("", &typed).unwrap();
        session.submit(&plan);
    }
    typed.request.seed = Some(Seed::Previous(1));
    assert_eq!(seeds(&session.plan("", &typed).unwrap()), [33]);
    typed.request.seed = Some(Seed::Previous(3));
    assert_eq!(seeds(&session.plan("", &typed).unwrap()), [11]);
    typed.request.seed = Some(Seed::Previous(4));
    assert!(matches!(session.plan("", &typed), Err(SessionError::NoPicture(_))));

    session.name(Some(&Reference::Number(JobId(2))), "hero").unwrap();
    let id = |text: &str| session.picture(Some(&Reference::parse(text).unwrap())).map(|entry| entry.id.0);
    assert_eq!(id("$").unwrap(), 3);
    assert_eq!(id("$-2").unwrap(), 2);
    assert_eq!(id("$1").unwrap(), 1);
    assert_eq!(id("$@hero").unwrap(), 2);
    assert_eq!(
        id("$9").unwrap_err().to_string(),
        "there is no picture $9 in this session; /history lists them"
    );
}

#[test]
fn pictures_to_start_from_are_files_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("1.png");
    let mut session = Session::new(GenerateRequest::default());
    let mut typed = prompt("a fox");
    typed.request.image = Some("$".into());
    assert!(matches!(session.plan("", &typed), Err(SessionError::NothingYet)));
    let job = submit(&mut session, "a fox");
    assert!(matches!(session.plan("", &typed), Err(SessionError::NotFinished(_))));
    finish(&mut session, job, Some(file.clone()));
    assert!(matches!(session.plan("", &typed), Err(SessionError::Gone { .. })));
    std::fs::write(&file, "png").unwrap();
    let plan = session.plan("", &typed).unwrap();
    assert_eq!(plan.pictures[0].request.image.as_deref(), file.to_str());
    typed.request.image = Some("nowhere.png".into());
    assert!(matches!(session.plan("", &typed), Err(SessionError::NoFile(_))));
}

#[test]
fn changes_keep_the_seed_and_tell_what_they_change() {
    let mut session = Session::new(GenerateRequest { steps: Some(20), ..Default::default() });
    let change = |edit| Derivation { edit: Some(edit), ..Default::default() };
    let add = change(Edit::Add("rain".into()));
    assert!(matches!(session.derive("+ rain", &add, None), Err(SessionError::NothingYet)));
    let first = submit(&mut session, "a red fox");
    let seed = session.ledger().entry(first).unwrap().seed().unwrap();
    let plan = session.derive("+ rain", &add, None).unwrap();
    assert_eq!(plan.pictures[0].request.prompt, "a red fox, rain");
    assert_eq!(seeds(&plan), [seed]);
    assert_eq!(plan.parent, Some(first));
    assert_eq!(plan.diff.unwrap().to_string(), "a red [-fox-]{+fox, rain+}");
    assert_eq!(plan.changes, [""; 0]);

    let mut typed = Typed::default();
    typed.request.steps = Some(40);
    let plan = session.derive("-s 40", &Derivation { edit: None, typed }, None).unwrap();
    assert_eq!((plan.diff, plan.changes), (None, vec!["steps 20 → 40".to_owned()]));
    let missing = session.derive("- hat", &change(Edit::Remove("hat".into())), None);
    assert!(matches!(missing, Err(SessionError::Edit(EditError::NotThere { .. }))));
}

#[test]
fn back_and_branch_walk_the_tree() {
    let mut session = Session::new(GenerateRequest::default());
    let add = |words: &str| Derivation { edit: Some(Edit::Add(words.into())), ..Default::default() };
    submit(&mut session, "a dog");
    submit(&mut session, "a fox");
    for words in ["rain", "night"] {
        let plan = session.derive("", &add(words), None).unwrap();
        session.submit(&plan);
    }
    assert_eq!(session.back(2).unwrap().id, JobId(2));
    let plan = session.derive("", &add("sun"), None).unwrap();
    session.submit(&plan);
    session.rate(Some(&Reference::Number(JobId(3))), Some(3)).unwrap();
    insta::assert_snapshot!(tree::draw(session.ledger()).join("\n"), @"
    ○ #1 a dog [queued]
    ○ #2 a fox [queued]
    ├─○ #3 a fox, rain ★★★ [queued]
    │ └─○ #4 a fox, rain, night [queued]
    └─● #5 a fox, sun [queued]
    ");
    assert_eq!(session.back(1).unwrap().id, JobId(2));
    assert_eq!(session.back(1).unwrap().id, JobId(1), "without a parent, the one before");
    assert!(matches!(session.back(1), Err(SessionError::NoneBefore(_))));
    assert_eq!(session.make_current(JobId(4)).unwrap().id, JobId(4));
    assert!(session.make_current(JobId(9)).is_err());
}

#[test]
fn sweeps_unfold_with_what_is_costly_outside() {
    let mut session = Session::new(GenerateRequest::default());
    let mut typed = prompt("a {red|blue} fox");
    typed.axes = vec![axis("steps", "10,20"), axis("model", "a,b"), axis("seed", "1..2")];
    let plan = session.plan("the line", &typed).unwrap();
    assert_eq!(plan.pictures.len(), 16);
    assert!(plan.sheet);
    let names: Vec<_> = plan.axes.iter().map(|axis| axis.name.as_str()).collect();
    assert_eq!(names, ["steps", "model", "{red|blue}", "seed"]);
    let order: Vec<_> = plan
        .pictures
        .iter()
        .map(|p| (p.request.model.clone().unwrap(), p.request.prompt.clone(), p.request.steps.unwrap()))
        .collect();
    assert!(order.is_sorted_by_key(|(model, ..)| model.clone()), "{order:?}");
    assert_eq!(seeds(&plan)[..4], [1, 2, 1, 2]);
    assert_eq!(plan.pictures[2].cell, [1, 0, 0, 0], "the seed changes first, then the steps");
    assert_eq!(plan.pictures[15].cell, [1, 1, 1, 1]);

    let jobs = session.submit(&plan);
    let batch = session.ledger().batch(jobs[0].id).unwrap();
    assert_eq!(batch.label(jobs[15].id), "steps 20 · model b · blue · seed 2");
    for job in &jobs[..15] {
        assert_eq!(finish(&mut session, job.id, None), None);
    }
    let sheet = finish(&mut session, jobs[15].id, None).expect("the sheet is complete");
    assert_eq!(sheet.jobs().count(), 16);
}

#[test]
fn several_pictures_have_seeds_in_a_row_and_numbered_files() {
    let session = Session::new(GenerateRequest::default());
    let mut typed = prompt("a fox");
    typed.request.num_images = Some(3);
    typed.request.seed = Some(Seed::Fixed(u64::MAX));
    typed.request.output = Some("out/fox.png".into());
    let plan = session.plan("", &typed).unwrap();
    assert_eq!(seeds(&plan), [u64::MAX, 0, 1]);
    assert!(!plan.sheet);
    let outputs: Vec<_> = plan.pictures.iter().map(|p| p.request.output.clone().unwrap()).collect();
    assert_eq!(outputs, ["out/fox-1.png", "out/fox-2.png", "out/fox-3.png"].map(PathBuf::from));
    assert_eq!(plan.pictures[0].request.num_images, None);
    typed.request.grid = Some(true);
    assert!(session.plan("", &typed).unwrap().sheet);
    typed.request.output = Some("-".into());
    assert!(matches!(session.plan("", &typed), Err(SessionError::OneToStdout)));
    typed.axes = vec![axis("seed", "1..4")];
    assert!(matches!(session.plan("", &typed), Err(SessionError::SeedsTwice)));
}

#[test]
fn variations_mix_in_other_seeds() {
    let mut session = Session::new(GenerateRequest::default());
    let job = submit(&mut session, "a {fox|fox}");
    let plan = session.vary("/vary", Some(&Reference::Number(job)), 4, 0.1).unwrap();
    assert_eq!(plan.pictures.len(), 4);
    let others: std::collections::BTreeSet<_> =
        plan.pictures.iter().map(|p| p.request.variation_seed.unwrap()).collect();
    assert_eq!(others.len(), 4);
    assert!(plan.pictures.iter().all(|p| p.request.variation == Some(0.1)));
    assert!(session.vary("/vary", None, 1, 1.5).is_err());
}

#[test]
fn a_session_reads_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::create(folder.path(), GenerateRequest::default()).unwrap();
    let mut typed = prompt("a {red|blue} fox");
    typed.request.guidance_scale = Some(0.1 + 0.2);
    session.typed("a {red|blue} fox");
    let plan = session.plan("a {red|blue} fox", &typed).unwrap();
    let jobs = session.submit(&plan);
    finish(&mut session, jobs[0].id, Some("1.png".into()));
    session.rate(None, Some(5)).unwrap();
    session.note(None, " good ").unwrap();
    session.name(None, "hero").unwrap();
    session.deleted(jobs[0].id);
    session.make_current(jobs[0].id).unwrap();
    session.set_settings(GenerateRequest { steps: Some(9), ..Default::default() });
    session.sync();

    let path = session.path().unwrap().to_owned();
    let (mut ledger, bad) = history::load(&path).unwrap();
    assert_eq!(bad, []);
    assert_eq!(&ledger, session.ledger(), "while it runs, its jobs still wait");
    assert!(matches!(Session::resume(&path, GenerateRequest::default()), Err(FileError::InUse { .. })));
    drop(session);
    ledger.abandon();
    let (resumed, bad) = Session::resume(&path, GenerateRequest::default()).unwrap();
    assert_eq!((resumed.ledger(), bad), (&ledger, vec![]));
    assert_eq!(resumed.ledger().entry(jobs[1].id).unwrap().state, JobState::Lost);
    assert_eq!(resumed.settings().steps, Some(9));
    assert_eq!(history::lines(folder.path(), 10), ["a {red|blue} fox"]);
}

/// Hands a running job's state over as the engine does.
fn hold(session: &mut Session, job: JobId) {
    session.apply(&EngineEvent::Started { job });
    let state = [1, 2, 3].as_slice().into();
    session.apply(&EngineEvent::Held { job, step: 9, steps: 20, state });
    session.apply(&EngineEvent::Ended { job });
}

#[test]
fn a_held_job_waits_on_disk_and_is_forgotten_when_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::create(folder.path(), GenerateRequest::default()).unwrap();
    let job = submit(&mut session, "a fox");
    hold(&mut session, job);
    assert_eq!(session.ledger().entry(job).unwrap().state, JobState::Held { step: 9, steps: 20 });
    assert_eq!(session.picture(None).unwrap().id, job, "it may still become a picture");
    let path = session.path().unwrap().to_owned();
    let file = path.with_extension("1.held");
    assert_eq!(std::fs::read(&file).unwrap(), [1, 2, 3]);
    drop(session);

    let (mut session, _) = Session::resume(&path, GenerateRequest::default()).unwrap();
    assert_eq!(session.held_jobs().collect::<Vec<_>>(), [job]);
    let taken = session.take_up(job).unwrap();
    assert_eq!(
        (taken.job.id, taken.job.request.prompt.as_str(), &*taken.state),
        (job, "a fox", &[1, 2, 3][..])
    );
    assert!(matches!(session.take_up(job), Err(SessionError::NotHeld { state: "queued", .. })));
    session.apply(&EngineEvent::Started { job });
    drop(session);

    // The program died while it went on: it is back where it was held.
    let (mut session, _) = Session::resume(&path, GenerateRequest::default()).unwrap();
    session.take_up(job).unwrap();
    finish(&mut session, job, None);
    assert!(!file.exists());
    drop(session);
    let (session, _) = Session::resume(&path, GenerateRequest::default()).unwrap();
    assert_eq!(session.ledger().entry(job).unwrap().state, JobState::Finished);
}

#[test]
fn without_a_file_a_held_job_waits_in_memory() {
    let mut session = Session::new(GenerateRequest::default());
    let job = submit(&mut session, "a fox");
    hold(&mut session, job);
    assert_eq!(&*session.take_up(job).unwrap().state, &[1, 2, 3]);
}

#[test]
fn a_held_state_that_is_gone_says_how_to_make_it_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::create(folder.path(), GenerateRequest::default()).unwrap();
    let job = submit(&mut session, "a fox");
    hold(&mut session, job);
    let path = session.path().unwrap().to_owned();
    drop(session);
    std::fs::remove_file(path.with_extension("1.held")).unwrap();
    let (mut session, _) = Session::resume(&path, GenerateRequest::default()).unwrap();
    let error = session.take_up(job).unwrap_err().to_string();
    assert!(
        error.contains("$1 cannot go on where it was held") && error.ends_with("type /rerun $1"),
        "{error}"
    );
}

#[test]
fn what_is_kept_learns_where_that_was_and_is_not_the_current_picture() {
    let mut session = Session::new(GenerateRequest::default());
    assert!(matches!(session.keep("/keep"), Err(SessionError::NothingRuns)));
    let job = submit(&mut session, "a fox");
    session.apply(&EngineEvent::Started { job });
    let (running, kept) = session.keep("/keep").unwrap();
    assert_eq!((running, kept), (job, JobId(2)));
    assert_eq!(session.picture(None).unwrap().id, job);
    let mut stopped = params(&session.ledger().entry(kept).unwrap().request);
    stopped.stop_after = Some(9);
    finish(&mut session, kept, None);
    // The recipe that the engine gives it says so.
    let entry = session.ledger().entry(kept).unwrap();
    let recipe = Recipe { params: stopped, ..entry.recipe.clone().unwrap() };
    session.record(What::Finished { job: kept, recipe: Box::new(recipe) });
    let entry = session.ledger().entry(kept).unwrap();
    assert_eq!((entry.parent, entry.request.stop_after), (Some(job), Some(9)));
}

#[test]
fn a_branch_keeps_where_it_comes_from_through_every_change() {
    let mut session = Session::new(GenerateRequest::default());
    let line = GenerateRequest { seed: Some(Seed::Fixed(5)), steps: Some(20), ..prompt("a fox").request };
    let plan = session.plan("a fox", &line.into()).unwrap();
    let job = session.submit(&plan)[0].id;
    finish(&mut session, job, None);
    let change = |request: GenerateRequest| Derivation { edit: None, typed: request.into() };
    let night = change(prompt("at night").request);
    let plan = session.branch("/branch @9 at night", &night, None, 9).unwrap();
    let request = &plan.pictures[0].request;
    let branch = request.branch.as_ref().unwrap();
    assert_eq!((request.prompt.as_str(), branch.step, branch.of.prompt.as_str()), ("at night", 9, "a fox"));
    assert_eq!(plan.changes[0], "from step 9 of #1", "its prompt is in the difference");
    session.submit(&plan);

    let rain = Derivation { edit: Some(Edit::Add("rain".into())), ..Derivation::default() };
    let child = session.derive("+ rain", &rain, None).unwrap();
    let again = &child.pictures[0].request;
    assert_eq!((again.prompt.as_str(), again.branch.as_ref()), ("at night, rain", Some(branch)));
    let other = GenerateRequest { seed: Some(Seed::Fixed(6)), ..Default::default() };
    let child = session.derive("-S 6", &change(other), None).unwrap();
    assert_eq!(child.pictures[0].request.branch.as_ref().unwrap().of.seed, Some(Seed::Fixed(6)));

    let wide = change(GenerateRequest { width: Some(640), ..Default::default() });
    let error = session.branch("", &wide, None, 9).unwrap_err().to_string();
    assert!(error.starts_with("width cannot change in the middle of a picture"), "{error}");
}
