//! CLIP's tokenizer and text encoders against transformers, prompts against diffusers; `scripts/goldens.py clip`
//! writes what they are compared with.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;
use tintype::checkpoint::{Blob, Checkpoint};
use tintype::diffusion::families::{Guidance, ModelProfile};
use tintype::diffusion::models::clip::{ClipTextConfig, ClipTextModel};
use tintype::diffusion::nn::OpLimits;
use tintype::diffusion::prompt::{self, PromptEncoder, PromptRequest, Weighting};
use tintype::diffusion::tokenizer::{ClipTokenizer, TokenCount};
use tintype::diffusion::weights::Weights;
use tintype::request::ImageSize;
use tintype::store::{self, ResolveOptions};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn golden(file: &str) -> PathBuf {
    root().join("tests/golden/clip").join(file)
}

/// A checkpoint whose `tokenizer/` holds the files of these folders.
fn with_tokenizer(folders: &[PathBuf]) -> Checkpoint {
    let mut checkpoint = Checkpoint::default();
    for file in folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()) {
        let file = file.unwrap();
        let name = format!("tokenizer/{}", file.file_name().to_string_lossy());
        checkpoint.files.insert(name, Blob::File(file.path()));
    }
    checkpoint
}

/// The tokenizers of the goldens by name.
fn tokenizers() -> BTreeMap<&'static str, ClipTokenizer> {
    let words = root().join("tests/fixtures/pipelines/sd15/tokenizer");
    let vocabulary = |name: &str| {
        let mut checkpoint = with_tokenizer(&[golden("tokenizers").join(name)]);
        for file in ["vocab.json", "merges.txt"] {
            checkpoint.files.insert(format!("tokenizer/{file}"), Blob::File(words.join(file)));
        }
        checkpoint
    };
    [
        ("demo", with_tokenizer(&[root().join("models/tintype-demo/tokenizer")])),
        ("sd15", vocabulary("sd15")),
        ("sd21", vocabulary("sd21")),
        ("sdxl_2", vocabulary("sdxl_2")),
        ("inversion", vocabulary("inversion")),
        ("transformers5", with_tokenizer(&[golden("tokenizers/transformers5")])),
    ]
    .into_iter()
    .map(|(name, checkpoint)| (name, ClipTokenizer::from_checkpoint(&checkpoint, "tokenizer", 77).unwrap()))
    .collect()
}

#[derive(Deserialize)]
struct Row {
    text: String,
    #[serde(flatten)]
    expected: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    /// Without the padding.
    ids: Vec<u32>,
    /// Tokens of the whole text, without begin and end.
    used: usize,
}

fn rows() -> Vec<Row> {
    let file = std::fs::File::open(golden("tokens.jsonl.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn two_thousand_strings_have_transformers_token_ids() {
    let pads: BTreeMap<String, (u32, usize)> =
        serde_json::from_slice(&std::fs::read(golden("tokenizers.json")).unwrap()).unwrap();
    let (rows, tokenizers) = (rows(), tokenizers());
    assert_eq!(rows.len(), 2_000);
    assert!(tokenizers.keys().copied().eq(pads.keys().map(String::as_str)));
    let mut mismatches = Vec::new();
    for row in &rows {
        for (name, tokenizer) in &tokenizers {
            let (pad, length) = pads[*name];
            let Expected { ids, used } = &row.expected[*name];
            let mut ids = ids.clone();
            ids.resize(length, pad);
            let count = prompt::count(tokenizer, &row.text, Weighting::Off).unwrap();
            if tokenizer.encode(&row.text).unwrap() != ids || count.used != *used {
                mismatches.push((name, &row.text));
            }
            assert_eq!(count.limit, length - 2);
            assert_eq!(count.cut_at_byte.is_some(), *used > count.limit, "{name}: {}", row.text);
        }
    }
    assert!(
        mismatches.is_empty(),
        "{} mismatches: {:?}",
        mismatches.len(),
        &mismatches[..mismatches.len().min(8)]
    );
}

/// The bound that every golden must keep, as a share of its largest value where that is above 1 (hidden states of
/// trained models reach hundreds); what is reached is printed with `--nocapture`.
const TOLERANCE: f32 = 1e-5;

fn assert_same(name: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.dims(), expected.dims(), "{name}");
    let largest = |x: &Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let difference = largest(&(got - expected).unwrap()) / largest(expected).max(1.);
    println!("{name}: {difference:.1e}");
    assert!(difference < TOLERANCE, "{name}: {difference}");
}

/// Every fourth position of `[b, n, d]`, as the goldens keep them.
fn thinned(states: &Tensor) -> Tensor {
    let rows: Vec<u32> = (0..states.dim(1).unwrap() as u32).step_by(4).collect();
    states.index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 1).unwrap()
}

