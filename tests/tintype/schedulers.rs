//! Noise against torch, schedulers against diffusers: whole trajectories with a made-up model.
//!
//! Goldens: `scripts/goldens.py rng schedulers`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tintype::diffusion::rng::TorchGenerator;
use tintype::diffusion::schedulers::{
    SCHEDULERS, Scheduler, SchedulerError, SchedulerName, SchedulerOptions, StepOutput, create,
    resolve_config, resolve_name,
};

/// How far a sample may be off, as a share of its largest value. `--nocapture` prints what is reached: below 7e-6 but for…
const TOLERANCE: f32 = 1e-5;
/// … runs that begin at a sigma of 4096 (zero terminal SNR): from there diffusers' own float32 loses 2e-5, as
/// running it in float64 shows.
const LARGE_SIGMA_TOLERANCE: f32 = 1e-4;
/// Values of a sample in the goldens.
const LEN: usize = 64;

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(path)
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(path)).unwrap()).unwrap()
}

fn tensors(path: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(golden(path), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn noise_is_torchs_to_the_bit() {
    for (seed, expected) in json("rng/digests.json").as_object().unwrap() {
        let seed: u64 = seed.parse().unwrap();
        let mut digest = Sha256::new();
        for n in (16..4100).step_by(expected["stride"].as_u64().unwrap() as usize) {
            for value in TorchGenerator::manual_seed(seed).randn(n) {
                digest.update(value.to_le_bytes());
            }
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected["sha256"].as_str().unwrap(), "seed {seed}");
    }
}

#[test]
fn short_and_mixed_calls_are_torchs() {
    for (name, expected) in tensors("rng/randn.safetensors") {
        let (seed, kind) = name.split_once('.').unwrap();
        let seed = seed.parse().unwrap();
        let mut one = TorchGenerator::manual_seed(seed);
        let drawn: Vec<f32> = if kind == "short" {
            (1..16).flat_map(|n| TorchGenerator::manual_seed(seed).randn(n)).collect()
        } else {
            [3, 5, 16, 1, 2, 100, 7, 64, 1, 1, 17, 15, 16, 1]
                .into_iter()
                .flat_map(|n| {
                    // through its state each time: a generator that was put aside goes on where it stood
                    one = TorchGenerator::from_state(&one.state());
                    one.randn(n)
                })
                .collect()
        };
        let expected = values(&expected);
        assert_eq!(drawn.len(), expected.len(), "{name}");
        for (i, (ours, theirs)) in drawn.iter().zip(&expected).enumerate() {
            // the platform's double-precision sine may differ by a bit, which float32 hardly ever shows
            assert!((ours - theirs).abs() <= 3e-7, "{name}[{i}]: {ours} is not {theirs}");
        }
    }
}

/// The made-up model of tools/goldens/schedulers.py.
fn model(sample: &[f32], timestep: f64) -> Vec<f32> {
    let value = |(j, &x): (usize, &f32)| (0.5 * f64::from(x) + 0.002 * timestep + 0.1 * j as f64).sin() * 0.9;
    sample.iter().enumerate().map(|pair| value(pair) as f32).collect()
}

/// The largest difference of `ours` from `theirs`, as a share of the largest value there.
fn difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let scale = theirs.iter().fold(1f32, |max, value| max.max(value.abs()));
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs() / scale)
        .fold(0.0, |max, d| if d <= max { max } else { d })
}

fn options(case: &Value) -> SchedulerOptions {
    SchedulerOptions {
        eta: case["eta"].as_f64().unwrap_or(0.0),
        strength: case["strength"].as_f64(),
        strength_shortens_schedule: case["strength_shortens_schedule"].as_bool().unwrap_or(false),
        original_inference_steps: case["original_inference_steps"].as_u64().map(|n| n as usize),
        mu: case["mu"].as_f64(),
        ..SchedulerOptions::default()
    }
}

