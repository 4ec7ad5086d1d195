//! Time travel: every run goes on from any of its steps to the bit, and no step is done twice.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use candle_core::{DType, Device};
use tintype::diffusion::device::{DTypeChoice, DeviceChoice};
use tintype::diffusion::moment::{Moment, Past};
use tintype::diffusion::pipeline::{Measures, Pipeline, PipelineConfig};
use tintype::diffusion::schedulers::SchedulerName;
use tintype::engine::local::{EngineOptions, LocalBackend, MemoryOptions, OutputOptions};
use tintype::engine::{EngineEvent, EngineHandle, Job, spawn};
use tintype::paths::HubAccess;
use tintype::request::{Branch, GenerateRequest, JobId, Picture, Recipe, Seed};
use tintype::store::{ResolveOptions, resolve};

use crate::pty::fake_terminal::{FakeTerminal, KITTY};

fn model() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines/sd15").to_str().unwrap().into()
}

fn request(steps: u32) -> GenerateRequest {
    GenerateRequest {
        prompt: "a lighthouse at night".into(),
        negative_prompt: Some("fog".into()),
        model: Some(model()),
        scheduler: Some("dpmpp_2m_sde".into()),
        steps: Some(steps),
        guidance_scale: Some(3.),
        seed: Some(Seed::Fixed(7)),
        width: Some(64),
        height: Some(64),
        output: Some("-".into()),
        ..GenerateRequest::default()
    }
}

