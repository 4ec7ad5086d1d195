"""Tiny pipelines with random weights, in the very layout of their big siblings on the Hub.

Written to tests/fixtures/pipelines/{sd15,sd2,sdxl,lcm}: enough of everything to be wrong in (odd head counts, three
VAE scale factors, both text encoders, a guidance embedding, old and new weight names), each well under 1 MB. Two odd
UNets and a bare VAE with the config keys that no well-known checkpoint sets go to tests/fixtures/{unets,vaes}.
"""

import gzip
import importlib.metadata
import json
import math
import pathlib
import shutil

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ._paths import FIXTURES, write_json

PIPELINES = FIXTURES / "pipelines"
MERGES = 486
START, END = "<|startoftext|>", "<|endoftext|>"


# --- weights -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def randomize(model: torch.nn.Module, seed: int, out_gain: float = 1.0) -> None:
    """Fill with weights that keep activations near unit variance, so that every layer shows in the result."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            parameter.copy_(0.2 * noise + (1.0 if name.endswith("weight") else 0.0))
        elif name.endswith("bias"):
            parameter.copy_(0.1 * noise)
        elif "embedding" in name and "linear" not in name and "proj" not in name:
            parameter.copy_(0.5 * noise)
        else:
            fan_in = math.prod(parameter.shape[1:])
            gain = out_gain if "conv_out" in name else 1.0
            parameter.copy_(gain * noise / math.sqrt(fan_in))


def stored_as(folder: pathlib.Path, dtype: torch.dtype) -> None:
    """Rewrite the weights below `folder` in `dtype`, as most of the Hub's files are f16."""
    for path in folder.rglob("*.safetensors"):
        tensors = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})


def old_text_encoder_names(folder: pathlib.Path) -> None:
    """The names of transformers 4, which nearly all files on the Hub have: a prefix, and a buffer nobody reads."""
    path = folder / "model.safetensors"
    tensors = {
        name if name.startswith("text_model.") else f"text_model.{name}": tensor
        for name, tensor in load_file(path).items()
    }
    positions = tensors["text_model.embeddings.position_embedding.weight"].shape[0]
    tensors["text_model.embeddings.position_ids"] = torch.arange(positions)[None]
    save_file(tensors, path, metadata={"format": "pt"})


# --- tokenizer -----------------------------------------------------------------------------------------------------


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in CLIP's order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + i) for i in range(len(rest))]


def write_tokenizer(folder: pathlib.Path, pad_token: str) -> None:
    """CLIP's tokenizer cut down to its first merges; ids keep CLIP's order, the end token is the last one."""
    package = importlib.metadata.distribution("open_clip_torch")
    source = package.locate_file("open_clip/bpe_simple_vocab_16e6.txt.gz")
    merges = gzip.open(source).read().decode().split("\n")[1 : 1 + MERGES]
    alphabet = byte_alphabet()
    tokens = alphabet + [token + "</w>" for token in alphabet] + ["".join(merge.split()) for merge in merges]
    tokens += [START, END]
    folder.mkdir(parents=True)
    vocab = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad_token}
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            **special,
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": 77,
            "tokenizer_class": "CLIPTokenizer",
        },
    )


# --- components ----------------------------------------------------------------------------------------------------


def text_config(hidden_act: str, layers: int, hidden: int = 32, **rest) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=512 + MERGES + 2,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=77,
        hidden_act=hidden_act,
        # the Hub's files say 0 and 2 whatever the tokenizer says, and pooling depends on it
        bos_token_id=0,
        eos_token_id=2,
        pad_token_id=1,
        **rest,
    )


def vae(channels: tuple[int, ...], scaling_factor: float, seed: int, **rest) -> AutoencoderKL:
    model = AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=scaling_factor,
        **rest,
    )
    randomize(model, seed, out_gain=0.4)
    return model


def unet(seed: int, **config) -> UNet2DConditionModel:
    config.setdefault("norm_num_groups", 4)
    model = UNet2DConditionModel(**config)
    randomize(model, seed)
    return model


# --- pipelines -----------------------------------------------------------------------------------------------------

# scheduler/scheduler_config.json as the Hub's checkpoints have it: keys of other schedulers that only show after a
# switch, and keys left out that then take the new scheduler's default
NOISE = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "trained_betas": None,
}
SCHEDULERS = {
    "sd15": {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        **NOISE,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
    },
    "sd2": {
        "_class_name": "DDIMScheduler",
        "_diffusers_version": "0.8.0",
        **NOISE,
        "prediction_type": "v_prediction",
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
    },
    "sdxl": {
        "_class_name": "EulerDiscreteScheduler",
        "_diffusers_version": "0.19.0.dev0",
        **NOISE,
        "interpolation_type": "linear",
        "prediction_type": "epsilon",
        "sample_max_value": 1.0,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "use_karras_sigmas": False,
    },
    "lcm": {
        "_class_name": "LCMScheduler",
        "_diffusers_version": "0.22.0.dev0",
        **NOISE,
        "clip_sample_range": 1.0,
        "dynamic_thresholding_ratio": 0.995,
        "original_inference_steps": 50,
        "prediction_type": "epsilon",
        "rescale_betas_zero_snr": False,
        "sample_max_value": 1.0,
        "set_alpha_to_one": True,
        "steps_offset": 1,
        "thresholding": False,
        "timestep_spacing": "leading",
    },
}


def scheduler(name: str):
    config = SCHEDULERS[name]
    return getattr(diffusers, config["_class_name"]).from_config(config)