/// Runs a case from its first sample to its last; returns the largest difference from diffusers, or what is wrong.
fn follow(name: &str, n: usize, case: &Value, golden: &HashMap<String, Tensor>) -> Result<f32, String> {
    let config = serde_json::to_vec(&case["config"]).unwrap();
    let steps = case["steps"].as_u64().unwrap() as usize;
    let mut scheduler = create(None, &config, steps, &options(case)).map_err(|error| error.to_string())?;
    if scheduler.name().info.name != name {
        return Err(format!("is called {}", scheduler.name()));
    }
    let timesteps: Vec<f64> = golden[&format!("{n}.timesteps")].to_vec1().unwrap();
    let near = |(ours, theirs): (&f64, &f64)| (ours - theirs).abs() <= 1e-5 * theirs.abs().max(1.0);
    if scheduler.timesteps().len() != timesteps.len()
        || !scheduler.timesteps().iter().zip(&timesteps).all(near)
    {
        return Err(format!("timesteps\n  {:?} are not\n  {timesteps:?}", scheduler.timesteps()));
    }

    let samples: Vec<Vec<f32>> = golden[&format!("{n}.samples")].to_vec2().unwrap();
    let originals: Option<Vec<Vec<f32>>> =
        golden.get(&format!("{n}.originals")).map(|t| t.to_vec2().unwrap());
    let mut generator = TorchGenerator::manual_seed(case["seed"].as_u64().unwrap_or(0));
    let noise = generator.randn(LEN);
    let begin = scheduler.begin_index();
    let mut sample: Vec<f32> = if case["strength"].is_null() {
        noise.iter().map(|&value| (f64::from(value) * scheduler.init_noise_sigma()) as f32).collect()
    } else {
        let original: Vec<f32> = (0..LEN).map(|j| (0.3 * j as f32).cos()).collect();
        scheduler.add_noise(&original, &noise, begin)
    };
    let mut worst = difference(&sample, &samples[0]);
    let tolerance = if scheduler.init_noise_sigma() > 1e3 { LARGE_SIGMA_TOLERANCE } else { TOLERANCE };
    if scheduler.timesteps().len() - begin != samples.len() - 1 {
        return Err(format!("begins at {begin}"));
    }
    for (i, expected) in (begin..).zip(&samples[1..]) {
        let output = model(&scheduler.scale_model_input(&sample, i), timesteps[i]);
        let step = scheduler.step(i, &output, &sample, &mut |n| generator.randn(n)).unwrap();
        sample = step.prev_sample;
        worst = worst.max(difference(&sample, expected));
        if let Some(originals) = &originals {
            worst = worst.max(difference(&step.pred_original_sample, &originals[i - begin]));
        }
        if worst > tolerance {
            return Err(format!("call {i} is off by {worst}"));
        }
    }
    Ok(worst)
}

#[test]
fn trajectories_are_diffusers() {
    let mut wrong = Vec::new();
    for name in SCHEDULERS.iter().map(|info| info.name) {
        let cases = json(&format!("schedulers/{name}.json"));
        let golden = tensors(&format!("schedulers/{name}.safetensors"));
        let mut worst = 0f32;
        for (n, case) in cases.as_array().unwrap().iter().enumerate() {
            match follow(name, n, case, &golden) {
                Ok(difference) => worst = worst.max(difference),
                Err(what) => wrong.push(format!("{name} {case}: {what}")),
            }
        }
        println!("{name}: {} cases, off by at most {worst:e}", cases.as_array().unwrap().len());
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether `ours` is the value that diffusers has: numbers by value, `None` of a switch as false.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Bool(false), Value::Null) | (Value::Null, Value::Bool(false)) => true,
        _ => ours == theirs,
    }
}

#[test]
fn defaults_are_diffusers() {
    let golden = json("schedulers/defaults.json");
    for info in SCHEDULERS {
        let (class, defaults) = (info.class, serde_json::to_value(info.class.defaults()).unwrap());
        let theirs = golden[class.name()].as_object().unwrap();
        for (key, value) in theirs {
            assert!(class.knows(key), "{} has {key}", class.name());
            if let Some(ours) = defaults.get(key) {
                assert!(same(ours, value), "{}: {key} is {value}, not {ours}", class.name());
            }
        }
        for key in defaults.as_object().unwrap().keys() {
            assert_eq!(class.knows(key), theirs.contains_key(key), "{}: {key}", class.name());
        }
    }
}

