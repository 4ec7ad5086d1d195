"""A diffusers folder out of the checkpoints: configurations, tokenizer, fp16 safetensors."""

import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

from .networks import SCHEDULER, TEXT, VAE, unet_config
from .tokenizer import END, MAX_LENGTH, START, Tokenizer

DIFFUSERS = "0.42.1"


def export(args):
    """Reads average.pt, vae.pt and the tokenizer; writes what `from_pretrained` reads."""
    model, trained = pathlib.Path(args.model), torch.load(args.average, map_location="cpu")
    vae = torch.load(args.vae, map_location="cpu")
    weights, kind = trained["weights"], trained["meta"]["unet"]

    def write(path, value):
        path = model / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2) + "\n")

    def save(path, tensors):
        tensors = {name: tensor.half().contiguous() for name, tensor in tensors.items()}
        save_file(tensors, model / path, metadata={"format": "pt"})

    def part(prefix):
        return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}

    tokenizer = Tokenizer(args.tokenizer)
    special = dict(bos_token=START, eos_token=END, unk_token=END, pad_token=END)
    settings = dict(
        tokenizer_class="CLIPTokenizer",
        model_max_length=MAX_LENGTH,
        do_lower_case=True,
        add_prefix_space=False,
        errors="replace",
    )
    write("tokenizer/tokenizer_config.json", settings | special)
    write("tokenizer/special_tokens_map.json", special)
    for file in ("vocab.json", "merges.txt"):
        shutil.copyfile(pathlib.Path(args.tokenizer) / file, model / "tokenizer" / file)

    text = dict(
        architectures=["CLIPTextModel"],
        model_type="clip_text_model",
        vocab_size=len(tokenizer.vocab),
        bos_token_id=tokenizer.start,
        eos_token_id=tokenizer.end,
        pad_token_id=tokenizer.end,
        projection_dim=TEXT["hidden_size"],
        attention_dropout=0.0,
        dropout=0.0,
        initializer_factor=1.0,
        initializer_range=0.02,
        torch_dtype="float16",
    )
    write("text_encoder/config.json", text | TEXT)
    save("text_encoder/model.safetensors", part("te."))

    unet = dict(_class_name="UNet2DConditionModel", _diffusers_version=DIFFUSERS)
    write("unet/config.json", unet | unet_config(kind))
    save("unet/diffusion_pytorch_model.safetensors", part("unet."))

    autoencoder = dict(_class_name="AutoencoderKL", _diffusers_version=DIFFUSERS, force_upcast=False)
    write("vae/config.json", autoencoder | VAE)
    save("vae/diffusion_pytorch_model.safetensors", vae["vae"])

    scheduler = dict(_class_name="DDIMScheduler", _diffusers_version=DIFFUSERS, trained_betas=None)
    write("scheduler/scheduler_config.json", scheduler | SCHEDULER)
    index = dict(
        _class_name="StableDiffusionPipeline",
        _diffusers_version=DIFFUSERS,
        feature_extractor=[None, None],
        safety_checker=[None, None],
        image_encoder=[None, None],
        requires_safety_checker=False,
        scheduler=["diffusers", "DDIMScheduler"],
        text_encoder=["transformers", "CLIPTextModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        unet=["diffusers", "UNet2DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )
    write("model_index.json", index)
    rounded = [[round(x, 5) for x in row] for row in vae["rgb"].tolist()]
    preview = dict(
        comment="rgb (-1..1) of a latent pixel = factors^T * latent + bias; "
        "latent is what the UNet sees (already times scaling_factor)",
        latent_channels=4,
        downscale=4,
        factors=rounded[:4],
        bias=rounded[4],
    )
    write("latent_rgb.json", preview)
    write("tintype.json", dict(steps=16, guidance_scale=4.0))
    size = sum(file.stat().st_size for file in model.rglob("*") if file.is_file())
    print(f"{model}: {size / 1e6:.2f} MB")
