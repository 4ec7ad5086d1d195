//! The UNet and the VAE against diffusers, and what they say about files that do not fit.
//!
//! Goldens and fixtures: `scripts/goldens.py fixtures models`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use tintype::checkpoint::Blob;
use tintype::diffusion::models::autoencoder_kl::{AutoencoderKL, Tiling, VaeConfig};
use tintype::diffusion::models::component_config::{self, ModelConfig};
use tintype::diffusion::models::unet::{
    AddedCond, UNet2DConditionModel, UNetConfig, guidance_scale_embedding,
};
use tintype::diffusion::nn::OpLimits;
use tintype::diffusion::weights::Weights;

/// The bound that every golden must keep. What is reached in f32 is below 4e-6 (`--nocapture` prints it).
const TOLERANCE: f32 = 1e-4;
const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn fixture(path: &str) -> PathBuf {
    tests_dir().join("fixtures").join(path)
}

fn golden(name: &str) -> HashMap<String, Tensor> {
    let path = tests_dir().join("golden/models").join(name).with_extension("safetensors");
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn golden_json(name: &str) -> Value {
    let path = tests_dir().join("golden/models").join(name).with_extension("json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn config<C: ModelConfig>(folder: &Path) -> C {
    component_config::parse("config.json", &std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}

fn weights(path: PathBuf, dtype: DType) -> Weights {
    Weights::open("model", &[Blob::File(path)], &Device::Cpu, dtype, None).unwrap()
}

fn unet(folder: &Path) -> UNet2DConditionModel {
    UNet2DConditionModel::load(&weights(folder.join(WEIGHTS), DType::F32), &config(folder)).unwrap()
}

fn vae(folder: &Path) -> AutoencoderKL {
    AutoencoderKL::load(&weights(folder.join(WEIGHTS), DType::F32), &config(folder)).unwrap()
}

fn max_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let difference = (a.to_dtype(DType::F32).unwrap() - b).unwrap().abs().unwrap().flatten_all().unwrap();
    difference.max(0).unwrap().to_scalar::<f32>().unwrap()
}

#[track_caller]
fn assert_close(what: &str, ours: &Tensor, theirs: &Tensor, tolerance: f32) {
    let difference = max_difference(ours, theirs);
    println!("{what}: {difference:.1e}");
    assert!(difference <= tolerance, "{what}: {difference} > {tolerance}");
}

/// A golden's conditioning, and the calls that were made with it.
struct UNetCase {
    tensors: HashMap<String, Tensor>,
    notes: Value,
}

impl UNetCase {
    fn read(name: &str) -> Self {
        let name = format!("unet-{name}");
        Self { tensors: golden(&name), notes: golden_json(&name) }
    }

    fn added(&self) -> Option<AddedCond> {
        let text_embeds = self.tensors.get("text_embeds")?.clone();
        Some(AddedCond {
            text_embeds,
            time_ids: serde_json::from_value(self.notes["time_ids"].clone()).unwrap(),
        })
    }

    fn call(&self, model: &UNet2DConditionModel, size: &str, text: &Tensor, limits: &OpLimits) -> Tensor {
        let sample = &self.tensors[&format!("{size}.sample")];
        let timestep = self.notes[format!("{size}.timestep")].as_f64().unwrap();
        let (added, cond) = (self.added(), self.tensors.get("timestep_cond"));
        model.forward(sample, timestep, text, added.as_ref(), cond, limits).unwrap()
    }
}

const UNETS: [(&str, &str); 6] = [
    ("sd15", "pipelines/sd15/unet"),
    ("sd2", "pipelines/sd2/unet"),
    ("sdxl", "pipelines/sdxl/unet"),
    ("lcm", "pipelines/lcm/unet"),
    ("asymmetric", "unets/asymmetric"),
    ("plain_middle", "unets/plain_middle"),
];

const VAES: [(&str, &str); 5] = [
    ("sd15", "pipelines/sd15/vae"),
    ("sd2", "pipelines/sd2/vae"),
    ("sdxl", "pipelines/sdxl/vae"),
    ("lcm", "pipelines/lcm/vae"),
    ("bare", "vaes/bare"),
];

#[test]
fn unets_predict_what_diffusers_predicts() {
    for (name, folder) in UNETS {
        let (case, model) = (UNetCase::read(name), unet(&fixture(folder)));
        let text = &case.tensors["encoder_hidden_states"];
        for size in ["even", "odd"] {
            let ours = case.call(&model, size, text, &OpLimits::default());
            assert_close(
                &format!("{name} {size}"),
                &ours,
                &case.tensors[&format!("{size}.output")],
                TOLERANCE,
            );
        }
    }
}

/// The control: were a conditioning dropped on the way, the goldens would notice.
#[test]
fn every_conditioning_shows_in_the_prediction() {
    for (name, folder) in UNETS {
        let (case, model) = (UNetCase::read(name), unet(&fixture(folder)));
        let text = &case.tensors["encoder_hidden_states"];
        let (sample, expected) = (&case.tensors["even.sample"], &case.tensors["even.output"]);
        let timestep = case.notes["even.timestep"].as_f64().unwrap();
        let limits = OpLimits::default();
        let (added, cond) = (case.added(), case.tensors.get("timestep_cond"));
        let no_text = text.zeros_like().unwrap();
        let mut others = vec![
            ("text", model.forward(sample, timestep, &no_text, added.as_ref(), cond, &limits)),
            ("timestep", model.forward(sample, timestep - 100., text, added.as_ref(), cond, &limits)),
        ];
        if cond.is_some() {
            others.push(("guidance", model.forward(sample, timestep, text, added.as_ref(), None, &limits)));
        }
        if let Some(added) = added {
            let larger = added.time_ids.iter().map(|row| row.iter().map(|id| id + 8.).collect()).collect();
            let sizes = AddedCond { time_ids: larger, ..added.clone() };
            let pooled = AddedCond { text_embeds: added.text_embeds.zeros_like().unwrap(), ..added };
            others.push(("sizes", model.forward(sample, timestep, text, Some(&sizes), cond, &limits)));
            others.push(("pooled text", model.forward(sample, timestep, text, Some(&pooled), cond, &limits)));
            assert!(model.forward(sample, timestep, text, None, cond, &limits).is_err(), "{name}: none");
        }
        for (what, other) in others {
            let difference = max_difference(&other.unwrap(), expected);
            assert!(difference > 100. * TOLERANCE, "{name}: {what} changes only {difference}");
        }
    }
}

#[test]
fn tight_memory_changes_nothing() {
    let tight = OpLimits { attention_bytes: 1000, conv_bytes: 1000, upcast_attention: true };
    for (name, folder) in UNETS {
        let (case, model) = (UNetCase::read(name), unet(&fixture(folder)));
        let ours = case.call(&model, "odd", &case.tensors["encoder_hidden_states"], &tight);
        assert_close(&format!("{name} odd"), &ours, &case.tensors["odd.output"], TOLERANCE);
    }
}

#[test]
fn half_precision_stays_close() {
    let folder = fixture("pipelines/sdxl/unet");
    let model =
        UNet2DConditionModel::load(&weights(folder.join(WEIGHTS), DType::F16), &config(&folder)).unwrap();
    let case = UNetCase::read("sdxl");
    let ours = case.call(&model, "odd", &case.tensors["encoder_hidden_states"], &OpLimits::default());
    assert_eq!(ours.dtype(), DType::F16);
    assert_close("sdxl odd f16", &ours, &case.tensors["odd.output"], 2e-2);
}

#[test]
fn the_guidance_embedding_is_diffusers() {
    let case = UNetCase::read("lcm");
    let scale = case.notes["guidance_scale"].as_f64().unwrap();
    let theirs = &case.tensors["timestep_cond"];
    let ours = guidance_scale_embedding(scale - 1., theirs.dim(1).unwrap(), &Device::Cpu).unwrap();
    assert_close("guidance embedding", &ours, theirs, 1e-6);
}

#[test]
fn vaes_decode_and_encode_what_diffusers_does() {
    let limits = OpLimits::default();
    for (name, folder) in VAES {
        let (golden, model) = (golden(&format!("vae-{name}")), vae(&fixture(folder)));
        let decoded = model.decode(&golden["latents"], &limits).unwrap();
        assert_close(&format!("{name} decode"), &decoded, &golden["decoded"], TOLERANCE);
        let posterior = model.encode(&golden["picture"], &limits).unwrap();
        assert_close(&format!("{name} mean"), posterior.mode(), &golden["mean"], TOLERANCE);
        assert_close(&format!("{name} logvar"), &posterior.logvar, &golden["logvar"], TOLERANCE);
        let sampled = posterior.sample(&golden["noise"]).unwrap();
        assert_close(&format!("{name} sample"), &sampled, &golden["sampled"], TOLERANCE);
    }
}

#[test]
fn tiles_are_cut_and_blended_as_diffusers_does() {
    let limits = OpLimits::default();
    for (name, folder) in VAES {
        let (golden, model) = (golden(&format!("vae-{name}")), vae(&fixture(folder)));
        let (latents, theirs) = (&golden["wide.latents"], &golden["wide.tiled"]);
        let tiling = Tiling::of_latents(4, model.config());
        assert_eq!(tiling.grid(10, 13), (4, 5));
        let tiled = model.decode_tiled(latents, &tiling, &limits).unwrap();
        assert_close(&format!("{name} tiled"), &tiled, theirs, TOLERANCE);
        // The control: without tiles the picture is another one.
        let whole = model.decode(latents, &limits).unwrap();
        assert!(max_difference(&whole, theirs) > 100. * TOLERANCE, "{name}: tiling changes nothing");
        // A tile that holds everything is no tiling at all.
        let one = model.decode_tiled(latents, &Tiling::of_latents(13, model.config()), &limits).unwrap();
        assert_close(&format!("{name} one tile"), &one, &whole, 0.);
    }
}

#[test]
fn the_default_tiling_is_the_training_size() {
    let config: VaeConfig = config(&fixture("pipelines/sd15/vae"));
    let tiling = Tiling::from_config(&config);
    assert_eq!((tiling.latent_size, tiling.sample_size), (8, 32));
    assert!(!tiling.applies(8, 8) && tiling.applies(8, 9) && tiling.applies(9, 8));
}

#[test]
fn latents_scale_there_and_back() {
    let folder = fixture("pipelines/sd2/vae");
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let mut statistics: Value = serde_json::from_str(&text).unwrap();
    let plain = statistics.clone();
    statistics["latents_mean"] = json!([1.0, 2.0, 3.0, 4.0]);
    statistics["latents_std"] = json!([2.0, 2.0, 2.0, 4.0]);
    let mut shifted = plain.clone();
    shifted["shift_factor"] = json!(0.5);
    let latents = Tensor::full(5f32, (1, 4, 1, 1), &Device::Cpu).unwrap();
    // (5 - mean) / std · 0.18215; 5 · 0.18215; (5 - 0.5) · 0.18215
    for (json, expected) in
        [(statistics, [2., 1.5, 1., 0.25]), (plain, [5., 5., 5., 5.]), (shifted, [4.5, 4.5, 4.5, 4.5])]
    {
        let config = component_config::parse("vae/config.json", json.to_string().as_bytes()).unwrap();
        let model = AutoencoderKL::load(&weights(folder.join(WEIGHTS), DType::F32), &config).unwrap();
        let scaled = model.scale_latents(&latents).unwrap();
        let expected = Tensor::new(&expected.map(|v: f32| v * 0.18215), &Device::Cpu).unwrap();
        assert_close("scaled", &scaled.flatten_all().unwrap(), &expected, 1e-6);
        assert_close("and back", &model.unscale_latents(&scaled).unwrap(), &latents, 1e-6);
    }
}

/// Writes `tensors` where a model can be loaded from; the folder lives as long as the returned guard.
fn saved(tensors: &HashMap<String, Tensor>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(WEIGHTS);
    candle_core::safetensors::save(tensors, &path).unwrap();
    (folder, path)
}

fn tensors(path: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(fixture(path).join(WEIGHTS), &Device::Cpu).unwrap()
}

#[test]
fn a_vae_with_old_names_is_the_same() {
    let folder = "pipelines/sd15/vae";
    let golden = golden("vae-sd15");
    let mut renamed = HashMap::new();
    for (name, tensor) in tensors(folder) {
        let name = name
            .replace("to_q", "query")
            .replace("to_k", "key")
            .replace("to_v", "value")
            .replace("to_out.0", "proj_attn");
        let square = name.contains("query.weight") || name.contains("proj_attn.weight");
        let tensor = if square { tensor.unsqueeze(2).unwrap().unsqueeze(3).unwrap() } else { tensor };
        renamed.insert(name, tensor);
    }
    assert!(renamed.contains_key("decoder.mid_block.attentions.0.proj_attn.weight"));
    let (_guard, path) = saved(&renamed);
    let model = AutoencoderKL::load(&weights(path, DType::F32), &config(&fixture(folder))).unwrap();
    let decoded = model.decode(&golden["latents"], &OpLimits::default()).unwrap();
    assert_close("old names", &decoded, &golden["decoded"], TOLERANCE);
}

#[test]
fn weights_that_do_not_fit_are_all_listed() {
    let folder = "pipelines/sdxl/unet";
    let mut tensors = tensors(folder);
    tensors.remove("mid_block.resnets.1.conv2.bias").unwrap();
    let small = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
    tensors.insert("conv_in.bias".into(), small.clone());
    tensors.insert("down_blocks.0.attentions.0.norm.weight".into(), small);
    let (_guard, path) = saved(&tensors);
    let error =
        UNet2DConditionModel::load(&weights(path, DType::F32), &config(&fixture(folder))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the weights of model do not fit its config: 1 missing: mid_block.resnets.1.conv2.bias; \
         1 misshapen: conv_in.bias [3], not [8]; 1 unused: down_blocks.0.attentions.0.norm.weight"
    );
}

/// How SDXL's conditioning got lost elsewhere: a config that does not mention it, and weights nobody asks for.
#[test]
fn a_config_that_forgets_the_conditioning_is_found_out() {
    let folder = fixture("pipelines/sdxl/unet");
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    json["addition_embed_type"] = Value::Null;
    let config = component_config::parse("unet/config.json", json.to_string().as_bytes()).unwrap();
    let error = UNet2DConditionModel::load(&weights(folder.join(WEIGHTS), DType::F32), &config).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("4 unused: add_embedding.linear_1.bias"), "{error}");
}

#[track_caller]
fn refused<C: ModelConfig>(json: &Value) -> String {
    match component_config::parse::<C>("unet/config.json", json.to_string().as_bytes()) {
        Ok(_) => panic!("{json} was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_is_not_implemented_is_an_error_that_names_file_key_and_value() {
    for (json, message) in [
        (json!({"addition_embed_type": "image"}), "addition_embed_type = \"image\" is not implemented"),
        (json!({"down_block_types": ["AttnDownBlock2D"]}), "down_block_types = [\"AttnDownBlock2D\"] is not"),
        (
            json!({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}),
            "mid_block_type = \"UNetMidBlock2DSimple",
        ),
        (json!({"up_block_types": [1]}), "up_block_types = [1] is not implemented"),
        (json!({"act_fn": "snake"}), "act_fn = \"snake\" is not implemented"),
        (json!({"class_embed_type": "timestep"}), "class_embed_type = \"timestep\" is not implemented"),
        (json!({"num_class_embeds": 1000}), "num_class_embeds = 1000 is not implemented"),
        (json!({"dual_cross_attention": true}), "dual_cross_attention = true is not implemented"),
        (json!({"time_embedding_type": "fourier"}), "time_embedding_type = \"fourier\" is not implemented"),
        (json!({"resnet_time_scale_shift": "ada_group"}), "resnet_time_scale_shift = \"ada_group\" is not"),
        (json!({"attention_type": "gated"}), "attention_type = \"gated\" is not implemented"),
        (json!({"num_attention_heads": 8}), "num_attention_heads = 8 is not implemented"),
        (json!({"encoder_hid_dim": 4096}), "encoder_hid_dim = 4096 is not implemented"),
        (json!({"use_fancy_attention": 2}), "use_fancy_attention = 2 is not implemented (known: no such key"),
        (
            json!({"_class_name": "UNet3DConditionModel"}),
            "_class_name = UNet3DConditionModel is not implemented",
        ),
        (json!({"block_out_channels": [8, 16]}), "differ in length"),
        (json!({"attention_head_dim": [8, 8, 8]}), "attention_head_dim has 3 values for 4 blocks"),
        (json!({"attention_head_dim": 7}), "attention_head_dim = 7 does not divide 320 channels"),
        (json!({"norm_num_groups": null}), "norm_num_groups = null is not implemented"),
        (json!({"norm_num_groups": 33}), "norm_num_groups = 33 does not divide 320 channels"),
        (json!({"conv_in_kernel": 4}), "must be odd"),
        (json!({"addition_embed_type": "text_time"}), "needs addition_time_embed_dim"),
        (
            json!({"transformer_layers_per_block": [[1, 1], 1, 1, 1]}),
            "reverse_transformer_layers_per_block must",
        ),
        (json!([1]), "not a JSON object"),
    ] {
        let error = refused::<UNetConfig>(&json);
        assert!(error.starts_with("unet/config.json: ") && error.contains(message), "{json}: {error}");
    }
}

#[test]
fn what_changes_nothing_is_accepted() {
    for json in [
        json!({}),
        json!({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "_name_or_path": "x"}),
        json!({"upcast_attention": null, "sample_size": 64, "dropout": 0.1, "class_embed_type": null}),
        json!({"attention_type": "default", "time_embedding_type": "positional", "dual_cross_attention": false}),
        json!({"resnet_out_scale_factor": 1.0, "addition_embed_type_num_heads": 64, "new_switch": false}),
        json!({"sample_size": [64, 96], "cross_attention_dim": [768, 768, 768, 768]}),
    ] {
        let parsed = component_config::parse::<UNetConfig>("unet/config.json", json.to_string().as_bytes());
        assert!(parsed.is_ok(), "{json}: {:?}", parsed.err());
    }
}

#[test]
fn vae_configs_are_held_to_the_same() {
    for (json, message) in [
        (json!({"down_block_types": ["AttnDownEncoderBlock2D"]}), "down_block_types"),
        (json!({"block_out_channels": [64, 64]}), "differ in length"),
        (json!({"norm_num_groups": 0}), "norm_num_groups = 0 does not divide 64 channels"),
        (json!({"scaling_factor": 0.0}), "scaling_factor = 0 is not a positive number"),
        (json!({"latents_std": [1.0]}), "latents_std has 1 values for 4 latent channels"),
        (json!({"_class_name": "AsymmetricAutoencoderKL"}), "_class_name = AsymmetricAutoencoderKL"),
        (json!({"temporal": 4}), "temporal = 4 is not implemented"),
    ] {
        let error = refused::<VaeConfig>(&json);
        assert!(error.contains(message), "{json}: {error}");
    }
}