#[test]
fn other_schedulers_follow_from_config() {
    for line in json("schedulers/from_config.json").as_array().unwrap() {
        let file = serde_json::to_vec(&line["file"]).unwrap();
        let options = SchedulerOptions {
            stable_diffusion_pipeline: line["stable_diffusion_pipeline"].as_bool().unwrap(),
            ..SchedulerOptions::default()
        };
        for (asked, differing) in line["configs"].as_object().unwrap() {
            let asked = Some(asked.as_str()).filter(|name| !name.is_empty());
            let (name, config) = resolve_config(asked, &file, &options).unwrap();
            let ours = serde_json::to_value(config).unwrap();
            let mut theirs = serde_json::to_value(name.info.class.defaults()).unwrap();
            for (key, value) in differing.as_object().unwrap() {
                theirs[key] = value.clone();
            }
            for (key, value) in ours.as_object().unwrap() {
                assert!(same(value, &theirs[key]), "{line}: {name}: {key} is {}, not {value}", theirs[key]);
            }
        }
    }
}

const STABLE_DIFFUSION: &str = r#"{"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "skip_prk_steps": true, "steps_offset": 1, "clip_sample": false}"#;
const FLOW: &str = r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}"#;

/// A scheduler of every name, for a checkpoint that it fits.
fn make(name: SchedulerName, steps: usize, options: &SchedulerOptions) -> Box<dyn Scheduler> {
    let flow = name.info.name == "flow_match_euler";
    let json = if flow { FLOW } else { STABLE_DIFFUSION };
    create(Some(&name.to_string()), json.as_bytes(), steps, options)
        .unwrap_or_else(|error| panic!("{name}, {steps} steps: {error}"))
}

/// Every sample of the run that `scheduler` has before it.
fn trajectory(
    scheduler: &mut dyn Scheduler,
    mut sample: Vec<f32>,
    generator: &mut TorchGenerator,
) -> Vec<Vec<f32>> {
    (scheduler.state().next_index..scheduler.timesteps().len())
        .map(|i| {
            let output = model(&scheduler.scale_model_input(&sample, i), scheduler.timesteps()[i]);
            sample = scheduler.step(i, &output, &sample, &mut |n| generator.randn(n)).unwrap().prev_sample;
            sample.clone()
        })
        .collect()
}

fn first_sample(scheduler: &dyn Scheduler, generator: &mut TorchGenerator) -> Vec<f32> {
    let sigma = scheduler.init_noise_sigma() as f32;
    generator.randn(LEN).into_iter().map(|value| value * sigma).collect()
}

#[test]
fn every_run_is_finite_and_repeats() {
    for name in SchedulerName::all() {
        for steps in [1, 2, 3, 8, 50] {
            for eta in [0.0, 1.0] {
                let options = SchedulerOptions { eta, ..SchedulerOptions::default() };
                let run = || {
                    let mut scheduler = make(name, steps, &options);
                    let mut generator = TorchGenerator::manual_seed(5);
                    let sample = first_sample(&*scheduler, &mut generator);
                    trajectory(&mut *scheduler, sample, &mut generator)
                };
                let samples = run();
                assert!(samples.iter().flatten().all(|value| value.is_finite()), "{name}, {steps} steps");
                assert_eq!(samples, run(), "{name}, {steps} steps");
            }
        }
    }
}

#[test]
fn noise_falls_from_step_to_step() {
    for name in SchedulerName::all() {
        for steps in [2, 7, 50] {
            let scheduler = make(name, steps, &SchedulerOptions::default());
            // A sample of zeros with noise of ones is the noise's share at that call.
            let level = |i: usize| scheduler.add_noise(&[0.0], &[1.0], i)[0];
            // PLMS visits its second timestep twice, Heun and DPM++ SDE each but the first.
            let (order, calls) = (name.info.order, scheduler.timesteps().len());
            let levels: Vec<f32> = (0..calls).step_by(order).map(level).collect();
            let repeats = levels.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!(levels.windows(2).all(|pair| pair[0] >= pair[1]), "{name}: {levels:?}");
            assert_eq!(repeats, usize::from(name.info.name == "pndm"), "{name}: {levels:?}");
            assert!(scheduler.timesteps().iter().all(|t| (0.0..=1000.0).contains(t)), "{name}");
        }
    }
}

