//! Jobs that run out of memory or of precision, with tiny checkpoints whose weights are scaled until f16 overflows.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use candle_core::{DType, Device, DeviceLocation, Tensor};
use tintype::diffusion::device::{DTypeChoice, DeviceChoice};
use tintype::diffusion::memory_plan::{Budget, MemoryPlan, Planner, Site, WayOut};
use tintype::diffusion::models::autoencoder_kl::Tiling;
use tintype::diffusion::pipeline::{Measures, Pipeline, PipelineConfig};
use tintype::diffusion::watchdog::{InjectedFault, WatchedPhase};
use tintype::engine::local::{EngineOptions, LocalBackend, MemoryOptions, OutputOptions};
use tintype::engine::{Choice, EngineEvent, Job, Phase, spawn};
use tintype::paths::HubAccess;
use tintype::request::{
    AttentionSlicing, GenerateParams, GenerateRequest, ImageSize, JobId, MemoryBudget, MemoryWishes, Picture,
    Recipe, Seed, VaeTiling,
};
use tintype::store::{ResolveOptions, resolve};
use tintype::telemetry::fake::FakeProbe;
use tintype::telemetry::{MemSample, Pressure};

use crate::pty::fake_terminal::KITTY;
use crate::repl::Repl;

const GIB: u64 = 1 << 30;

/// A machine with room for everything.
fn roomy() -> MemSample {
    MemSample { memory_limit: 64 * GIB, memory_used: GIB, footprint: GIB / 8, ..MemSample::default() }
}

struct Outcome {
    events: Vec<EngineEvent>,
    pictures: Vec<(Recipe, Picture)>,
    error: Option<(String, bool)>,
}

impl Outcome {
    fn one(&self) -> &(Recipe, Picture) {
        assert_eq!(self.error, None);
        &self.pictures[0]
    }