def stable_diffusion(text: CLIPTextModel, pad_token: str, folder: pathlib.Path, **components):
    write_tokenizer(folder / "tokenizer", pad_token)
    return diffusers.StableDiffusionPipeline(
        text_encoder=text,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **components,
    )


def sd15(folder: pathlib.Path):
    text = CLIPTextModel(text_config("quick_gelu", layers=3))
    randomize(text, 1)
    return stable_diffusion(
        text,
        END,
        folder,
        vae=vae((8, 8, 16), 0.18215, 2),
        unet=unet(
            3,
            sample_size=16,
            block_out_channels=(8, 16, 16),
            layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=2,
        ),
        scheduler=scheduler("sd15"),
    )


def sd2(folder: pathlib.Path):
    text = CLIPTextModel(text_config("gelu", layers=2))
    randomize(text, 4)
    return stable_diffusion(
        text,
        "!",
        folder,
        vae=vae((8, 16), 0.18215, 5),
        unet=unet(
            6,
            sample_size=16,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            upcast_attention=True,
        ),
        scheduler=scheduler("sd2"),
    )


def sdxl(folder: pathlib.Path):
    first = CLIPTextModel(text_config("quick_gelu", layers=2))
    second = CLIPTextModelWithProjection(text_config("gelu", layers=3, hidden=40, projection_dim=24))
    randomize(first, 7)
    randomize(second, 8)
    write_tokenizer(folder / "tokenizer", END)
    write_tokenizer(folder / "tokenizer_2", "!")
    return diffusers.StableDiffusionXLPipeline(
        vae=vae((8, 8, 8, 16), 0.13025, 9),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder / "tokenizer_2"),
        unet=unet(
            10,
            sample_size=8,
            block_out_channels=(8, 16, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            attention_head_dim=(1, 2, 4),
            cross_attention_dim=72,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=24 + 6 * 4,
        ),
        scheduler=scheduler("sdxl"),
    )


def lcm(folder: pathlib.Path):
    text = CLIPTextModel(text_config("quick_gelu", layers=2))
    randomize(text, 11)
    write_tokenizer(folder / "tokenizer", END)
    return diffusers.LatentConsistencyModelPipeline(
        vae=vae((8, 16), 0.18215, 12),
        text_encoder=text,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        unet=unet(
            13,
            sample_size=16,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=2,
            time_cond_proj_dim=16,
        ),
        scheduler=scheduler("lcm"),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


# --- odd UNets -----------------------------------------------------------------------------------------------------

ODD_UNETS = {
    # depths per attention, no middle, everything about time switched the other way
    "asymmetric": {
        "block_out_channels": (8, 16, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "mid_block_type": None,
        "layers_per_block": (1, 2, 1),
        "transformer_layers_per_block": [[1], [1, 2], [2]],
        "reverse_transformer_layers_per_block": [[1, 2], [2, 1, 1], [1, 1]],
        "attention_head_dim": (2, 2, 4),
        "cross_attention_dim": (20, 20, 20),
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "time_embedding_dim": 20,
        "time_embedding_act_fn": "silu",
        "timestep_post_act": "mish",
        "resnet_time_scale_shift": "scale_shift",
        "act_fn": "gelu",
    },
    # the bottom without attention, first attentions to the text, other kernels and paddings, another picture range
    "plain_middle": {
        "in_channels": 5,
        "out_channels": 3,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "mid_block_type": "UNetMidBlock2D",
        "mid_block_scale_factor": 1.5,
        "layers_per_block": 1,
        "only_cross_attention": (True, False),
        "attention_head_dim": 4,
        "cross_attention_dim": 20,
        "center_input_sample": True,
        "downsample_padding": 0,
        "conv_in_kernel": 5,
        "conv_out_kernel": 1,
        "norm_eps": 1e-3,
        "norm_num_groups": 2,
    },
}


# what an autoencoder without its 1×1 convolutions and its attention looks like
BARE_VAE = {"use_quant_conv": False, "use_post_quant_conv": False, "mid_block_add_attention": False, "act_fn": "gelu"}


def main() -> None:
    for build in (sd15, sd2, sdxl, lcm):
        folder = PIPELINES / build.__name__
        shutil.rmtree(folder, ignore_errors=True)
        tokenizers = folder.parent / f".{build.__name__}"
        shutil.rmtree(tokenizers, ignore_errors=True)
        pipeline = build(tokenizers)
        pipeline.save_pretrained(folder, safe_serialization=True)
        write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULERS[folder.name])
        # the files of a tokenizer as the Hub has them, not as transformers 5 writes them
        for tokenizer in tokenizers.iterdir():
            shutil.rmtree(folder / tokenizer.name)
            shutil.move(tokenizer, folder / tokenizer.name)
        tokenizers.rmdir()
        # f32 and f16 files, old names and new ones
        stored_as(folder / "unet" if build is sd15 else folder, torch.float16)
        if build is sd15:
            old_text_encoder_names(folder / "text_encoder")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder.name}: {size / 1024:.0f} KiB")
    for seed, (name, config) in enumerate(ODD_UNETS.items(), 20):
        folder = FIXTURES / "unets" / name
        shutil.rmtree(folder, ignore_errors=True)
        unet(seed, **config).save_pretrained(folder, safe_serialization=True)
        stored_as(folder, torch.float16)
    folder = FIXTURES / "vaes" / "bare"
    shutil.rmtree(folder, ignore_errors=True)
    vae((8, 16), 0.5, 30, latent_channels=3, **BARE_VAE).save_pretrained(folder, safe_serialization=True)
    stored_as(folder, torch.float16)