#[test]
fn a_run_goes_on_from_its_state_and_a_step_can_be_done_again() {
    let options = SchedulerOptions { eta: 0.5, ..SchedulerOptions::default() };
    for name in SchedulerName::all() {
        let mut scheduler = make(name, 8, &options);
        let mut generator = TorchGenerator::manual_seed(9);
        let mut sample = first_sample(&*scheduler, &mut generator);
        let whole = trajectory(&mut *scheduler.clone(), sample.clone(), &mut generator.clone());
        for (i, expected) in whole.iter().enumerate() {
            // put aside as text and taken up by a new scheduler
            let text = serde_json::to_string(&(scheduler.state(), generator.state(), &sample)).unwrap();
            let (state, stood, parked) = serde_json::from_str(&text).unwrap();
            let mut other = make(name, 8, &options);
            other.restore(state);
            let mut other_generator = TorchGenerator::from_state(&stood);
            assert_eq!(
                trajectory(&mut *other, parked, &mut other_generator),
                whole[i..],
                "{name} from call {i}"
            );
            // a step that went wrong, then the same again
            let before = (scheduler.state().clone(), generator.clone());
            let output = model(&scheduler.scale_model_input(&sample, i), scheduler.timesteps()[i]);
            let wrong = vec![f32::NAN; LEN];
            scheduler.step(i, &wrong, &sample, &mut |n| generator.randn(n)).unwrap();
            scheduler.restore(before.0);
            generator = before.1;
            sample = scheduler.step(i, &output, &sample, &mut |n| generator.randn(n)).unwrap().prev_sample;
            assert_eq!(&sample, expected, "{name} call {i}");
        }
    }
}

#[test]
fn noise_is_drawn_only_where_the_table_says() {
    for name in SchedulerName::all() {
        for eta in [0.0, 1.0] {
            let mut scheduler = make(name, 6, &SchedulerOptions { eta, ..SchedulerOptions::default() });
            let mut draws = 0;
            let mut sample = vec![0.5; 4];
            for i in 0..scheduler.timesteps().len() {
                let output = model(&sample, scheduler.timesteps()[i]);
                let mut noise = |n| {
                    draws += 1;
                    vec![0.0; n]
                };
                sample = scheduler.step(i, &output, &sample, &mut noise).unwrap().prev_sample;
            }
            let expected = !name.info.deterministic || name.info.takes_eta && eta > 0.0;
            assert_eq!(draws > 0, expected, "{name}, eta {eta}: {draws} draws");
        }
    }
}

#[test]
fn image_to_image_begins_where_diffusers_does() {
    let begin = |name: &str, steps, strength| {
        let options = SchedulerOptions { strength: Some(strength), ..SchedulerOptions::default() };
        create(Some(name), STABLE_DIFFUSION.as_bytes(), steps, &options)
            .map(|scheduler| scheduler.begin_index())
    };
    assert_eq!(begin("ddim", 20, 1.0).unwrap(), 0);
    assert_eq!(begin("ddim", 20, 0.75).unwrap(), 5);
    assert_eq!(begin("euler", 50, 0.3).unwrap(), 35);
    assert_eq!(begin("heun", 10, 0.5).unwrap(), 10);
    assert_eq!(
        begin("euler", 4, 0.2).unwrap_err().to_string(),
        "strength 0.2 of 4 steps leaves no step to do; use a strength of at least 0.250, or more steps"
    );
    assert_eq!(
        begin("euler", 4, 1.5).unwrap_err().to_string(),
        "strength must lie between 0 and 1; 1.5 does not"
    );
    assert!(begin("euler", 4, f64::NAN).is_err());
}