#[test]
fn every_scheduler_goes_on_from_every_step_to_the_bit() {
    let options =
        ResolveOptions { offline: true, hub: HubAccess::new(|_| None), ..ResolveOptions::default() };
    let checkpoint = resolve(Some(&model()), &options, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    let config = Arc::new(PipelineConfig::read(checkpoint).unwrap());
    let pipeline = Pipeline::load(config.clone(), &Device::Cpu, DType::F32, None).unwrap();
    let measures = Measures::default();
    let mut moments_seen = 0;
    for name in SchedulerName::all() {
        let request = GenerateRequest {
            scheduler: Some(name.to_string()),
            eta: Some(0.5),
            guidance_scale: Some(1.),
            ..request(4)
        };
        let Ok(params) = config.resolve(&request, 7) else { continue };
        let embeds = pipeline.encode_prompt(&params, &measures).unwrap();
        let mut moments = Vec::new();
        let start = pipeline.start(&params, None, &measures).unwrap();
        let whole = pipeline
            .denoise(&params, &embeds, start, &measures, &mut |report| {
                moments.push(report.moment(Past::default()));
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        let facts = serde_json::to_value(&params).unwrap();
        // Other sigmas are the same algorithm: one step in the middle is enough for them.
        let plain = name.to_string() == name.info.name;
        let kept = moments.len() / 2;
        for moment in moments.into_iter().filter(|moment| plain || moment.step() == kept) {
            let bytes = moment.to_bytes(&facts).unwrap();
            let again = Moment::from_bytes(&bytes, &facts, whole.len()).unwrap();
            let step = again.step();
            let start = again.start(&config, &params).unwrap();
            let mut steps = step;
            let rest = pipeline.denoise(&params, &embeds, start, &measures, &mut |report| {
                steps += 1;
                assert_eq!(report.step, steps, "{name}");
                std::ops::ControlFlow::Continue(())
            });
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&rest.unwrap()), bits(&whole), "{name} from step {step}");
            moments_seen += 1;
        }
    }
    assert!(moments_seen >= 4 * 14, "{moments_seen}: schedulers were left out");
}

/// An engine with nothing in it.
struct Engine {
    handle: Arc<Mutex<Option<EngineHandle>>>,
    events: Receiver<EngineEvent>,
    next: u64,
}

/// What came of a job.
#[derive(Debug, Default)]
struct Made {
    pictures: Vec<(Recipe, Picture)>,
    /// The numbers of the steps that were done.
    steps: Vec<u32>,
    error: Option<String>,
    held: Option<(u32, u32, Arc<[u8]>)>,
    notices: Vec<String>,
}

impl Made {
    fn hash(&self) -> &str {
        &self.pictures.last().unwrap_or_else(|| panic!("{self:?}")).0.pixels_sha256
    }

    fn recipe(&self) -> &Recipe {
        &self.pictures.last().unwrap_or_else(|| panic!("{self:?}")).0
    }
}

impl Engine {
    fn new() -> Self {
        Self::watched(|_, _| {})
    }

    /// `on_event` is called on the engine's thread, so that what it asks for comes at the very step.
    fn watched(on_event: impl Fn(&EngineHandle, &EngineEvent) + Send + Sync + 'static) -> Self {
        let options = EngineOptions {
            device: DeviceChoice::Cpu,
            dtype: DTypeChoice::F32,
            offline: true,
            hub: HubAccess::new(|_| None),
            output: OutputOptions::new(std::env::temp_dir(), "travel"),
            known_hashes: None,
            starts: None,
            previews: false,
            memory: MemoryOptions::default(),
        };
        let (sender, events) = channel();
        let handle = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&handle);
        let engine = spawn(
            move || LocalBackend::new(options),
            move |event| {
                if let EngineEvent::Step { .. } = event
                    && let Some(engine) = &*shared.lock().unwrap()
                {
                    on_event(engine, &event);
                }
                let _ = sender.send(event);
            },
        );
        *handle.lock().unwrap() = Some(engine.unwrap());
        Self { handle, events, next: 1 }
    }

    fn make(&mut self, request: &GenerateRequest) -> Made {
        self.make_from(request, None)
    }

    fn make_from(&mut self, request: &GenerateRequest, held: Option<Arc<[u8]>>) -> Made {
        let id = JobId(self.next);
        self.next += 1;
        let job = Job { id, request: request.clone() };
        if let Some(engine) = &*self.handle.lock().unwrap() {
            match held {
                Some(state) => engine.resume(job, state),
                None => engine.submit(job),
            }
        }
        self.wait(id)
    }

    fn make_anew(&mut self, request: &GenerateRequest) -> Made {
        let id = JobId(self.next);
        self.next += 1;
        self.handle.lock().unwrap().as_ref().unwrap().submit_anew(Job { id, request: request.clone() });
        self.wait(id)
    }

    fn wait(&self, id: JobId) -> Made {
        let mut made = Made::default();
        loop {
            match self.events.recv_timeout(Duration::from_mins(2)).unwrap() {
                EngineEvent::Finished { recipe, picture, .. } => made.pictures.push((*recipe, picture)),
                EngineEvent::Step { step, .. } => made.steps.push(step),
                EngineEvent::Failed { error, .. } => made.error = Some(error),
                EngineEvent::Notice { text, .. } => made.notices.push(text),
                EngineEvent::Held { step, steps, state, .. } => made.held = Some((step, steps, state)),
                EngineEvent::Ended { job } if job == id => return made,
                _ => {}
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The closure that the engine calls holds on to it, too.
        let engine = self.handle.lock().unwrap().take();
        drop(engine);
    }
}

#[test]
fn what_is_known_is_not_computed_again() {
    let mut engine = Engine::new();
    let first = engine.make(&request(6));
    assert_eq!((first.steps.len(), first.recipe().reused.steps), (6, 0));
    assert!(!first.recipe().reused.embeddings);
    assert_eq!(first.recipe().latents.len(), 7);

    let again = engine.make(&request(6));
    assert_eq!((again.steps.len(), again.hash()), (0, first.hash()));
    let reused = again.recipe().reused;
    assert!(reused.steps == 6 && reused.of == 6 && reused.embeddings && reused.seconds > 0., "{reused:?}");
    assert_eq!(again.recipe().latents, first.recipe().latents);

    // What is to prove something is done anew, and the same.
    let proof = engine.make_anew(&request(6));
    assert_eq!((proof.steps.len(), proof.recipe().reused.steps, proof.hash()), (6, 0, first.hash()));

    // Another seed shares the texts, another negative prompt the prompt's.
    let other = engine.make(&GenerateRequest { seed: Some(Seed::Fixed(8)), ..request(6) });
    assert_eq!((other.steps.len(), other.recipe().reused.steps), (6, 0));
    assert!(other.recipe().reused.embeddings && other.hash() != first.hash());

    // A sweep over where it stops does each step once, but for the one whose expectation is wanted.
    let mut fresh = Engine::new();
    let mut done = Vec::new();
    for stop in [2, 4, 6] {
        let made = fresh.make(&GenerateRequest { stop_after: Some(stop), ..request(6) });
        done.extend(made.steps.clone());
        if stop == 6 {
            assert_eq!(made.hash(), first.hash());
        }
    }
    assert_eq!(done, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn texts_outlive_the_model() {
    let mut engine = Engine::new();
    engine.make(&request(2));
    engine.handle.lock().unwrap().as_ref().unwrap().unload();
    let again = engine.make(&GenerateRequest { seed: Some(Seed::Fixed(1)), ..request(2) });
    assert!(again.recipe().reused.embeddings && again.recipe().timings.load > 0.);
}

#[test]
fn a_cancelled_job_goes_on_where_it_was() {
    let whole = Engine::new().make(&request(6));
    let mut engine = Engine::watched(|engine, event| {
        if let EngineEvent::Step { job: JobId(1), step: 3, .. } = event {
            engine.cancel(JobId(1));
        }
    });
    let cancelled = engine.make(&request(6));
    assert_eq!((cancelled.steps, cancelled.pictures.len()), (vec![1, 2, 3], 0));
    let again = engine.make(&request(6));
    assert_eq!((again.steps.as_slice(), again.hash()), (&[4, 5, 6][..], whole.hash()));
    assert_eq!(again.recipe().latents, whole.recipe().latents);
    assert_eq!(again.recipe().reused.steps, 3);
}

#[test]
fn a_branch_shares_the_beginning_and_is_the_same_without_the_cache() {
    let branch = |prompt: &str| GenerateRequest {
        prompt: prompt.into(),
        guidance_scale: Some(5.),
        branch: Some(Branch { of: Box::new(request(6)), step: 4 }),
        ..request(6)
    };
    let mut engine = Engine::new();
    let parent = engine.make(&request(6));
    let child = engine.make(&branch("a lighthouse by day"));
    assert_eq!(child.steps, [5, 6], "{child:?}");
    assert_eq!((child.recipe().reused.steps, child.recipe().reused.of), (4, 6));
    assert_ne!(child.hash(), parent.hash());
    assert_eq!(child.recipe().latents[..5], parent.recipe().latents[..5]);
    let without = Engine::new().make(&branch("a lighthouse by day"));
    assert_eq!((without.hash(), without.steps.len()), (child.hash(), 6));
    // Unchanged, it is the parent: the noise goes on where it was.
    let same = GenerateRequest { branch: Some(Branch { of: Box::new(request(6)), step: 4 }), ..request(6) };
    assert_eq!(Engine::new().make(&same).hash(), parent.hash());
    // Its recipe says all of it.
    let again = tintype::gallery::metadata::tintype::request(&child.recipe().params);
    let again = GenerateRequest { output: Some("-".into()), ..again };
    assert_eq!(Engine::new().make(&again).hash(), child.hash());
    // A branch of the branch, before and after the point where that left.
    let deeper = |step| GenerateRequest {
        prompt: "a tower".into(),
        branch: Some(Branch { of: Box::new(branch("a lighthouse by day")), step }),
        ..request(6)
    };
    for (step, left) in [(2, vec![3, 4, 5, 6]), (5, vec![6])] {
        let made = engine.make(&deeper(step));
        assert_eq!(made.steps, left);
        assert_eq!(made.hash(), Engine::new().make(&deeper(step)).hash());
    }
}

#[test]
fn another_schedule_takes_over_where_the_noise_levels_meet() {
    let of = GenerateRequest { scheduler: Some("ddim".into()), ..request(6) };
    let branch = |scheduler: &str, steps| GenerateRequest {
        scheduler: Some(scheduler.into()),
        branch: Some(Branch { of: Box::new(of.clone()), step: 3 }),
        ..request(steps)
    };
    let mut engine = Engine::new();
    engine.make(&of);
    let made = engine.make(&branch("ddim", 12));
    assert_eq!(made.error, None);
    assert_eq!((made.steps.len(), made.recipe().reused.steps, made.recipe().reused.of), (5, 3, 8));
    assert!(
        made.notices.iter().any(|text| text.contains("takes over at step 8 of 12")),
        "{:?}",
        made.notices
    );
    // With other steps from the middle on, it is nearer to the same picture than one of other noise is.
    let plain = engine.make(&of);
    let pairs = plain.pictures[0].1.rgb.iter().zip(made.pictures[0].1.rgb.iter());
    let off = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / (64. * 64. * 3.);
    let noise = engine.make(&GenerateRequest { seed: Some(Seed::Fixed(99)), ..of.clone() });
    let pairs = plain.pictures[0].1.rgb.iter().zip(noise.pictures[0].1.rgb.iter());
    let chance = pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / (64. * 64. * 3.);
    assert!(off < chance, "{off} against {chance}");

    let refused = engine.make(&branch("ddim", 7)).error.unwrap();
    assert!(refused.contains("it fits with") && refused.contains("12"), "{refused}");
    let refused = engine.make(&GenerateRequest { seed: Some(Seed::Fixed(1)), ..branch("ddim", 6) });
    assert!(refused.error.unwrap().contains("draws no noise on the way"));
    let late = Branch { of: Box::new(of.clone()), step: 6 };
    let refused = engine.make(&GenerateRequest { branch: Some(late), ..of.clone() }).error.unwrap();
    assert!(refused.contains("type a step from 1 to 5"), "{refused}");
}

#[test]
fn a_picture_is_kept_on_the_way_and_changes_nothing() {
    let whole = Engine::new().make(&request(6));
    let mut engine = Engine::watched(|engine, event| {
        if let EngineEvent::Step { step: 3, .. } = event {
            engine.keep(JobId(1), JobId(50));
        }
    });
    let made = engine.make(&request(6));
    assert_eq!((made.steps.len(), made.hash()), (6, whole.hash()));
    let (kept, _) = &made.pictures[0];
    assert_eq!((kept.job, kept.params.stop_after), (JobId(50), Some(3)));
    let stopped = Engine::new().make(&GenerateRequest { stop_after: Some(3), ..request(6) });
    assert_eq!((stopped.hash(), stopped.steps.len()), (kept.pixels_sha256.as_str(), 3));
    assert_eq!(kept.latents, stopped.recipe().latents);
}

#[test]
fn a_held_job_goes_on_in_another_engine_to_the_bit() {
    let whole = Engine::new().make(&request(6));
    let mut engine = Engine::watched(|engine, event| {
        if let EngineEvent::Step { step: 2, .. } = event {
            engine.hold(JobId(1));
        }
    });
    let made = engine.make(&request(6));
    let (step, steps, state) = made.held.unwrap();
    assert_eq!((step, steps, made.pictures.len()), (2, 6, 0));
    let resumed = Engine::new().make_from(&request(6), Some(Arc::clone(&state)));
    assert_eq!((resumed.steps.as_slice(), resumed.hash()), (&[3, 4, 5, 6][..], whole.hash()));
    assert_eq!(resumed.recipe().latents, whole.recipe().latents);

    let other = Engine::new().make_from(&request(7), Some(Arc::clone(&state)));
    let error = other.error.unwrap();
    assert!(error.contains("steps was 6 and is 7") && error.contains("/rerun $1"), "{error}");
    let torn: Arc<[u8]> = state[..state.len() - 1].into();
    assert!(Engine::new().make_from(&request(6), Some(torn)).error.unwrap().contains("damaged"));
}

/// Lines through a pipe, and the paths that come back.
fn pipe(home: &Path, arguments: &[&str], lines: &str) -> Vec<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tintype"))
        .args(arguments)
        .env("TINTYPE_HOME", home)
        .env("HOME", home)
        .env_remove("HF_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_held_job_survives_the_program() {
    const LINE: &str = "a red circle -s 150 -A euler_ancestral -S 5 64x64";
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
    command
        .arg("--device=cpu")
        .env("TINTYPE_HOME", home.path())
        .env("HOME", home.path())
        .env_remove("HF_HOME");
    let mut terminal = FakeTerminal::start(command, KITTY, 100, 30);
    terminal.sees("tintype ›");
    terminal.keys(&format!("{LINE}\r"));
    terminal.sees("/150");
    terminal.keys("/hold\r");
    terminal.sees("/resume goes on");
    terminal.sees("of 150");
    terminal.keys("\x04");
    assert_eq!(terminal.exit().code(), Some(0));
    let sessions = || std::fs::read_dir(home.path().join("sessions")).unwrap();
    let held = || {
        let names = sessions().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".1.held")).count()
    };
    assert_eq!(held(), 1);

    let resumed = pipe(home.path(), &["--resume", "--device=cpu"], "/resume\n");
    let whole = pipe(home.path(), &["--device=cpu"], &format!("{LINE}\n"));
    let pixels = |path: &str| image::open(path).unwrap().into_rgb8();
    assert_eq!(pixels(&resumed[0]), pixels(&whole[0]));
    assert_eq!(held(), 0, "what is over is not held");
}

/// The prompt with its scripted engine, in a home of its own.
fn prompt(home: &Path, step: u32) -> FakeTerminal {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
    command.arg(format!("--fake={step}")).env("TINTYPE_HOME", home).env("HOME", home).env_remove("HF_HOME");
    let mut terminal = FakeTerminal::start(command, KITTY, 100, 40);
    terminal.sees("tintype ›");
    terminal
}

fn printed(terminal: &mut FakeTerminal, text: &str) {
    let start = std::time::Instant::now();
    loop {
        let history = terminal.history().join("\n");
        if history.contains(text) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{text} never came:\n{history}");
        terminal.rest(Duration::from_millis(10));
    }
}

#[test]
fn a_sheet_fills_in_place_and_one_is_picked() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompt(home.path(), 60);
    terminal.keys("a {red|blue} fox --steps 3,9 128x128 -S 4\r");
    terminal.until("labels of the axes", |terminal| {
        let screen = terminal.screen();
        let header = screen.lines().any(|line| line.contains("red") && line.contains("blue"));
        header && screen.contains("steps 3") && screen.contains("steps 9")
    });
    printed(&mut terminal, "contact sheet: ");
    let history = terminal.history().join("\n");
    for line in ["4 pictures: steps 3, 9 × {red|blue} red, blue", "1/4 steps 3 · red", "4/4 steps 9 · blue"]
    {
        assert!(history.contains(line), "{line} in\n{history}");
    }
    let made = crate::repl::files(&home.path().join("pictures"));
    let (sheets, pictures): (Vec<_>, Vec<_>) =
        made.iter().partition(|file| file.ends_with("contact-sheet.png"));
    assert_eq!((sheets.len(), pictures.len()), (1, 4), "{made:?}");
    assert_eq!(sheets[0].parent(), pictures[0].parent(), "it lies beside its pictures");
    let sheet = image::open(sheets[0]).unwrap().into_rgb8();
    let shown = terminal.pictures(0);
    assert!(shown.iter().any(|picture| picture.pixels == sheet), "the sheet is in the scrollback");
    terminal.keys("/pick 3\r");
    printed(&mut terminal, "picked #");
    printed(&mut terminal, "● steps            9");
    terminal.keys("+ rain\r");
    printed(&mut terminal, "a red fox, rain");
    terminal.keys("\x04");
    assert_eq!(terminal.exit().code(), Some(0));
}

#[test]
fn a_picture_is_shown_beside_the_one_it_was_made_from() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompt(home.path(), 10);
    terminal.keys("a dog -s 2 128x128\r");
    printed(&mut terminal, "#1 seed ");
    terminal.keys("s/dog/fox/\r");
    printed(&mut terminal, "#1 → #2");
    let shown = terminal.pictures(0);
    let (width, height) = (128 + 4 + 128, 128);
    assert!(shown.iter().any(|picture| picture.pixels.dimensions() == (width, height)), "side by side");
    terminal.keys("\x04");
    assert_eq!(terminal.exit().code(), Some(0));
}

#[test]
fn what_runs_is_kept_by_a_key_held_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let mut terminal = prompt(home.path(), 30);
    terminal.keys("a fox -s 100 128x128\r");
    terminal.sees("/100");
    // On a line with something on it the key does what it does for readline.
    terminal.keys("a cat\x01\x0b");
    terminal.rest(Duration::from_millis(200));
    terminal.until("an empty line", |terminal| !terminal.screen().contains("a cat"));
    assert!(!terminal.history().join("\n").contains("/keep"));
    terminal.keys("\x0b");
    printed(&mut terminal, "#2 seed ");
    assert!(!terminal.history().join("\n").contains("#1 seed "), "it goes on");
    terminal.keys("/hold\r");
    printed(&mut terminal, "#1 held after step ");
    terminal.keys("/tree\r");
    printed(&mut terminal, "#1 a fox [held]");
    terminal.keys("/resume\r");
    printed(&mut terminal, "#1 seed ");
    terminal.keys("\x04");
    assert_eq!(terminal.exit().code(), Some(0));
}