fn tensors(file: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(golden(file), &Device::Cpu).unwrap()
}

/// A model in a folder or, for `embedded`, in the program.
fn checkpoint(name: &str) -> Checkpoint {
    let folder = root().join("tests/fixtures/pipelines").join(name);
    let spec = if name == store::EMBEDDED { name } else { folder.to_str().unwrap() };
    let options = ResolveOptions { offline: true, ..ResolveOptions::default() };
    store::resolve(Some(spec), &options, &mut |_| ControlFlow::Continue(())).unwrap()
}

const PROMPT: &str = "a photo of an astronaut riding a horse on mars, it's 4k!";

#[test]
fn text_encoders_have_transformers_hidden_and_pooled_states() {
    let goldens = tensors("encoders.safetensors");
    for (name, model, suffix) in
        [("sd15", "sd15", ""), ("sd2", "sd2", ""), ("sdxl_2", "sdxl", "_2"), ("demo", store::EMBEDDED, "")]
    {
        let checkpoint = checkpoint(model);
        let folder = format!("text_encoder{suffix}");
        let config = format!("{folder}/config.json");
        let mut config = ClipTextConfig::from_json(&config, &checkpoint.read(&config).unwrap()).unwrap();
        let tokenizer =
            ClipTokenizer::from_checkpoint(&checkpoint, &format!("tokenizer{suffix}"), 77).unwrap();
        let ids = tokenizer.encode(PROMPT).unwrap();
        let class = if suffix.is_empty() { "CLIPTextModel" } else { "CLIPTextModelWithProjection" };
        let mut run = |eos_token_id: Option<u32>| {
            config.eos_token_id = eos_token_id.unwrap_or(config.eos_token_id);
            let blobs = &checkpoint.weights[&folder];
            let weights = Weights::open(&folder, blobs, &Device::Cpu, DType::F32, None).unwrap();
            let model = ClipTextModel::load(&config, class, &weights).unwrap();
            weights.finish().unwrap();
            model.forward(&ids, &OpLimits::default()).unwrap()
        };
        let output = run(None);
        let comma = run(Some(tokenizer.tokens(",").unwrap()[0]));
        for (part, got) in [
            ("hidden_states", thinned(&Tensor::cat(&output.hidden_states, 0).unwrap())),
            ("last_hidden_state", thinned(&output.last_hidden_state)),
            ("pooled", output.pooled),
            ("pooled_at_comma", comma.pooled),
        ] {
            let name = format!("{name}.{part}");
            assert_same(&name, &got, &goldens[&name]);
        }
    }
}

fn encoder(checkpoint: &Checkpoint) -> PromptEncoder {
    let profile = ModelProfile::read(checkpoint).unwrap();
    PromptEncoder::load(checkpoint, &profile, &Device::Cpu, DType::F32, None).unwrap()
}

#[test]
fn prompts_have_diffusers_embeddings() {
    let goldens = tensors("prompts.safetensors");
    let cases: Vec<(String, String, String, Option<String>, u32)> =
        serde_json::from_slice(&std::fs::read(golden("prompts.json")).unwrap()).unwrap();
    let mut compared = 0;
    let encoders: BTreeMap<&str, PromptEncoder> =
        ["sd15", "sd2", "sdxl", "lcm"].map(|name| (name, encoder(&checkpoint(name)))).into();
    for (name, case, prompt, negative_prompt, clip_skip) in &cases {
        let request = PromptRequest {
            site: "",
            prompt,
            negative_prompt: negative_prompt.as_deref(),
            classifier_free_guidance: true,
            clip_skip: *clip_skip,
            weighting: Weighting::Auto,
        };
        let embeds = encoders[name.as_str()].encode(&request, &OpLimits::default()).unwrap();
        for (part, got) in [
            ("prompt", Some(thinned(&embeds.prompt_embeds))),
            ("negative", embeds.negative_prompt_embeds.as_ref().map(thinned)),
            ("pooled", embeds.pooled_prompt_embeds),
            ("negative_pooled", embeds.negative_pooled_prompt_embeds),
        ] {
            let name = format!("{name}.{case}.{part}");
            let Some(expected) = goldens.get(&name) else { continue };
            assert_same(&name, &got.unwrap(), expected);
            compared += 1;
        }
    }
    assert_eq!(compared, goldens.len());
}

