#!/usr/bin/env python3
"""make_sd15.py OUT [--plain]   a whole pipeline in the exact shapes of Stable Diffusion 1.5 with random weights (f16, 2.1 GB).

Speed and memory do not depend on the values, so nothing has to be downloaded to measure them. The tokenizer is the
embedded model's. The scheduler is DDIM: as many model calls as steps. Needs torch, diffusers and transformers.
--plain names files and tensors as stable-diffusion.cpp reads them: no `.fp16`, the text encoder's under `text_model.`.
"""
import argparse
import json
import shutil
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "models" / "tintype-demo"


def make_weights(out, variant):
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=64, in_channels=4, out_channels=4, cross_attention_dim=768, attention_head_dim=8,
        block_out_channels=(320, 640, 1280, 1280), layers_per_block=2)
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(128, 256, 512, 512), layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, sample_size=512)
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=77, hidden_act="quick_gelu", projection_dim=768))
    for name, model in (("unet", unet), ("vae", vae), ("text_encoder", text)):
        model.half().save_pretrained(out / name, variant=variant)
        print(f"{name}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")


def name_plainly(file):
    """Puts the text encoder's tensors under `text_model.`, where published checkpoints have them."""
    from safetensors.torch import load_file, save_file

    tensors = {k if k.startswith("text_model.") else "text_model." + k: v.clone() for k, v in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    ap.add_argument("--plain", action="store_true", help="as stable-diffusion.cpp reads it")
    args = ap.parse_args()
    out, variant = args.out, None if args.plain else "fp16"
    suffix = f".{variant}" if variant else ""
    if not (out / "unet" / f"diffusion_pytorch_model{suffix}.safetensors").exists():
        make_weights(out, variant)
        if args.plain:
            name_plainly(out / "text_encoder" / "model.safetensors")
    shutil.copytree(DEMO / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    (out / "model_index.json").write_text((DEMO / "model_index.json").read_text())
    (out / "scheduler").mkdir(exist_ok=True)
    (out / "scheduler" / "scheduler_config.json").write_text(json.dumps({
        "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False,
    }, indent=2) + "\n")
    print(out)


if __name__ == "__main__":
    main()
