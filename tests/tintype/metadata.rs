//! Metadata of every tool, read from files in its exact format; our own written and read back; hostile files.

mod hostile;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tintype::diffusion::schedulers::{SchedulerName, resolve_name};
use tintype::gallery::metadata::{self, Imported};
use tintype::gallery::png_file;
use tintype::request::{
    GenerateParams, ImageSize, JobId, PhaseMemory, Picture, Recipe, Reused, Seed, Timings,
};
use tintype::session::settings;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metadata")
}

fn resolve(name: &str) -> Option<String> {
    resolve_name(name).ok().map(|name| name.to_string())
}

fn read(name: &str) -> Imported {
    metadata::read(&fixtures().join(name), &resolve).unwrap()
}

/// Every fixture but the sidecar and the picture without metadata, in order.
fn names() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "nothing.png")
        .collect();
    names.sort();
    names
}

#[test]
fn every_tools_file_is_read() {
    let mut all = String::new();
    for name in names() {
        let imported = read(&name);
        all.push_str(&format!("# {name}\n{}\n", serde_json::to_string_pretty(&compact(&imported)).unwrap()));
    }
    insta::assert_snapshot!(all);
}

/// The request without what it leaves open.
fn compact(imported: &Imported) -> serde_json::Value {
    let mut value = serde_json::to_value(imported).unwrap();
    value["request"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
    value
}

#[test]
fn every_source_has_a_fixture_and_every_request_is_one_that_could_be_typed() {
    let mut seen = std::collections::BTreeSet::from(["tintype"]);
    for name in names() {
        let imported = read(&name);
        seen.insert(imported.source);
        assert_eq!(settings::validate(&imported.request), Ok(()), "{name}");
    }
    assert_eq!(seen, metadata::sources().collect());
}

#[test]
fn containers_do_not_change_what_is_read() {
    let plain = read("a1111.png");
    for name in ["a1111_ztxt.png", "a1111_itxt.png", "a1111.webp", "a1111.txt"] {
        assert_eq!(read(name), plain, "{name}");
    }
    assert_eq!(read("a1111.jpg"), read("a1111_old.png"));
    assert_eq!(read("comfyui.webp"), read("comfyui.png"));
    assert_eq!(read("mold.jpg"), read("mold.png"));
    assert_eq!(read("mflux_sidecar.png"), read("mflux.png"));
}

#[test]
fn a_picture_without_settings_says_so() {
    let error = metadata::read(&fixtures().join("nothing.png"), &resolve).unwrap_err();
    assert!(error.to_string().contains("nothing.png: has no settings of a known tool"), "{error}");
}

fn recipe(scheduler: &str) -> Recipe {
    Recipe {
        job: JobId(12),
        params: GenerateParams {
            prompt: "a \"red\" fox, 狐:\nSteps of stone".into(),
            negative_prompt: Some("blurry,\nugly".into()),
            model: "stabilityai/sd-turbo".into(),
            revision: Some("0f1e".into()),
            variant: Some("fp16".into()),
            scheduler: scheduler.into(),
            steps: 20,
            guidance_scale: 7.5,
            eta: 0.25,
            seed: u64::MAX,
            size: ImageSize::new(640, 512),
            image: Some("in.png".into()),
            strength: Some(0.75),
            variation: Some(0.1),
            variation_seed: Some(7),
            clip_skip: 1,
            stop_after: None,
            deep_cache: None,
            cfg_until: None,
            branch: None,
        },
        device: "cpu".into(),
        dtype: "f32".into(),
        version: "0.1.0".into(),
        timings: Timings { steps: vec![0.5, 0.1 + 0.2], total: 1.0 / 3.0, ..Timings::default() },
        reused: Reused::default(),
        peak_memory: 5,
        swap_grown: 0,
        memory: BTreeMap::from([("step".into(), PhaseMemory { predicted: 1, peak: 2 })]),
        path: Some("/home/someone/fox.png".into()),
        pixels_sha256: "00".into(),
        file_sha256: None,
        latents: vec!["00".into(), "01".into()],
        weights: BTreeMap::from([("unet/a.safetensors".into(), "02".into())]),
        notices: vec!["a notice".into()],
    }
}

fn saved(recipe: &Recipe, keyword: &str) -> Vec<u8> {
    let picture = Picture { size: ImageSize::new(1, 1), rgb: vec![1, 2, 3].into() };
    let texts: Vec<_> = metadata::texts(recipe).into_iter().filter(|text| text.0 == keyword).collect();
    assert_eq!(texts.len(), 1);
    png_file::encode(&picture, &texts).unwrap()
}

#[test]
fn our_own_recipe_comes_back_whole() {
    let recipe = recipe("dpmpp_2m_karras");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fox.png");
    std::fs::write(&path, saved(&recipe, "tintype")).unwrap();
    let read = metadata::read_recipe(&path).unwrap();
    assert_eq!(read, Recipe { path: Some("fox.png".into()), ..recipe.clone() });
    let imported = metadata::read(&path, &resolve).unwrap();
    assert_eq!((imported.source, imported.unmapped.len()), ("tintype", 0));
    assert_eq!(imported.request, metadata::tintype::request(&recipe.params));
    assert_eq!(imported.request.seed, Some(Seed::Fixed(u64::MAX)));
}

#[test]
fn an_empty_negative_prompt_is_not_none() {
    for (negative, written) in [(None, ""), (Some(""), " "), (Some("fog"), "fog")] {
        let mut recipe = recipe("euler");
        recipe.params.negative_prompt = negative.map(Into::into);
        assert_eq!(metadata::tintype::request(&recipe.params).negative_prompt.as_deref(), negative);
        let json = serde_json::to_value(&recipe.params).unwrap();
        assert_eq!(json["negative_prompt"], written);
        assert_eq!(serde_json::from_value::<GenerateParams>(json).unwrap(), recipe.params);
        // A1111's text has no place for an empty one.
        let text = metadata::a1111::write(&recipe);
        assert_eq!(text.contains("Negative prompt:"), negative == Some("fog"), "{text}");
    }
    // What was written before the difference was known, when an empty text was as good as none.
    let mut json = serde_json::to_value(recipe("euler").params).unwrap();
    for old in [serde_json::json!(""), serde_json::Value::Null] {
        json["negative_prompt"] = old;
        assert_eq!(serde_json::from_value::<GenerateParams>(json.clone()).unwrap().negative_prompt, None);
    }
    json.as_object_mut().unwrap().remove("negative_prompt");
    assert_eq!(serde_json::from_value::<GenerateParams>(json).unwrap().negative_prompt, None);
}

#[test]
fn the_parameters_text_is_a1111s() {
    assert_eq!(
        metadata::a1111::write(&recipe("dpmpp_2m_karras")),
        "a \"red\" fox, 狐:\nSteps of stone\nNegative prompt: blurry,\nugly\n\
         Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 18446744073709551615, \
         Size: 640x512, Model: stabilityai/sd-turbo, Variation seed: 7, Variation seed strength: 0.1, \
         Denoising strength: 0.75, Clip skip: 2, RNG: CPU, Eta: 0.25, Version: tintype 0.1.0"
    );
    let mut plain = recipe("euler");
    plain.params.negative_prompt = Some(String::new());
    plain.params.eta = 0.0;
    plain.params.clip_skip = 0;
    plain.params.strength = None;
    plain.params.variation = None;
    plain.params.model = "C, D: \"E\"".into();
    assert_eq!(
        metadata::a1111::write(&plain).lines().last().unwrap(),
        "Steps: 20, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.5, Seed: 18446744073709551615, \
         Size: 640x512, Model: \"C, D: \\\"E\\\"\", RNG: CPU, Version: tintype 0.1.0"
    );
}

/// Each scheduler of the table comes back from A1111's text as itself, so that no new one is forgotten there.
#[test]
fn every_scheduler_survives_a1111s_names() {
    for name in SchedulerName::all().map(|name| name.to_string()) {
        // A1111 has one Euler, which follows the model.
        let expected = name.replace("flow_match_euler", "euler");
        let imported = metadata::read_bytes(&saved(&recipe(&name), "parameters"), &resolve).unwrap();
        assert_eq!(imported.source, "A1111");
        assert_eq!(imported.request.scheduler.as_deref(), Some(expected.as_str()), "{name}");
        assert_eq!(imported.request.prompt, recipe(&name).params.prompt);
        assert_eq!(imported.request.clip_skip, Some(1));
        assert_eq!(imported.request.variation_seed, Some(7));
        assert_eq!(imported.unmapped, [("Denoising strength".to_owned(), "0.75".to_owned())]);
    }
}