    fn notices(&self) -> Vec<&str> {
        self.events
            .iter()
            .filter_map(|event| match event {
                EngineEvent::Notice { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }
}

fn options(dtype: DTypeChoice, memory: MemoryOptions) -> EngineOptions {
    let mut memory = memory;
    memory.probe.get_or_insert_with(|| FakeProbe::new(roomy()));
    EngineOptions {
        device: DeviceChoice::Cpu,
        dtype,
        offline: true,
        hub: HubAccess::new(|_| None),
        output: OutputOptions::new(std::env::temp_dir(), "memory"),
        known_hashes: None,
        starts: None,
        previews: false,
        memory,
    }
}

fn request(model: &Path) -> GenerateRequest {
    GenerateRequest {
        prompt: "a lighthouse at night".into(),
        model: Some(model.to_str().unwrap().into()),
        steps: Some(3),
        guidance_scale: Some(3.),
        seed: Some(Seed::Fixed(7)),
        width: Some(64),
        height: Some(64),
        output: Some("-".into()),
        ..GenerateRequest::default()
    }
}

fn run(options: EngineOptions, requests: &[GenerateRequest]) -> Vec<Outcome> {
    run_watched(options, requests, |_| {})
}

fn run_watched(
    options: EngineOptions,
    requests: &[GenerateRequest],
    on_event: impl Fn(&EngineEvent) + Send + Sync + 'static,
) -> Vec<Outcome> {
    let (sender, events) = mpsc::channel();
    let engine = spawn(
        move || LocalBackend::new(options),
        move |event| {
            on_event(&event);
            let _ = sender.send(event);
        },
    )
    .unwrap();
    let mut outcomes = Vec::new();
    for (id, request) in (1..).map(JobId).zip(requests) {
        engine.submit(Job { id, request: request.clone() });
        let mut outcome = Outcome { events: Vec::new(), pictures: Vec::new(), error: None };
        loop {
            let event = events.recv_timeout(Duration::from_mins(2)).unwrap();
            match &event {
                EngineEvent::Finished { recipe, picture, .. } => {
                    outcome.pictures.push(((**recipe).clone(), picture.clone()));
                }
                EngineEvent::Failed { error, refused, .. } => outcome.error = Some((error.clone(), *refused)),
                _ => {}
            }
            let ended = matches!(event, EngineEvent::Ended { .. });
            outcome.events.push(event);
            if ended {
                break;
            }
        }
        outcomes.push(outcome);
    }
    outcomes
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines").join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The fixture with every weight of `file` whose name `wanted` likes times `factor`.
fn scaled(file: &str, wanted: impl Fn(&str) -> bool, factor: f64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("sd15"), folder.path());
    let path = folder.path().join(file);
    let mut tensors: HashMap<String, Tensor> = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let mut found = 0;
    for (name, tensor) in &mut tensors {
        if wanted(name) {
            // In f32: what half precision cannot hold must still be right in the file.
            *tensor = (tensor.to_dtype(DType::F32).unwrap() * factor).unwrap();
            found += 1;
        }
    }
    assert!(found > 0, "nothing to scale");
    candle_core::safetensors::save(&tensors, &path).unwrap();
    folder
}

/// Mean difference of two pictures' bytes.
fn difference(a: &Picture, b: &Picture) -> f64 {
    assert_eq!(a.size, b.size);
    let sum: u64 = a.rgb.iter().zip(b.rgb.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.rgb.len() as f64
}

/// Runs a damaged checkpoint in f16 and in f32; the f16 picture must be right and `said` must have been said.
fn overflow(folder: &Path, said: &[&str]) -> Recipe {
    let right = run(options(DTypeChoice::F32, MemoryOptions::default()), &[request(folder)]);
    let saved = run(options(DTypeChoice::F16, MemoryOptions::default()), &[request(folder)]);
    let (_, right) = right[0].one();
    let (recipe, picture) = saved[0].one();
    let off = difference(right, picture);
    println!("off by {off} of 255; {:?}", recipe.notices);
    assert!(off < 3., "off by {off} of 255: {:?}", recipe.notices);
    for text in said {
        assert!(recipe.notices.iter().any(|notice| notice.contains(text)), "{text}: {:?}", recipe.notices);
    }
    assert_eq!(recipe.notices, saved[0].notices(), "the recipe keeps what was said");
    recipe.clone()
}

#[test]
fn half_precision_without_overflow_needs_no_help() {
    let recipe = overflow(&fixture("sd15"), &[]);
    assert_eq!((recipe.notices.len(), recipe.dtype.as_str()), (0, "f16"));
}

#[test]
fn attention_that_overflows_is_done_again_in_f32() {
    let queries = |name: &str| name.contains("mid_block") && name.ends_with("attn1.to_q.weight");
    let keys = |name: &str| name.contains("mid_block") && name.ends_with("attn1.to_k.weight");
    let folder =
        scaled("unet/diffusion_pytorch_model.safetensors", |name| queries(name) || keys(name), 4000.);
    let recipe = overflow(folder.path(), &["step 1: the UNet gave", "with attention in f32"]);
    assert_eq!((recipe.notices.len(), recipe.dtype.as_str()), (1, "f16"));
}

#[test]
fn a_unet_that_overflows_goes_to_f32() {
    let folder = scaled("unet/diffusion_pytorch_model.safetensors", |name| name == "conv_in.weight", 1e5);
    let recipe = overflow(
        folder.path(),
        &["with attention in f32", "step 1: the UNet gave", "with the whole UNet in f32"],
    );
    assert_eq!(recipe.dtype, "f32");
}

#[test]
fn a_vae_that_overflows_is_done_again_in_f32() {
    let file = "vae/diffusion_pytorch_model.safetensors";
    let folder = scaled(file, |name| name == "decoder.conv_in.weight", 1e5);
    let config = folder.path().join("vae/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"force_upcast\": true", "\"force_upcast\": false")).unwrap();
    overflow(folder.path(), &["the VAE gave", "in f16: done again in f32"]);
}

#[test]
fn a_text_encoder_that_overflows_is_done_again_in_f32() {
    let folder = scaled("text_encoder/model.safetensors", |name| name.ends_with("mlp.fc2.weight"), 3e5);
    overflow(folder.path(), &["the text encoder gave", "in f16: done again in f32"]);
}

#[test]
fn what_no_precision_helps_fails_and_writes_no_picture() {
    let folder =
        scaled("unet/diffusion_pytorch_model.safetensors", |name| name == "conv_out.weight", f64::NAN);
    let outcomes = run(
        options(DTypeChoice::F16, MemoryOptions::default()),
        &[request(folder.path()), request(&fixture("sd15"))],
    );
    let (error, refused) = outcomes[0].error.as_ref().unwrap();
    assert!(error.contains("even in f32") && error.contains("take another model") && !refused, "{error}");
    assert!(outcomes[0].pictures.is_empty());
    outcomes[1].one();
}

#[test]
fn a_picture_of_one_colour_is_never_silent() {
    let file = "vae/diffusion_pytorch_model.safetensors";
    let folder = scaled(file, |name| name == "decoder.conv_out.weight", 0.);
    let outcomes = run(options(DTypeChoice::F32, MemoryOptions::default()), &[request(folder.path())]);
    assert!(outcomes[0].one().0.notices[0].contains("one colour"), "{:?}", outcomes[0].notices());
}

/// Jobs in which the second op of every attempt at `phase` fails, `times` times.
fn with_faults(phase: WatchedPhase, times: u32, request: GenerateRequest) -> Outcome {
    let faults = vec![InjectedFault { phase, op: 2, times }];
    let memory = MemoryOptions { faults, ..MemoryOptions::default() };
    run(options(DTypeChoice::F32, memory), &[request]).remove(0)
}

#[test]
fn a_phase_that_fails_is_repeated_and_the_picture_is_the_same() {
    let undisturbed = run(options(DTypeChoice::F32, MemoryOptions::default()), &[request(&fixture("sd15"))]);
    let (undisturbed, right) = undisturbed[0].one();
    let calls = undisturbed.timings.steps.len();
    for (phase, name) in [
        (WatchedPhase::Encode, "the text encoder failed"),
        (WatchedPhase::Step, "the UNet at step 1 failed"),
        (WatchedPhase::Decode, "the VAE failed"),
    ] {
        let outcome = with_faults(phase, 2, request(&fixture("sd15")));
        let (recipe, picture) = outcome.one();
        let notices = outcome.notices();
        assert_eq!(notices.len(), 2, "{phase:?}: {notices:?}");
        assert!(notices[0].contains(name) && notices[0].contains("out of memory"), "{notices:?}");
        assert!(
            notices[0].contains("blocks of 64 MiB") && notices[1].contains("blocks of 16 MiB"),
            "{notices:?}"
        );
        // A VAE that failed twice goes on in tiles. None sees the whole, which a VAE of random weights minds more
        // than a trained one.
        let bound = if phase == WatchedPhase::Decode { 6. } else { 0.1 };
        let off = difference(right, picture);
        assert!(off < bound, "{phase:?}: off by {off} of 255");
        let steps = outcome.events.iter().filter(|event| matches!(event, EngineEvent::Step { .. })).count();
        assert_eq!((steps, recipe.timings.steps.len()), (calls, calls), "a step is repeated, not the job");
    }
}

#[test]
fn image_to_image_survives_a_failing_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("start.png");
    let rgb: Arc<[u8]> = (0..64 * 64 * 3).map(|i| (i % 251) as u8).collect();
    let picture = Picture { size: ImageSize::new(64, 64), rgb };
    std::fs::write(&path, tintype::gallery::png_file::encode(&picture, &[]).unwrap()).unwrap();
    let request = GenerateRequest { image: path.to_str().map(Into::into), ..request(&fixture("sd15")) };
    let outcome = with_faults(WatchedPhase::Start, 1, request);
    assert!(outcome.one().0.notices[0].contains("the VAE failed"));
}

#[test]
fn a_phase_that_fails_for_good_says_what_was_tried() {
    for phase in [WatchedPhase::Encode, WatchedPhase::Step, WatchedPhase::Decode] {
        let outcome = with_faults(phase, 4, request(&fixture("sd15")));
        let (error, refused) = outcome.error.as_ref().unwrap();
        assert!(error.contains("failed 4 times") && error.contains("tried: blocks of 64 MiB"), "{error}");
        assert!(error.contains("smaller picture") && !refused, "{error}");
        assert!(outcome.pictures.is_empty());
    }
}

#[test]
fn pressure_and_growing_swap_tighten_the_run_and_are_told() {
    let probe = FakeProbe::new(roomy());
    let told = probe.clone();
    let memory = MemoryOptions { probe: Some(probe), ..MemoryOptions::default() };
    let outcomes =
        run_watched(options(DTypeChoice::F32, memory), &[request(&fixture("sd15"))], move |event| {
            if let EngineEvent::Step { step, .. } = event {
                told.change(|sample| match step {
                    1 => sample.swap_used = 300 << 20,
                    _ => sample.pressure = Pressure::Warn,
                });
            }
        });
    let (recipe, _) = outcomes[0].one();
    let notices = outcomes[0].notices();
    assert!(notices[0].contains("swap has grown by 300 MiB: going on from step 2"), "{notices:?}");
    assert!(notices[1].contains("short of memory: going on from step 3"), "{notices:?}");
    assert_eq!(recipe.swap_grown, 300 << 20);
    assert!(outcomes[0].events.iter().any(|event| matches!(event, EngineEvent::Memory(_))));
}

#[test]
fn every_phase_has_its_peak() {
    let mut options = options(DTypeChoice::F32, MemoryOptions::default());
    options.memory.probe = None;
    let outcomes = run(options, &[request(&fixture("sd15"))]);
    let memory = &outcomes[0].one().0.memory;
    for phase in ["load", "encode", "step", "decode"] {
        assert!(memory[phase].peak > 1 << 20, "{phase}: {memory:?}");
    }
}

fn planned<T>(
    folder: &Path,
    size: u32,
    site: Site,
    with: impl FnOnce(&Planner<'_>, &GenerateParams) -> T,
) -> T {
    let checkpoint =
        resolve(folder.to_str(), &ResolveOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    let config = PipelineConfig::read(checkpoint).unwrap();
    let request = GenerateRequest { width: Some(size), height: Some(size), ..request(folder) };
    let params = config.resolve(&request, 0).unwrap();
    with(&Planner::new(&config, site).unwrap(), &params)
}

fn free(bytes: u64) -> Budget {
    Budget { bytes, source: "of memory free".into() }
}

fn plan_of(folder: &Path, size: u32, site: Site, wishes: MemoryWishes, budget: Option<u64>) -> MemoryPlan {
    planned(folder, size, site, |planner, params| planner.plan(params, &wishes, budget.map(free)))
}

fn gpu() -> Site {
    Site { dtype: DType::F16, location: DeviceLocation::Cuda { gpu_id: 0 }, threads: 2, base: 0 }
}

#[test]
fn a_plan_cuts_only_what_it_must() {
    let folder = fixture("sd15");
    let whole = plan_of(&folder, 512, gpu(), MemoryWishes::default(), None);
    assert_eq!((whole.cuts.len(), whole.notice()), (0, None));
    let needs = whole.largest().total();
    let enough = plan_of(&folder, 512, gpu(), MemoryWishes::default(), Some(needs));
    assert!(enough.cuts.is_empty());

    let tight = plan_of(&folder, 512, gpu(), MemoryWishes::default(), Some(needs / 2));
    assert!(tight.fits() && !tight.cuts.is_empty(), "{:?}", tight.describe());
    assert!(tight.notice().unwrap().contains(&tight.cuts[0]));
    let lines = tight.describe();
    assert!(lines[0].starts_with("512×512 takes ") && lines[0].contains("of memory free"), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("decode")), "{lines:?}");
}

#[test]
fn what_does_not_fit_has_ways_out_that_do() {
    let folder = fixture("sd15");
    let needs = plan_of(&folder, 512, gpu(), MemoryWishes::default(), None).largest().total();
    let wishes = MemoryWishes { vae_tiling: VaeTiling::Off, ..MemoryWishes::default() };
    planned(&folder, 512, gpu(), |planner, params| {
        let plan = planner.plan(params, &wishes, Some(free(needs / 16)));
        assert!(!plan.fits() && plan.shortage().contains("512×512 needs"), "{}", plan.shortage());
        let ways = planner.ways_out(params, &wishes, &plan);
        let [(WayOut::Smaller(size), bytes), (WayOut::Tiles, tiled), (WayOut::Anyway, anyway)] = ways[..]
        else {
            panic!("{ways:?}")
        };
        assert!(bytes <= needs / 16 && tiled < anyway && size.width < 512, "{ways:?}");
        let smaller = GenerateParams { size, ..params.clone() };
        assert!(planner.plan(&smaller, &wishes, Some(free(needs / 16))).fits());
    });
}

#[test]
fn what_is_read_and_encoded_is_planned_too() {
    let phases = |image: Option<&str>| -> Vec<(&'static str, u64)> {
        planned(
            &fixture("sd15"),
            512,
            Site { dtype: DType::F32, location: DeviceLocation::Cpu, ..gpu() },
            |planner, params| {
                let params = GenerateParams { image: image.map(Into::into), ..params.clone() };
                let plan = planner.plan(&params, &MemoryWishes::default(), None);
                plan.phases.iter().map(|cost| (cost.phase, cost.total())).collect()
            },
        )
    };
    let (without, with) = (phases(None), phases(Some("start.png")));
    let names = |phases: &[(&'static str, u64)]| phases.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(names(&without), ["load", "encode", "step", "decode"]);
    assert_eq!(names(&with), ["load", "encode", "encode_image", "step", "decode"]);
    assert!(without[0].1 > 0 && without[0].1 < without[1].1, "{without:?}");
    // at full resolution, three tensors of the first block's channels
    assert!(with[2].1 > 512 * 512 * 4 * 3 * 8, "{with:?}");
    assert!(with[4].1 > without[3].1, "the encoder's weights stay in memory");
}

#[test]
fn what_is_wished_for_is_kept() {
    let folder = fixture("sd15");
    let plan = |slicing, vae_tiling| {
        let wishes = MemoryWishes { attention_slicing: slicing, vae_tiling, ..MemoryWishes::default() };
        plan_of(&folder, 512, gpu(), wishes, None).measures
    };
    assert_eq!(plan(AttentionSlicing::Off, VaeTiling::Auto).limits.attention_bytes, usize::MAX);
    let one = plan(AttentionSlicing::Max, VaeTiling::Auto).limits.attention_bytes;
    assert_eq!(plan(AttentionSlicing::Heads(3), VaeTiling::Auto).limits.attention_bytes, 3 * one);
    assert!(plan(AttentionSlicing::Auto, VaeTiling::On).tiling.is_some());
    assert!(plan(AttentionSlicing::Auto, VaeTiling::Off).tiling.is_none());
}

#[test]
fn predictions_grow_with_what_is_asked() {
    let folder = fixture("sd15");
    let total = |size, site| plan_of(&folder, size, site, MemoryWishes::default(), None).largest().total();
    let cpu = Site { dtype: DType::F32, location: DeviceLocation::Cpu, ..gpu() };
    // On a GPU the bounded workspaces of attention and convolutions outweigh all else in so small a model.
    assert!(total(1024, gpu()) > total(512, gpu()));
    assert!(total(1024, cpu) > 2 * total(512, cpu));
    assert!(total(512, Site { dtype: DType::F32, ..gpu() }) > total(512, gpu()));
    assert!(total(512, Site { location: DeviceLocation::Metal { gpu_id: 0 }, ..gpu() }) >= total(512, gpu()));
}

#[test]
fn a_job_under_a_small_budget_makes_the_same_picture() {
    let plain = run(options(DTypeChoice::F32, MemoryOptions::default()), &[request(&fixture("sd15"))]);
    // Half of what the process holds already: everything is cut, nothing fits, and it goes ahead.
    let wishes = MemoryWishes { budget: MemoryBudget::Bytes(1 << 20), ..MemoryWishes::default() };
    let refused = run(
        options(DTypeChoice::F32, MemoryOptions { wishes, ..MemoryOptions::default() }),
        &[request(&fixture("sd15"))],
    );
    let (error, refusal) = refused[0].error.as_ref().unwrap();
    assert!(*refusal && error.contains("--memory-budget off"), "{error}");
    assert!(!refused[0].events.iter().any(|event| matches!(event, EngineEvent::PhaseStarted { .. })));

    let wishes = MemoryWishes { vae_tiling: VaeTiling::On, ..MemoryWishes::default() };
    let tiled = run(
        options(DTypeChoice::F32, MemoryOptions { wishes, ..MemoryOptions::default() }),
        &[request(&fixture("sd15"))],
    );
    // As above: a VAE of random weights minds tiles more than a trained one.
    let off = difference(&plain[0].one().1, &tiled[0].one().1);
    assert!(off < 6., "off by {off} of 255");
    let planned = plain[0]
        .events
        .iter()
        .any(|event| matches!(event, EngineEvent::Planned { plan, .. } if plan.len() > 3));
    assert!(planned);
}

#[test]
fn an_idle_engine_gives_its_model_back_and_takes_it_again() {
    let memory = MemoryOptions { release_after: Some(Duration::from_millis(1)), ..MemoryOptions::default() };
    let (sender, events) = mpsc::channel();
    let options = options(DTypeChoice::F32, memory);
    let engine = spawn(move || LocalBackend::new(options), move |event| drop(sender.send(event))).unwrap();
    let mut loads = 0;
    for id in [1, 2] {
        std::thread::sleep(Duration::from_millis(60));
        engine.submit(Job { id: JobId(id), request: request(&fixture("sd15")) });
        loop {
            match events.recv_timeout(Duration::from_mins(2)).unwrap() {
                EngineEvent::PhaseStarted { phase: Phase::Load, .. } => loads += 1,
                EngineEvent::Failed { error, .. } => panic!("{error}"),
                EngineEvent::Ended { .. } => break,
                _ => {}
            }
        }
    }
    assert_eq!(loads, 2);
}

/// Jobs one after the other on one engine, with something done before each.
fn loads(memory: MemoryOptions, jobs: &[(&str, bool)]) -> Vec<(usize, Vec<(Recipe, Picture)>)> {
    let (sender, events) = mpsc::channel();
    let options = options(DTypeChoice::F32, memory);
    let engine = spawn(move || LocalBackend::new(options), move |event| drop(sender.send(event))).unwrap();
    let mut done = Vec::new();
    for (id, (name, unload)) in (1..).map(JobId).zip(jobs) {
        if *unload {
            engine.unload();
        }
        engine.submit(Job { id, request: request(&fixture(name)) });
        let (mut loads, mut pictures) = (0, Vec::new());
        loop {
            match events.recv_timeout(Duration::from_mins(2)).unwrap() {
                EngineEvent::PhaseStarted { phase: Phase::Load, .. } => loads += 1,
                EngineEvent::Finished { recipe, picture, .. } => pictures.push((*recipe, picture)),
                EngineEvent::Failed { error, .. } => panic!("{error}"),
                EngineEvent::Ended { .. } => break,
                _ => {}
            }
        }
        done.push((loads, pictures));
    }
    done
}

#[test]
fn models_of_two_families_take_turns_within_the_budget() {
    let cpu = Site { dtype: DType::F32, location: DeviceLocation::Cpu, base: roomy().footprint, ..gpu() };
    let needs = |name| plan_of(&fixture(name), 64, cpu, MemoryWishes::default(), None).largest().total();
    let (small, large) = (needs("sd15"), needs("sdxl"));
    // Room for the larger one alone.
    let budget = MemoryBudget::Bytes(small.max(large));
    let wishes = MemoryWishes { budget, ..MemoryWishes::default() };
    let memory = MemoryOptions { wishes, ..MemoryOptions::default() };
    let done = loads(memory, &[("sd15", false), ("sdxl", false), ("sdxl", false), ("sd15", false)]);
    assert_eq!(done.iter().map(|(loads, _)| *loads).collect::<Vec<_>>(), [1, 1, 0, 1]);
    assert!(done[0].1[0].1 == done[3].1[0].1, "the first model again makes the same picture");
    for (recipe, _) in done.iter().flat_map(|(_, pictures)| pictures) {
        assert!(recipe.notices.is_empty(), "nothing had to be cut: {:?}", recipe.notices);
    }
}

#[test]
fn an_unloaded_model_is_loaded_again() {
    let done = loads(MemoryOptions::default(), &[("sd15", false), ("sd15", false), ("sd15", true)]);
    assert_eq!(done.iter().map(|(loads, _)| *loads).collect::<Vec<_>>(), [1, 0, 1]);
    assert!(done[0].1[0].1 == done[2].1[0].1);
}

#[test]
fn a_load_that_fails_goes_on_network_by_network() {
    let right = run(options(DTypeChoice::F32, MemoryOptions::default()), &[request(&fixture("sd15"))]);
    let faults = vec![InjectedFault { phase: WatchedPhase::Load, op: 40, times: 1 }];
    let memory = MemoryOptions { faults, ..MemoryOptions::default() };
    let requests = [request(&fixture("sd15")), request(&fixture("sd15"))];
    let outcomes = run(options(DTypeChoice::F32, memory), &requests);
    let notices = outcomes[0].notices();
    assert!(notices[0].contains("loading failed (out of memory") && notices[0].contains("one network"));
    for outcome in &outcomes {
        assert!(outcome.one().1 == right[0].one().1);
    }
}

/// Runs one request on an engine that may ask; `answer` is given the keys that it offers.
fn asked(wishes: MemoryWishes, answer: impl Fn(&[Choice]) -> Option<char>) -> Outcome {
    let (sender, events) = mpsc::channel();
    let options = options(DTypeChoice::F32, MemoryOptions { wishes, ask: true, ..MemoryOptions::default() });
    let engine = spawn(move || LocalBackend::new(options), move |event| drop(sender.send(event))).unwrap();
    engine.submit(Job { id: JobId(1), request: request(&fixture("sd15")) });
    let mut outcome = Outcome { events: Vec::new(), pictures: Vec::new(), error: None };
    loop {
        let event = events.recv_timeout(Duration::from_mins(2)).unwrap();
        match &event {
            EngineEvent::Asked { choices, .. } => match answer(choices) {
                // A key that means nothing is no answer.
                Some(key) => ['?', key].into_iter().for_each(|key| engine.answer(key)),
                None => drop(engine.cancel(JobId(1))),
            },
            EngineEvent::Finished { recipe, picture, .. } => {
                outcome.pictures.push(((**recipe).clone(), picture.clone()));
            }
            EngineEvent::Failed { error, refused, .. } => outcome.error = Some((error.clone(), *refused)),
            _ => {}
        }
        let ended = matches!(event, EngineEvent::Ended { .. });
        outcome.events.push(event);
        if ended {
            return outcome;
        }
    }
}

#[test]
fn what_does_not_fit_is_made_as_the_person_chooses() {
    let cpu = Site { dtype: DType::F32, location: DeviceLocation::Cpu, base: roomy().footprint, ..gpu() };
    let folder = fixture("sd15");
    let tight = |size| {
        let wishes = MemoryWishes { vae_tiling: VaeTiling::Off, ..MemoryWishes::default() };
        // Whatever is cut, this much is needed.
        plan_of(&folder, size, cpu, wishes, Some(1)).largest().total()
    };
    let (half, whole) = (tight(32), tight(64));
    assert!(half < whole);
    let budget = MemoryBudget::Bytes(half);
    let wishes = MemoryWishes { budget, vae_tiling: VaeTiling::Off, ..MemoryWishes::default() };

    let smaller = asked(wishes, |choices| {
        assert!(choices[0].text.contains("smaller, 32×32: "), "{choices:?}");
        Some(choices[0].key)
    });
    assert_eq!(smaller.one().0.params.size, ImageSize::new(32, 32));
    let anyway = asked(wishes, |choices| choices.last().map(|choice| choice.key));
    assert_eq!(anyway.one().0.params.size, ImageSize::new(64, 64));
    let not_at_all = asked(wishes, |_| None);
    assert!(not_at_all.pictures.is_empty() && not_at_all.error.is_none());
    let ended = not_at_all.events.iter().any(|event| matches!(event, EngineEvent::Cancelled { step: 0, .. }));
    assert!(ended);
}

fn pipeline(model: Option<&Path>) -> Pipeline {
    let name = model.and_then(Path::to_str);
    let checkpoint = resolve(name, &ResolveOptions::default(), &mut |_| ControlFlow::Continue(())).unwrap();
    Pipeline::load(Arc::new(PipelineConfig::read(checkpoint).unwrap()), &Device::Cpu, DType::F32, None)
        .unwrap()
}

/// Mean difference, in steps of 255, of latents decoded whole and in tiles; what is decoded shows something.
fn seams(pipeline: &Pipeline, latents: &[f32], side: u32, tiling: Tiling) -> f64 {
    let size = ImageSize::new(side, side);
    let (_, h, w) = pipeline.config.latent_shape(size);
    assert!(tiling.grid(h, w) > (1, 1), "{tiling:?} makes no tiles of {h}×{w}");
    let whole = pipeline.decode(latents, size, &Measures::default()).unwrap();
    let tiles = Measures { tiling: Some(tiling), ..Measures::default() };
    let tiled = pipeline.decode(latents, size, &tiles).unwrap();
    let colours: std::collections::HashSet<&[u8]> = whole.rgb.chunks_exact(3).collect();
    assert!(colours.len() > 100, "the picture shows something");
    let off = difference(&whole, &tiled);
    println!("off by {off:.3} of 255");
    off
}

#[test]
fn tiles_as_large_as_stable_diffusions_differ_by_less_than_two_of_255() {
    let pipeline = pipeline(Some(&fixture("sd15")));
    let vae = &pipeline.config.profile.facts.vae;
    // Waves across 96 × 96 latent pixels, another direction for each channel.
    let wave = |channel: usize, row: usize, column: usize| {
        let (down, across) = (row * (channel % 2 + 1), column * ((channel + 1) % 2 + 1));
        let angle = std::f64::consts::TAU * (down + across) as f64 / 24. + channel as f64;
        (angle.sin() * vae.scaling_factor) as f32
    };
    let places = (0..vae.latent_channels).flat_map(|c| (0..96 * 96).map(move |i| (c, i / 96, i % 96)));
    let latents: Vec<f32> = places.map(|(c, row, column)| wave(c, row, column)).collect();
    let side = 96 * vae.scale_factor() as u32;
    let off = seams(&pipeline, &latents, side, Tiling::of_latents(64, vae));
    assert!(off > 0. && off < 2., "off by {off} of 255");
}

#[test]
fn tiles_of_the_embedded_model_make_nearly_the_same_picture() {
    let pipeline = pipeline(None);
    let request = GenerateRequest {
        prompt: "a red house under a yellow sun".into(),
        steps: Some(6),
        width: Some(256),
        height: Some(256),
        ..GenerateRequest::default()
    };
    let params = pipeline.config.resolve(&request, 3).unwrap();
    let plain = Measures::default();
    let embeds = pipeline.encode_prompt(&params, &plain).unwrap();
    let start = pipeline.start(&params, None, &plain).unwrap();
    let latents =
        pipeline.denoise(&params, &embeds, start, &plain, &mut |_| ControlFlow::Continue(())).unwrap();
    // Its tiles are half as large as Stable Diffusion's, and its norms and attention mind that.
    let tiling = Tiling::from_config(&pipeline.config.profile.facts.vae);
    let off = seams(&pipeline, &latents, 256, tiling);
    assert!(off > 0. && off < 7., "off by {off} of 255");
}

#[test]
fn one_key_decides_about_a_picture_that_does_not_fit() {
    let mut repl = Repl::start(4, KITTY, 130, 30);
    repl.line("one too large -s 2 64x64");
    repl.printed("s  smaller, 32×32");
    repl.terminal.keys("s");
    repl.printed("#1 seed ");
    assert!(repl.history().contains(" · 32×32 · "), "{}", repl.history());

    repl.line("two too large -s 2 64x64");
    repl.printed("#2 64×64 needs 20.0 GiB");
    // With something typed, keys are text.
    repl.terminal.keys("x");
    repl.terminal.sees("tintype › x");
    repl.terminal.keys("g");
    repl.terminal.sees("tintype › xg");
    repl.terminal.keys("\x15");
    repl.terminal.until("an empty prompt", |terminal| !terminal.screen().contains("› xg"));
    repl.terminal.keys("g");
    repl.printed("#2 seed ");
    repl.line("/memory plan");
    repl.printed("64×64 takes 11.0 GiB");
    repl.line("/memory");
    repl.printed("step          at most");

    repl.line("three too large");
    repl.printed("#3 512×512 needs 20.0 GiB");
    repl.terminal.keys("\x03");
    repl.printed("#3 cancelled");
    repl.leave();
}
