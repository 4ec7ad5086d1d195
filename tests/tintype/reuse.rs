//! What runs need not compute: guidance that is off, halves of a batch, and the two approximations that are asked for.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use candle_core::{DType, Device};
use serde_json::Value;
use tintype::diffusion::denoise::StepReport;
use tintype::diffusion::nn::profile::{self, Kind};
use tintype::diffusion::nn::traffic;
use tintype::diffusion::pipeline::{Measures, Pipeline, PipelineConfig};
use tintype::request::{GenerateParams, GenerateRequest, Picture};
use tintype::store::{ResolveOptions, resolve};

fn pipeline() -> &'static Pipeline {
    static PIPELINE: OnceLock<Pipeline> = OnceLock::new();
    PIPELINE.get_or_init(|| {
        let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
        let checkpoint = resolve(None, &options, &mut |_| ControlFlow::Continue(())).unwrap();
        let config = Arc::new(PipelineConfig::read(checkpoint).unwrap());
        Pipeline::load(config, &Device::Cpu, DType::F32, None).unwrap()
    })
}

fn params(change: impl FnOnce(&mut GenerateRequest)) -> GenerateParams {
    let mut request = GenerateRequest {
        prompt: "a red circle on a white background".into(),
        steps: Some(12),
        width: Some(64),
        height: Some(64),
        guidance_scale: Some(4.),
        ..GenerateRequest::default()
    };
    change(&mut request);
    pipeline().config.resolve(&request, 3).unwrap()
}