fn request(prompt: &str) -> PromptRequest<'_> {
    PromptRequest { prompt, classifier_free_guidance: true, ..PromptRequest::default() }
}

/// diffusers' `force_zeros_for_empty_prompt`, which is about none.
#[test]
fn no_negative_prompt_is_zeros_to_sdxl_and_an_empty_one_is_a_text() {
    let size = |x: &Tensor| x.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
    for (name, zeros) in [("sdxl", true), ("sd15", false)] {
        let encoder = encoder(&checkpoint(name));
        let negative = |negative_prompt| {
            let request = PromptRequest { negative_prompt, ..request("a cat") };
            encoder.encode(&request, &OpLimits::default()).unwrap().negative_prompt_embeds.unwrap()
        };
        let (none, empty) = (negative(None), negative(Some("")));
        assert!((size(&none) == 0.) == zeros && size(&empty) > 1., "{name}");
        assert_eq!(size(&(&none - &empty).unwrap()) == 0., !zeros, "{name}");
    }
}

#[test]
fn half_precision_stays_close() {
    let checkpoint = checkpoint("sdxl");
    let profile = ModelProfile::read(&checkpoint).unwrap();
    let embeds = |dtype| {
        let encoder = PromptEncoder::load(&checkpoint, &profile, &Device::Cpu, dtype, None).unwrap();
        let embeds = encoder.encode(&request("a (cat:1.3), [dog]"), &OpLimits::default()).unwrap();
        assert_eq!(embeds.prompt_embeds.dtype(), dtype);
        let flat = |x: Tensor| x.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        Tensor::cat(&[flat(embeds.prompt_embeds), flat(embeds.pooled_prompt_embeds.unwrap())], 0).unwrap()
    };
    let exact = embeds(DType::F32);
    for (dtype, share) in [(DType::F16, 0.003), (DType::BF16, 0.03)] {
        let error = (embeds(dtype) - &exact).unwrap().sqr().unwrap().mean_all().unwrap();
        let size = exact.sqr().unwrap().mean_all().unwrap();
        let error = (error / size).unwrap().to_scalar::<f32>().unwrap().sqrt();
        println!("{dtype:?}: {error:.1e}");
        assert!(error < share, "{dtype:?}: {error}");
    }
}

#[test]
fn clip_skip_leaves_a_layer() {
    // Three layers; two and three, of which the last ones are never read.
    for (name, most) in [("sd15", 2), ("sdxl", 0)] {
        let encoder = encoder(&checkpoint(name));
        let run = |clip_skip| {
            encoder.encode(&PromptRequest { clip_skip, ..request("a cat") }, &OpLimits::default())
        };
        assert!(run(most).is_ok(), "{name}");
        let error = run(most + 1).unwrap_err().to_string();
        assert!(error.starts_with(&format!("clip skip {} leaves no layer", most + 1)), "{error}");
        assert!(error.ends_with(&format!("use {most} or less")), "{error}");
        assert!(run(u32::MAX).is_err());
    }
}

#[test]
fn words_that_are_cut_are_named() {
    let encoder = encoder(&checkpoint("sdxl"));
    let notices = |prompt: &str, negative_prompt: &str| {
        let request = PromptRequest { negative_prompt: Some(negative_prompt), ..request(prompt) };
        encoder.encode(&request, &OpLimits::default()).unwrap().notices
    };
    let filling = "a ".repeat(74);
    assert!(notices(&format!("{filling}a"), "").is_empty(), "75 tokens fit");
    let expected = |what, used, rest| {
        vec![format!("the {what} has {used} tokens and the model reads 75; not read: “{rest}”")]
    };
    assert_eq!(notices(&format!("{filling}é i"), ""), expected("prompt", 77, "é i"), "é is two tokens");
    assert_eq!(notices("", &format!("{filling}i a")), expected("negative prompt", 76, "a"));
    // "!!" is one token for the first tokenizer and two for the second, which pads with it.
    assert_eq!(notices(&format!("{filling}!!"), ""), expected("prompt", 76, "!"));
    assert_eq!(notices("(a:1.2) BREAK", "")[..], ["the prompt has BREAK, read as plain text"]);
    // Brackets and weights take no room.
    assert!(notices(&format!("({filling}:1.2) a"), "").is_empty());
    assert_eq!(notices(&format!("({filling}:1.2) (a: 0.5) [i e]"), ""), expected("prompt", 77, "i e]"));
}