#[test]
fn what_cannot_be_done_is_said() {
    let error = |name: Option<&str>, json: &str, steps| {
        create(name, json.as_bytes(), steps, &SchedulerOptions::default()).unwrap_err().to_string()
    };
    assert_eq!(error(None, STABLE_DIFFUSION, 0), "steps must be 1 or more");
    assert_eq!(
        error(Some("euler"), STABLE_DIFFUSION, 1001),
        "1001 steps are too many for `euler` with this model; use at most 1000"
    );
    assert_eq!(
        error(Some("lcm"), STABLE_DIFFUSION, 51),
        "51 steps are too many for `lcm` with this model; use at most 50"
    );
    assert!(
        error(Some("dpmpp_2m"), &STABLE_DIFFUSION.replace('{', r#"{"timestep_spacing": "leading","#), 1000)
            .starts_with("1000 steps are too many for this scheduler")
    );
    assert!(
        error(Some("ddim"), STABLE_DIFFUSION, 1000).starts_with("the first timestep would be 1000, beyond")
    );
    assert_eq!(
        error(None, &STABLE_DIFFUSION.replace("true", "false"), 3),
        "`pndm` needs at least 4 steps with this model"
    );
    assert_eq!(
        error(Some("flow_match_euler"), STABLE_DIFFUSION, 4),
        "`flow_match_euler` does not fit this checkpoint: its scheduler is PNDMScheduler; leave the scheduler out"
    );
    assert!(error(Some("euler"), FLOW, 4).contains("FlowMatchEulerDiscreteScheduler"));
    for (json, key) in [
        (r#"{"_class_name": "KDPM2DiscreteScheduler"}"#, "`_class_name` is \"KDPM2DiscreteScheduler\""),
        (
            r#"{"_class_name": "PNDMScheduler", "prediction_type": "sample"}"#,
            "`prediction_type` is \"sample\"",
        ),
        (
            r#"{"_class_name": "EulerDiscreteScheduler", "beta_schedule": "laplace"}"#,
            "`beta_schedule` is \"laplace\"",
        ),
        (r#"{"_class_name": "DDPMScheduler", "variance_type": "learned"}"#, "`variance_type` is \"learned\""),
        (r#"{"_class_name": "UniPCMultistepScheduler", "solver_p": {}}"#, "`solver_p` is {}"),
        (r#"{"_class_name": "DPMSolverMultistepScheduler", "solver_order": 4}"#, "`solver_order` is 4"),
        (
            r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}"#,
            "`final_sigmas_type`",
        ),
    ] {
        let said = error(None, json, 5);
        assert!(said.starts_with("scheduler/scheduler_config.json: "), "{said}");
        assert!(said.contains(key), "{said}");
    }
}

#[test]
fn misuse_is_an_error_and_changes_nothing() {
    let mut scheduler = make(resolve_name("dpmpp_2m_sde").unwrap(), 4, &SchedulerOptions::default());
    let sample = [0.5; 4];
    let mut zeros = |n| vec![0.0; n];
    let before = scheduler.state().clone();
    let said = |result: Result<_, SchedulerError>| result.map(|_: StepOutput| ()).unwrap_err().to_string();
    assert!(
        said(scheduler.step(1, &sample, &sample, &mut zeros)).starts_with("step 1 was taken where step 0")
    );
    assert!(
        said(scheduler.step(0, &sample[1..], &sample, &mut zeros))
            .contains("has 3 values where the sample has 4")
    );
    assert!(said(scheduler.step(0, &sample, &sample, &mut |_| Vec::new())).contains("has 0 values"));
    assert_eq!(scheduler.state(), &before);
    for i in 0..4 {
        scheduler.step(i, &sample, &sample, &mut zeros).unwrap();
    }
    assert_eq!(said(scheduler.step(4, &sample, &sample, &mut zeros)), "no step begins at model call 4 of 4");
    assert!(make(resolve_name("heun").unwrap(), 4, &SchedulerOptions::default()).set_begin_index(1).is_err());
}

#[test]
fn a_name_makes_the_same_scheduler_again() {
    for (file, in_pipeline) in
        json("schedulers/from_config.json").as_array().unwrap().iter().map(|line| {
            (serde_json::to_vec(&line["file"]).unwrap(), line["stable_diffusion_pipeline"] == true)
        })
    {
        let options =
            SchedulerOptions { stable_diffusion_pipeline: in_pipeline, ..SchedulerOptions::default() };
        let Ok((name, config)) = resolve_config(None, &file, &options) else { continue };
        assert_eq!(resolve_config(Some(&name.to_string()), &file, &options).unwrap(), (name, config));
    }
}
