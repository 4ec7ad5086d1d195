"""One call of each UNet and VAE of the fixtures, in f32: tests/golden/models.

Each file has the inputs and what diffusers answers; numbers that are not tensors lie in its JSON.
"""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from ._paths import FIXTURES, GOLDEN, write_json, write_tensors

OUT = GOLDEN / "models"
TIME_IDS = [[64.0, 96.0, 0.0, 8.0, 64.0, 64.0], [1024.0, 768.0, 16.0, 0.0, 64.0, 96.0]]
TOKENS = 7
BATCH = 2


def load(cls, folder):
    return cls.from_pretrained(folder, torch_dtype=torch.float32).eval()


def unet_calls(name: str, folder, seed: int) -> None:
    """At an even and an odd size, at a whole and a fractional timestep."""
    model = load(UNet2DConditionModel, folder)
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    dims = config.cross_attention_dim
    if isinstance(dims, (list, tuple)):
        dims = dims[0]
    tensors = {"encoder_hidden_states": torch.randn(BATCH, TOKENS, dims, generator=generator)}
    kwargs = {}
    notes = {}
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - len(TIME_IDS[0]) * config.addition_time_embed_dim
        tensors["text_embeds"] = torch.randn(BATCH, pooled, generator=generator)
        kwargs["added_cond_kwargs"] = {
            "text_embeds": tensors["text_embeds"],
            "time_ids": torch.tensor(TIME_IDS),
        }
        notes["time_ids"] = TIME_IDS
    if config.time_cond_proj_dim:
        from diffusers import LatentConsistencyModelPipeline as Lcm

        notes["guidance_scale"] = 8.5
        scale = torch.tensor([notes["guidance_scale"] - 1])
        embedding = Lcm.get_guidance_scale_embedding(None, scale, config.time_cond_proj_dim)
        tensors["timestep_cond"] = embedding
        kwargs["timestep_cond"] = embedding.repeat(BATCH, 1)
    for size, (height, width, timestep) in {"even": (8, 16, 981), "odd": (9, 13, 320.25)}.items():
        sample = torch.randn(BATCH, config.in_channels, height, width, generator=generator)
        tensors[f"{size}.sample"] = sample
        notes[f"{size}.timestep"] = timestep
        tensors[f"{size}.output"] = model(
            sample, timestep, tensors["encoder_hidden_states"], return_dict=False, **kwargs
        )[0]
    write_tensors(OUT / f"unet-{name}.safetensors", tensors)
    write_json(OUT / f"unet-{name}.json", notes)


def vae_calls(name: str, folder, seed: int) -> None:
    """Decode, encode, and a tiled decode of 4×4 latent pixels a tile with the last tiles cut off."""
    model = load(AutoencoderKL, folder)
    generator = torch.Generator().manual_seed(seed)
    factor = 2 ** (len(model.config.block_out_channels) - 1)
    latents = torch.randn(BATCH, model.config.latent_channels, 4, 6, generator=generator)
    picture = torch.rand(BATCH, 3, 4 * factor, 6 * factor, generator=generator) * 2 - 1
    noise = torch.randn(BATCH, model.config.latent_channels, 4, 6, generator=generator)
    posterior = model.encode(picture).latent_dist
    tensors = {
        "latents": latents,
        "decoded": model.decode(latents, return_dict=False)[0],
        "picture": picture,
        "mean": posterior.mean,
        "logvar": posterior.logvar,
        "noise": noise,
        "sampled": posterior.mean + posterior.std * noise,
    }
    wide = torch.randn(1, model.config.latent_channels, 10, 13, generator=generator)
    model.enable_tiling()
    model.tile_latent_min_size = 4
    model.tile_sample_min_size = 4 * factor
    tensors["wide.latents"] = wide
    tensors["wide.tiled"] = model.decode(wide, return_dict=False)[0]
    write_tensors(OUT / f"vae-{name}.safetensors", tensors)


@torch.no_grad()
def main() -> None:
    for seed, name in enumerate(("sd15", "sd2", "sdxl", "lcm"), 100):
        unet_calls(name, FIXTURES / "pipelines" / name / "unet", seed)
        vae_calls(name, FIXTURES / "pipelines" / name / "vae", seed + 10)
    for seed, folder in enumerate(sorted((FIXTURES / "unets").iterdir()), 200):
        unet_calls(folder.name, folder, seed)
    for seed, folder in enumerate(sorted((FIXTURES / "vaes").iterdir()), 300):
        vae_calls(folder.name, folder, seed)
