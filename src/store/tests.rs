//! What `resolve` takes and refuses, without a network.

use std::path::Path;

use super::*;
use crate::checkpoint::Blob;

const INDEX: &str = r#"{
  "_class_name": "StableDiffusionPipeline", "requires_safety_checker": true,
  "scheduler": ["diffusers", "PNDMScheduler"], "tokenizer": ["transformers", "CLIPTokenizer"],
  "text_encoder": ["transformers", "CLIPTextModel"], "unet": ["diffusers", "UNet2DConditionModel"],
  "vae": ["diffusers", "AutoencoderKL"], "image_encoder": [null, null],
  "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
  "feature_extractor": ["transformers", "CLIPImageProcessor"]
}"#;

const SETTINGS: [&str; 6] = [
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "vae/config.json",
];

/// A pipeline's folder with these weight files beside its settings; every file holds its own path.
fn model_with(weights: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in SETTINGS.iter().chain(weights) {
        write(folder.path(), file, file);
    }
    write(folder.path(), "model_index.json", INDEX);
    folder
}

fn write(root: &Path, file: &str, content: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn options() -> ResolveOptions {
    let hub = HubAccess {
        cache: "/none".into(),
        endpoint: "http://127.0.0.1:9".into(),
        token: None,
        offline: true,
    };
    ResolveOptions { revision: None, variant: None, prefer_half: false, offline: true, hub }
}

fn resolve_folder(folder: &Path, options: &ResolveOptions) -> Result<Checkpoint, StoreError> {
    resolve(folder.to_str(), options, &mut |_| ControlFlow::Continue(()))
}

/// The chosen weight files, relative to the model's folder.
fn chosen(folder: &Path, options: &ResolveOptions) -> Vec<String> {
    let checkpoint = resolve_folder(folder, options).unwrap();
    let relative = |blob: &Blob| match blob {
        Blob::File(path) => path.strip_prefix(folder).unwrap().display().to_string(),
        Blob::Static(_) => panic!("a folder has no static files"),
    };
    checkpoint.weights.values().flatten().map(relative).collect()
}

fn error(folder: &Path, options: &ResolveOptions) -> String {
    resolve_folder(folder, options).unwrap_err().to_string()
}

const PLAIN: [&str; 3] = [
    "text_encoder/model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
];

const HALF: [&str; 3] = [
    "text_encoder/model.fp16.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
];

#[test]
fn embedded_model_is_whole_and_is_the_default() {
    for spec in [None, Some(""), Some("embedded")] {
        let checkpoint = resolve(spec, &options(), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((checkpoint.name.as_str(), checkpoint.variant), ("embedded", None));
        assert_eq!(checkpoint.weights.keys().collect::<Vec<_>>(), ["text_encoder", "unet", "vae"]);
        for blob in checkpoint.weights.values().flatten() {
            let Blob::Static(bytes) = blob else { panic!("the embedded model is not on disk") };
            assert_eq!(bytes.as_ptr().align_offset(16), 0);
            safetensors::SafeTensors::deserialize(bytes).unwrap();
        }
        for file in ["model_index.json", "latent_rgb.json", "tokenizer/merges.txt", "vae/config.json"] {
            assert!(checkpoint.files.contains_key(file), "{file}");
        }
    }
}

/// The list in `embedded.rs` is written by hand: it must name every file of the folder but its README.
#[test]
fn embedded_list_is_the_folder() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tintype-demo");
    let folder = folder::Folder::open(&root, "demo").unwrap();
    let on_disk: Vec<_> =
        select::Source::listing(&folder).iter().filter(|file| *file != "README.md").collect();
    assert_eq!(select::Source::listing(&embedded::Embedded::new()).iter().collect::<Vec<_>>(), on_disk);
}

#[test]
fn a_variant_is_a_wish_or_a_matter_of_what_is_there() {
    let both = model_with(&[&PLAIN[..], &HALF[..]].concat());
    assert_eq!(chosen(both.path(), &options()), PLAIN);
    assert_eq!(chosen(both.path(), &ResolveOptions { prefer_half: true, ..options() }), HALF);
    let fp16 = ResolveOptions { variant: Some("fp16".into()), ..options() };
    assert_eq!(chosen(both.path(), &fp16), HALF);
    assert_eq!(resolve_folder(both.path(), &fp16).unwrap().variant.as_deref(), Some("fp16"));

    let half = model_with(&HALF);
    assert_eq!(chosen(half.path(), &options()), HALF);
    let plain = model_with(&PLAIN);
    assert_eq!(chosen(plain.path(), &ResolveOptions { prefer_half: true, ..options() }), PLAIN);
    let mixed = model_with(&[PLAIN[0], HALF[1], PLAIN[2]]);
    assert_eq!(chosen(mixed.path(), &fp16), [PLAIN[0], HALF[1], PLAIN[2]]);
}

#[test]
fn a_missing_variant_names_those_that_exist() {
    let asked = ResolveOptions { variant: Some("bf16".into()), ..options() };
    let both = model_with(&[&PLAIN[..], &HALF[..]].concat());
    let text = error(both.path(), &asked);
    assert!(text.ends_with("has no variant bf16: type --variant fp16, or leave it out"), "{text}");
    let text = error(model_with(&PLAIN).path(), &asked);
    assert!(text.ends_with("leave --variant out, there are only plain files"), "{text}");
    let odd = model_with(&[PLAIN[0], PLAIN[2], "unet/diffusion_pytorch_model.non_ema.safetensors"]);
    let text = error(odd.path(), &options());
    assert!(text.ends_with("has no plain weights: type --variant non_ema"), "{text}");
}

#[test]
fn shards_are_those_that_the_index_names() {
    let map = |shards: [&str; 2]| {
        format!(
            r#"{{"metadata": {{"total_size": 2}}, "weight_map": {{"a": "{}", "b": "{}"}}}}"#,
            shards[0], shards[1]
        )
    };
    let plain = [
        "diffusion_pytorch_model-00001-of-00002.safetensors",
        "diffusion_pytorch_model-00002-of-00002.safetensors",
    ];
    let half = [
        "diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
    ];
    let inside = |shards: [&str; 2]| shards.map(|shard| format!("unet/{shard}"));
    let folder = model_with(&[PLAIN[0], PLAIN[2]]);
    for shard in [inside(plain), inside(half)].concat() {
        write(folder.path(), &shard, "");
    }
    write(folder.path(), "unet/diffusion_pytorch_model.safetensors.index.json", &map(plain));
    write(folder.path(), "unet/diffusion_pytorch_model.safetensors.index.fp16.json", &map(half));
    assert_eq!(chosen(folder.path(), &options())[1..3], inside(plain));
    let fp16 = ResolveOptions { variant: Some("fp16".into()), ..options() };
    assert_eq!(chosen(folder.path(), &fp16)[1..3], inside(half));
    let checkpoint = resolve_folder(folder.path(), &fp16).unwrap();
    assert!(checkpoint.files.keys().all(|file| !file.contains("index.fp16")), "an index is no setting");

    std::fs::remove_file(folder.path().join(&inside(plain)[1])).unwrap();
    let text = error(folder.path(), &options());
    assert!(text.contains("lacks unet/diffusion_pytorch_model-00002-of-00002.safetensors"), "{text}");
}

#[test]
fn an_index_cannot_name_files_elsewhere() {
    let folder = model_with(&[PLAIN[0], PLAIN[2]]);
    let index = r#"{"weight_map": {"a": "../vae/../../secret.safetensors"}}"#;
    write(folder.path(), "unet/diffusion_pytorch_model.safetensors.index.json", index);
    assert!(matches!(resolve_folder(folder.path(), &options()), Err(StoreError::MissingFile { .. })));
}

#[test]
fn only_needed_files_are_taken() {
    let folder = model_with(&PLAIN);
    for file in ["safety_checker/config.json", "feature_extractor/preprocessor_config.json", "README.md"] {
        write(folder.path(), file, "{}");
    }
    let checkpoint = resolve_folder(folder.path(), &options()).unwrap();
    let mut expected = SETTINGS.to_vec();
    expected.insert(0, "model_index.json");
    assert_eq!(checkpoint.files.keys().collect::<Vec<_>>(), expected);
}

#[test]
fn pickles_are_refused_with_the_reason_and_the_way_out() {
    let folder = model_with(&[PLAIN[0], PLAIN[2], "unet/diffusion_pytorch_model.fp16.bin"]);
    let text = error(folder.path(), &options());
    assert!(text.contains("unet/diffusion_pytorch_model.fp16.bin"), "{text}");
    assert!(text.contains("pickle, which can run any code"), "{text}");
    assert!(text.contains("save_pretrained(dir, safe_serialization=True, variant=\"fp16\")"), "{text}");
}

#[test]
fn what_is_no_model_says_what_to_type() {
    let empty = tempfile::tempdir().unwrap();
    assert!(error(empty.path(), &options()).contains("has no model_index.json"));
    let file = empty.path().join("dreamshaper.safetensors");
    std::fs::write(&file, "").unwrap();
    assert!(error(&file, &options()).contains("from_single_file"));
    for path in ["./nothing/here", "/nothing", "~/no/such/model", "a/b/c", "no-models/"] {
        let error = resolve(Some(path), &options(), &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, StoreError::NoFolder { .. }), "{path}: {error}");
    }
    let broken = model_with(&PLAIN);
    write(broken.path(), "model_index.json", "{");
    assert!(error(broken.path(), &options()).contains("model_index.json of"));
    let no_config = model_with(&PLAIN);
    std::fs::remove_file(no_config.path().join("vae/config.json")).unwrap();
    assert!(error(no_config.path(), &options()).contains("lacks vae/config.json"));
}