#[test]
fn counting_tells_where_the_cut_is() {
    let checkpoint = checkpoint("sd15");
    let tokenizer = prompt::tokenizer(&checkpoint, &ModelProfile::read(&checkpoint).unwrap()).unwrap();
    let count = |text: &str| prompt::count(&tokenizer, text, Weighting::Auto).unwrap();
    assert_eq!(count(""), TokenCount { used: 0, limit: 75, cut_at_byte: None });
    assert_eq!(count("a (i:1.2)").used, 2);
    assert_eq!(count("a (i)").used, 4, "brackets are text here");
    let long = "a\n  ".repeat(75) + "🎨 i";
    assert_eq!(count(&long).cut_at_byte, long.find('🎨'));
    let weighted = "(".to_owned() + &"a ".repeat(75) + ":1.1) [i]";
    assert_eq!(count(&weighted), TokenCount { used: 76, limit: 75, cut_at_byte: weighted.find('i') });
}

#[test]
fn broken_tokenizers_are_named() {
    let whole = || with_tokenizer(&[root().join("models/tintype-demo/tokenizer")]);
    let changes: [(&str, Option<&'static str>, &str); 6] = [
        ("vocab.json", None, "tokenizer/vocab.json: is missing"),
        ("merges.txt", None, "tokenizer/merges.txt: is missing"),
        ("merges.txt", Some("a b c\n"), "tokenizer/merges.txt: `a b c` is no merge of two tokens"),
        ("vocab.json", Some(r#"{"a": 0}"#), "tokenizer/vocab.json"),
        (
            "tokenizer_config.json",
            Some(r#"{"padding_side": "left"}"#),
            "tokenizer/tokenizer_config.json: padding_side = left is not implemented (known: right)",
        ),
        ("tokenizer_config.json", Some(r#"{"model_max_length": 2}"#), "leaves no room for a word"),
    ];
    for (file, content, expected) in changes {
        let mut checkpoint = whole();
        let file = format!("tokenizer/{file}");
        match content {
            Some(content) => checkpoint.files.insert(file, Blob::Static(content.as_bytes())),
            None => checkpoint.files.remove(&file),
        };
        let error = ClipTokenizer::from_checkpoint(&checkpoint, "tokenizer", 77).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let short = ClipTokenizer::from_checkpoint(&whole(), "tokenizer", 16).unwrap();
    assert_eq!(short.max_length(), 16, "a text encoder with fewer positions cuts sooner");
}

#[test]
fn a_vocabulary_larger_than_the_embedding_is_refused() {
    let mut checkpoint = checkpoint("sd15");
    let config = String::from_utf8(checkpoint.read("text_encoder/config.json").unwrap().into()).unwrap();
    let config: &'static str = config.replace("\"vocab_size\": 1000", "\"vocab_size\": 999").leak();
    checkpoint.files.insert("text_encoder/config.json".into(), Blob::Static(config.as_bytes()));
    let profile = ModelProfile::read(&checkpoint).unwrap();
    let error = PromptEncoder::load(&checkpoint, &profile, &Device::Cpu, DType::F32, None).err().unwrap();
    let expected = "text_encoder/config.json: vocab_size = 999, but tokenizer has 1000 tokens";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_embedded_model_has_its_own_defaults() {
    let profile = ModelProfile::read(&checkpoint(store::EMBEDDED)).unwrap();
    assert_eq!((profile.steps(), profile.guidance_scale()), (16, 4.));
    assert_eq!((profile.default_size(), profile.size_multiple()), (ImageSize::new(128, 128), 4));
    assert_eq!(profile.guidance(4.), Guidance::ClassifierFree);
}
