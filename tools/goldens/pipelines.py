"""Whole pictures of the tiny pipelines, from prompt and seed to pixels: tests/golden/pipelines.

Each case is a JSON with every parameter of the call, and a file with
    prompt_embeds   what the UNet saw; with guidance the negative prompt's come first
    latents         after every call of the scheduler, [calls, c, h, w]
    image           the decoded picture, [3, height, width], 0…1
    rgb             the picture, [height, width, 3], bytes
    init_image      the picture that it started from, likewise (image to image only)

A random UNet does not take the noise away, so latents end with a standard deviation σ of up to 30. An error of 1e-6 in
every prediction ends up as 2e-5 σ in the latents, 5e-6 in the image and one step in a byte (measured over these
cases): compare latents in units of their σ.
"""

import diffusers
import numpy as np
import PIL.Image
import torch

from transformers import CLIPTextModel

from ._paths import FIXTURES, GOLDEN, write_json, write_tensors

# clip_skip in diffusers 0.42.1 asks for the `text_model` that transformers 5 no longer wraps
CLIPTextModel.text_model = property(lambda encoder: encoder)

OUT = GOLDEN / "pipelines"

# tintype's names for diffusers' classes; what a checkpoint's scheduler_config.json says is kept
SCHEDULERS = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_karras": ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}

HOUSE = "a red house under a yellow sun"
HORSE = "an astronaut riding a horse on mars, 4k"
BLURRY = "blurry, low quality"

# name: pipeline, then what differs from DEFAULTS
DEFAULTS = {
    "class": "StableDiffusionPipeline",
    "scheduler": None,
    "prompt": HOUSE,
    "negative_prompt": None,
    "steps": 4,
    "guidance_scale": 7.5,
    "seed": 42,
    "width": 64,
    "height": 64,
    "eta": 0.0,
    "clip_skip": None,
    "strength": None,
}
XL = {"class": "StableDiffusionXLPipeline", "guidance_scale": 5.0}
LCM = {"class": "LatentConsistencyModelPipeline", "width": 32, "height": 32, "guidance_scale": 8.5}
SD2 = {"width": 32, "height": 32}
CASES = {
    "sd15-default": ("sd15", {}),
    "sd15-negative-wide": ("sd15", {"negative_prompt": BLURRY, "width": 96, "height": 56, "seed": 7}),
    "sd15-no-guidance": ("sd15", {"guidance_scale": 1.0, "scheduler": "ddim", "prompt": HORSE}),
    "sd15-clip-skip": ("sd15", {"clip_skip": 1, "scheduler": "dpmpp_2m_karras", "negative_prompt": BLURRY}),
    "sd15-ddim-eta": ("sd15", {"scheduler": "ddim", "eta": 0.7, "seed": 3}),
    "sd15-ddpm": ("sd15", {"scheduler": "ddpm", "steps": 5}),
    "sd15-euler-ancestral": ("sd15", {"scheduler": "euler_ancestral", "prompt": HORSE, "seed": 2**32 + 5}),
    "sd15-heun": ("sd15", {"scheduler": "heun", "steps": 3}),
    "sd15-lms": ("sd15", {"scheduler": "lms", "steps": 5}),
    "sd15-unipc": ("sd15", {"scheduler": "unipc", "steps": 5}),
    "sd15-img2img": ("sd15", {"class": "StableDiffusionImg2ImgPipeline", "strength": 0.6, "steps": 5}),
    "sd15-img2img-euler-ancestral": (
        "sd15",
        {
            "class": "StableDiffusionImg2ImgPipeline",
            "scheduler": "euler_ancestral",
            "strength": 0.6,
            "steps": 5,
            "width": 48,
            "negative_prompt": BLURRY,
        },
    ),
    "sd2-default": ("sd2", SD2),
    "sd2-negative-euler": ("sd2", SD2 | {"scheduler": "euler", "negative_prompt": BLURRY, "prompt": HORSE}),
    "sd2-dpmpp-2m-sde": ("sd2", SD2 | {"scheduler": "dpmpp_2m_sde", "seed": 0, "steps": 5}),
    "sdxl-default": ("sdxl", XL),
    "sdxl-negative-wide": ("sdxl", XL | {"negative_prompt": BLURRY, "width": 96, "height": 48, "prompt": HORSE}),
    "sdxl-negative-empty": ("sdxl", XL | {"negative_prompt": "", "scheduler": "dpmpp_2m"}),
    "sdxl-turbo": ("sdxl", XL | {"scheduler": "euler_ancestral", "guidance_scale": 0.0, "steps": 1}),
    "sdxl-img2img": (
        "sdxl",
        XL | {"class": "StableDiffusionXLImg2ImgPipeline", "strength": 0.6, "steps": 5, "scheduler": "euler"},
    ),
    "lcm-default": ("lcm", LCM),
    "lcm-stable-diffusion": ("lcm", LCM | {"class": "StableDiffusionPipeline", "prompt": HORSE, "seed": 9}),
}


def init_image(width: int, height: int) -> PIL.Image.Image:
    """A smooth gradient with an edge in it."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rgb = np.stack([x, y, np.where(x + y > 1, 0.8, 0.2)], axis=-1)
    return PIL.Image.fromarray((rgb * 255).round().astype(np.uint8))


def load(case: dict):
    cls = getattr(diffusers, case["class"])
    folder = FIXTURES / "pipelines" / case["pipeline"]
    pipeline = cls.from_pretrained(folder, torch_dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    if case["scheduler"]:
        name, kwargs = SCHEDULERS[case["scheduler"]]
        pipeline.scheduler = getattr(diffusers, name).from_config(pipeline.scheduler.config, **kwargs)
    return pipeline


def run(case: dict) -> dict[str, torch.Tensor]:
    pipeline = load(case)
    tensors, latents = {}, []

    def on_step_end(_, step, timestep, state):
        latents.append(state["latents"][0].clone())
        tensors.setdefault("prompt_embeds", state["prompt_embeds"].clone())
        return {}

    kwargs = {}
    if case["strength"] is None:
        kwargs |= {"width": case["width"], "height": case["height"]}
    else:
        image = init_image(case["width"], case["height"])
        tensors["init_image"] = torch.from_numpy(np.array(image))
        kwargs |= {"image": image, "strength": case["strength"]}
    if case["class"] != "LatentConsistencyModelPipeline":
        kwargs |= {"negative_prompt": case["negative_prompt"], "eta": case["eta"]}
    image = pipeline(
        case["prompt"],
        num_inference_steps=case["steps"],
        guidance_scale=case["guidance_scale"],
        generator=torch.Generator("cpu").manual_seed(case["seed"]),
        clip_skip=case["clip_skip"],
        callback_on_step_end=on_step_end,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
        output_type="pt",
        **kwargs,
    ).images[0]
    tensors["latents"] = torch.stack(latents)
    tensors["image"] = image
    tensors["rgb"] = (image.permute(1, 2, 0) * 255).round().to(torch.uint8)
    return tensors


@torch.no_grad()
def main() -> None:
    for name, (pipeline, differences) in CASES.items():
        case = {"pipeline": pipeline} | DEFAULTS | differences
        tensors = run(case)
        image = tensors["image"]
        clipped = ((image == 0) | (image == 1)).float().mean()
        print(f"{name}: latents σ {tensors['latents'][-1].std():.2f}, {clipped:.0%} of the picture clipped")
        write_json(OUT / f"{name}.json", case)
        write_tensors(OUT / f"{name}.safetensors", tensors)
