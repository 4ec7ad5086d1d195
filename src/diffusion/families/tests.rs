//! Families against the configs of published models, cut down to the keys that shape them.

use serde_json::{Value, json};

use super::*;
use crate::checkpoint::Blob;

type Files = Vec<(&'static str, Value)>;

fn checkpoint(files: &Files) -> Checkpoint {
    let blob = |json: &Value| Blob::Static(Box::leak(json.to_string().into_bytes().into_boxed_slice()));
    Checkpoint {
        name: "test".into(),
        files: files.iter().map(|(path, json)| ((*path).to_owned(), blob(json))).collect(),
        ..Checkpoint::default()
    }
}

fn profile(files: &Files) -> ModelProfile {
    ModelProfile::read(&checkpoint(files)).unwrap()
}

fn error(files: &Files) -> String {
    ModelProfile::read(&checkpoint(files)).unwrap_err().to_string()
}

/// Overwrites keys of one file.
fn set(files: &mut Files, path: &str, keys: Value) {
    let (_, file) = files.iter_mut().find(|(name, _)| *name == path).unwrap();
    let Value::Object(keys) = keys else { panic!("an object") };
    file.as_object_mut().unwrap().extend(keys);
}

const INDEX: &str = "model_index.json";
const UNET: &str = "unet/config.json";
const SCHEDULER: &str = "scheduler/scheduler_config.json";
const TEXT: &str = "text_encoder/config.json";
const TEXT_2: &str = "text_encoder_2/config.json";

/// stable-diffusion-v1-5
fn sd15() -> Files {
    vec![
        (
            INDEX,
            json!({
                "_class_name": "StableDiffusionPipeline",
                "_diffusers_version": "0.6.0",
                "feature_extractor": ["transformers", "CLIPImageProcessor"],
                "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
                "scheduler": ["diffusers", "PNDMScheduler"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
                "unet": ["diffusers", "UNet2DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"]
            }),
        ),
        (
            UNET,
            json!({
                "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0", "sample_size": 64,
                "cross_attention_dim": 768, "attention_head_dim": 8, "in_channels": 4, "out_channels": 4,
                "block_out_channels": [320, 640, 1280, 1280],
            }),
        ),
        (
            "vae/config.json",
            json!({
                "_class_name": "AutoencoderKL", "latent_channels": 4, "block_out_channels": [128, 256, 512, 512],
                "down_block_types": vec!["DownEncoderBlock2D"; 4], "up_block_types": vec!["UpDecoderBlock2D"; 4],
            }),
        ),
        (
            TEXT,
            json!({
                "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_act": "quick_gelu",
                "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768,
                "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
            }),
        ),
        (
            SCHEDULER,
            json!({"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear", "skip_prk_steps": true}),
        ),
    ]
}

/// stable-diffusion-2-1
fn sd21() -> Files {
    let mut files = sd15();
    let heads = [5, 10, 20, 20];
    set(
        &mut files,
        UNET,
        json!({"sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": heads}),
    );
    set(&mut files, TEXT, json!({"hidden_act": "gelu", "hidden_size": 1024, "num_attention_heads": 16}));
    set(&mut files, SCHEDULER, json!({"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}));
    files
}

/// sd-turbo
fn sd_turbo() -> Files {
    let mut files = sd21();
    let scheduler = json!({
        "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing", "prediction_type": "epsilon",
    });
    set(&mut files, UNET, json!({"sample_size": 64}));
    set(&mut files, SCHEDULER, scheduler);
    files
}

/// stable-diffusion-xl-base-1.0
fn sdxl() -> Files {
    let mut files = sd15();
    let index = json!({
        "_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": true,
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
    });
    let unet = json!({
        "sample_size": 128, "cross_attention_dim": 2048, "block_out_channels": [320, 640, 1280],
        "attention_head_dim": [5, 10, 20], "transformer_layers_per_block": [1, 2, 10],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    });
    let scheduler = json!({
        "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", "prediction_type": "epsilon",
    });
    set(&mut files, INDEX, index);
    set(&mut files, UNET, unet);
    set(&mut files, SCHEDULER, scheduler);
    files.push((
        TEXT_2,
        json!({
            "architectures": ["CLIPTextModelWithProjection"], "hidden_act": "gelu", "hidden_size": 1280,
            "num_attention_heads": 20, "num_hidden_layers": 32, "projection_dim": 1280,
        }),
    ));
    files
}

/// sdxl-turbo
fn sdxl_turbo() -> Files {
    let mut files = sdxl();
    let scheduler = json!({"_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"});
    set(&mut files, UNET, json!({"sample_size": 64}));
    set(&mut files, SCHEDULER, scheduler);
    files
}

/// `LCM_Dreamshaper_v7`
fn lcm() -> Files {
    let mut files = sd15();
    set(&mut files, INDEX, json!({"_class_name": "LatentConsistencyModelPipeline"}));
    set(&mut files, UNET, json!({"time_cond_proj_dim": 256, "sample_size": 96}));
    set(&mut files, SCHEDULER, json!({"_class_name": "LCMScheduler"}));
    files
}

#[test]
fn published_models_get_their_defaults() {
    let mut lcm_in_sd = lcm();
    set(&mut lcm_in_sd, INDEX, json!({"_class_name": "StableDiffusionPipeline"}));
    let mut lcm_in_sdxl = sdxl();
    set(&mut lcm_in_sdxl, UNET, json!({"time_cond_proj_dim": 256}));
    for (files, name, side, steps, guidance_scale, guidance) in [
        (sd15(), "sd1", 512, 50, 7.5, Guidance::ClassifierFree),
        (sd21(), "sd2", 768, 50, 7.5, Guidance::ClassifierFree),
        (sd_turbo(), "sd-turbo", 512, 4, 0., Guidance::Off),
        (sdxl(), "sdxl", 1024, 50, 5., Guidance::ClassifierFree),
        (sdxl_turbo(), "sdxl-turbo", 512, 4, 0., Guidance::Off),
        (lcm(), "lcm", 768, 4, 8.5, Guidance::Embedded(256)),
        (lcm_in_sd, "lcm", 768, 4, 8.5, Guidance::Embedded(256)),
        (lcm_in_sdxl, "lcm-sdxl", 1024, 4, 8., Guidance::Embedded(256)),
    ] {
        let profile = profile(&files);
        assert_eq!(profile.family.name, name);
        assert_eq!(profile.default_size(), ImageSize::new(side, side), "{name}");
        assert_eq!(profile.size_multiple(), 8, "{name}");
        assert_eq!((profile.steps(), profile.guidance_scale()), (steps, guidance_scale), "{name}");
        assert_eq!(profile.guidance(profile.guidance_scale()), guidance, "{name}");
    }
}

#[test]
fn trailing_steps_alone_do_not_make_a_turbo() {
    let trailing = json!({"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"});
    let mut zero_snr = sd21();
    set(&mut zero_snr, SCHEDULER, trailing.clone());
    set(&mut zero_snr, UNET, json!({"sample_size": 64}));
    assert_eq!(profile(&zero_snr).family.name, "sd2");
    let mut large = sdxl();
    set(&mut large, SCHEDULER, trailing);
    assert_eq!(profile(&large).family.name, "sdxl");
}

#[test]
fn every_family_is_reached_and_named_once() {
    let reached: BTreeSet<&str> = [sd15(), sd21(), sd_turbo(), sdxl(), sdxl_turbo(), lcm()]
        .iter()
        .map(|files| profile(files).family.name)
        .chain(["lcm-sdxl"])
        .collect();
    let listed: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(reached, listed);
    for family in FAMILIES {
        assert!(family.steps > 0 && family.guidance_scale.is_finite(), "{}", family.name);
    }
}

#[test]
fn sizes_follow_the_files() {
    let mut files = sd15();
    set(&mut files, UNET, json!({"sample_size": [64, 96]}));
    assert_eq!(profile(&files).default_size(), ImageSize::new(768, 512));
    set(&mut files, UNET, json!({"sample_size": 32}));
    assert_eq!(
        profile(&files).default_size(),
        ImageSize::new(512, 512),
        "diffusers 0.6 wrote 32 and meant 64"
    );
    set(&mut files, UNET, json!({"_diffusers_version": "0.42.1"}));
    assert_eq!(profile(&files).default_size(), ImageSize::new(256, 256));
    files.push(("tintype.json", json!({"steps": 16, "guidance_scale": 4})));
    assert_eq!((profile(&files).steps(), profile(&files).guidance_scale()), (16, 4.));
    assert_eq!(time_ids(ImageSize::new(768, 512)), [512., 768., 0., 0., 512., 768.]);
}

#[test]
fn what_is_not_implemented_is_named() {
    let known = "(known: LatentConsistencyModelPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline)";
    let mut flux = sd15();
    set(&mut flux, INDEX, json!({"_class_name": "FluxPipeline"}));
    assert_eq!(
        error(&flux),
        format!("model_index.json: _class_name = FluxPipeline is not implemented {known}")
    );

    for (base, path, keys, expected) in [
        (sd15(), INDEX, json!({"unet": ["diffusers", "UNet3D"]}), "model_index.json: unet = UNet3D is not"),
        (sd15(), INDEX, json!({"tokenizer": [null, null]}), "model_index.json: tokenizer = null is not"),
        (sd15(), INDEX, json!({"_class_name": null}), "model_index.json: has no _class_name"),
        (sd15(), UNET, json!({"in_channels": 9}), "in_channels = 9, but the VAE's latent_channels = 4"),
        (
            sd15(),
            UNET,
            json!({"cross_attention_dim": 1024}),
            "[1024], but the text encoders' hidden_size is 768",
        ),
        (
            sd15(),
            TEXT,
            json!({"hidden_act": "swiglu"}),
            "text_encoder/config.json: hidden_act = swiglu is not",
        ),
        (sd15(), TEXT, json!({"model_type": "t5"}), "text_encoder/config.json: model_type = t5 is not"),
        (sd15(), TEXT, json!({"num_attention_heads": 7}), "hidden_size = 768 is no multiple"),
        (sdxl(), UNET, json!({"addition_embed_type": null}), "addition_embed_type = null is not"),
        (sdxl(), UNET, json!({"addition_time_embed_dim": 128}), "are 2048"),
        (
            sdxl(),
            INDEX,
            json!({"text_encoder_2": ["transformers", "T5EncoderModel"]}),
            "T5EncoderModel is not",
        ),
        (lcm(), UNET, json!({"time_cond_proj_dim": null}), "time_cond_proj_dim = null is not"),
    ] {
        let mut files = base;
        set(&mut files, path, keys);
        let message = error(&files);
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains('\n'));
    }
    let mut files = sd15();
    files.retain(|(path, _)| *path != UNET);
    assert_eq!(error(&files), "cannot read unet/config.json: the checkpoint does not hold it");
}