/// The picture, and the calls of the UNet with the rows of each.
fn run(params: &GenerateParams, measures: &Measures) -> (Picture, Vec<(&'static str, char)>) {
    profile::start();
    let picture = pipeline().generate(params, measures).unwrap();
    let spans = profile::stop();
    let calls = spans.iter().filter(|span| span.kind == Kind::Call && span.name.starts_with("unet"));
    let calls = calls.map(|call| {
        // the first op that reads a picture has its rows
        let inside =
            spans.iter().filter(|op| op.kind == Kind::Op && op.name == "conv2d" && op.start >= call.start);
        let first = inside.min_by_key(|op| op.start).unwrap();
        (call.name, first.shape.chars().nth("3×3 ".chars().count()).unwrap())
    });
    let calls = calls.collect();
    (picture, calls)
}

/// Mean difference of two pictures, in steps of 256.
fn apart(a: &Picture, b: &Picture) -> f64 {
    let sum: u64 = a.rgb.iter().zip(b.rgb.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.rgb.len() as f64
}

#[test]
fn guidance_is_one_batch_of_two_or_one_after_the_other_and_left_out_at_1() {
    let params = params(|_| ());
    let (batched, calls) = run(&params, &Measures::default());
    assert_eq!(calls, [("unet", '2'); 12]);
    let in_turn = Measures { guidance_in_turn: true, ..Measures::default() };
    let (in_turn, calls) = run(&params, &in_turn);
    assert_eq!(calls, [("unet", '1'); 24]);
    let most = batched.rgb.iter().zip(in_turn.rgb.iter()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(most <= Some(1), "{most:?}");
    let (_, calls) = run(&GenerateParams { guidance_scale: 1., ..params }, &Measures::default());
    assert_eq!(calls, [("unet", '1'); 12]);
}

#[test]
fn a_step_writes_its_inputs_where_they_lie_and_waits_once() {
    let guided = params(|request| request.steps = Some(4));
    let in_turn = Measures { guidance_in_turn: true, ..Measures::default() };
    for (name, params, measures) in [
        ("one batch of two", guided.clone(), Measures::default()),
        ("one after the other", guided.clone(), in_turn),
        ("unguided", GenerateParams { guidance_scale: 1., ..guided.clone() }, in_turn),
        ("deep cache", GenerateParams { deep_cache: Some(2), ..guided.clone() }, in_turn),
        ("guided in half of the steps", GenerateParams { cfg_until: Some(0.5), ..guided.clone() }, in_turn),
    ] {
        let embeds = pipeline().encode_prompt(&params, &measures).unwrap();
        let start = pipeline().start(&params, None, &measures).unwrap();
        let mut before = traffic();
        let mut steps = Vec::new();
        let mut on_step = |_: StepReport<'_>| {
            let now = traffic();
            steps.push((now.writes - before.writes, now.waits - before.waits));
            before = now;
            ControlFlow::Continue(())
        };
        pipeline().denoise(&params, &embeds, start, &measures, &mut on_step).unwrap();
        // latents and timestep
        assert_eq!(steps, [(2, 1); 4], "{name}");
    }
}

#[test]
fn a_deep_cache_skips_what_it_says_and_stays_near() {
    // at the size that the model was made for: at others it draws blots, which anything changes
    let off = params(|request| (request.width, request.height, request.steps) = (None, None, Some(12)));
    let (plain, _) = run(&off, &Measures::default());
    let every = |n: u32| run(&GenerateParams { deep_cache: Some(n), ..off.clone() }, &Measures::default());
    let (picture, calls) = every(1);
    assert!(picture == plain, "every call is whole");
    assert_eq!(calls, [("unet", '2'); 12]);
    let (second, calls) = every(2);
    assert_eq!(calls, [("unet", '2'), ("unet, outermost", '2')].repeat(6));
    let (third, calls) = every(3);
    assert_eq!(
        calls[..4],
        [("unet", '2'), ("unet, outermost", '2'), ("unet, outermost", '2'), ("unet", '2')]
    );
    assert!(second != plain && third != second);
    let other = run(&GenerateParams { seed: 4, ..off.clone() }, &Measures::default()).0;
    let (near, far) = (apart(&second, &plain), apart(&other, &plain));
    assert!(near < far / 2., "{near} from the whole one, another seed is {far}");

    assert_eq!(params(|request| request.deep_cache = Some(1)).deep_cache, None);
    assert_eq!(params(|request| request.deep_cache = Some(2)).deep_cache, Some(2));
}

#[test]
fn guidance_until_a_share_of_the_steps_ends_there() {
    let guided = params(|_| ());
    let until = |share: f64| params(|request| request.cfg_until = Some(share));
    let (plain, _) = run(&guided, &Measures::default());
    let (half, calls) = run(&until(0.5), &Measures::default());
    assert_eq!(calls[..6], [("unet", '2'); 6]);
    assert_eq!(calls[6..], [("unet", '1'); 6]);
    assert!(half != plain);
    let (none, calls) = run(&until(0.), &Measures::default());
    assert_eq!(calls, [("unet", '1'); 12]);
    let unguided = run(&GenerateParams { guidance_scale: 1., ..guided.clone() }, &Measures::default()).0;
    assert!(none == unguided, "no step guided is guidance off");
    assert!(apart(&half, &plain) < apart(&none, &plain));
    assert_eq!(until(1.), guided, "all steps are no approximation");
    let unguided = params(|request| (request.guidance_scale, request.cfg_until) = (Some(1.), Some(0.5)));
    assert_eq!(unguided.cfg_until, None, "there is nothing to leave out");
}

#[test]
fn a_run_that_is_gone_on_with_is_the_run_made_at_once_and_says_what_it_is() {
    let home = tempfile::tempdir().unwrap();
    let made = |lines: &str| -> Vec<Value> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tintype"))
            .args(["--device", "cpu", "--json"])
            .env("TINTYPE_HOME", home.path())
            .env("HF_HUB_OFFLINE", "1")
            .env_remove("HF_HOME")
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    };
    let line = "a fox -S 1 -s 8 64x64 --deep-cache 3 --cfg-until 0.5";
    let alone = made(line);
    assert_eq!((&alone[0]["deep_cache"], &alone[0]["cfg_until"]), (&3.into(), &0.5.into()));
    // 4 steps are no multiple of 3: what the third of them left in the cache is gone
    let gone_on = made(&format!("{line} --stop-after 4\n{line}\n"));
    assert_eq!(gone_on[1]["pixels_sha256"], alone[0]["pixels_sha256"]);
    let path = home.path().join(alone[0]["path"].as_str().unwrap());
    let recipe = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    assert!(recipe.contains(r#""deep_cache":3,"cfg_until":0.5"#), "the picture's own recipe says it");
}
