"""What `from_config` makes of checkpoints' scheduler configs: tests/golden/schedulers/from_config.json.

Each line holds a checkpoint's `scheduler_config.json`, whether the pipeline is `StableDiffusionPipeline` (which changes
the config of the scheduler that it is given), and by the name of the scheduler asked for ("": the checkpoint's own) what
in the config that comes out is not the class' default: of the parameters that the class knows, and `sigma_min` and
`sigma_max` where they lie hidden.
"""

import inspect

import diffusers

from .schedulers import CLASSES, OUT, class_of, write_lines

BETAS = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}

# as the checkpoints on the Hub have them, and some that are told apart by what they leave out
FILES = [
    # Stable Diffusion 1.5
    {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", **BETAS, "clip_sample": False,
     "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None},
    # Stable Diffusion 2.1
    {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", **BETAS, "clip_sample": False,
     "prediction_type": "v_prediction", "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1},
    # SDXL
    {"_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", **BETAS, "clip_sample": False,
     "interpolation_type": "linear", "prediction_type": "epsilon", "sample_max_value": 1.0,
     "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading",
     "use_karras_sigmas": False},
    # SDXL Turbo
    {"_class_name": "EulerAncestralDiscreteScheduler", **BETAS, "clip_sample": False, "interpolation_type": "linear",
     "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False, "skip_prk_steps": True,
     "steps_offset": 1, "timestep_spacing": "trailing", "use_karras_sigmas": False},
    # a latent consistency model
    {"_class_name": "LCMScheduler", **BETAS, "clip_sample": False, "clip_sample_range": 1.0,
     "dynamic_thresholding_ratio": 0.995, "original_inference_steps": 50, "prediction_type": "epsilon",
     "rescale_betas_zero_snr": False, "sample_max_value": 1.0, "set_alpha_to_one": True, "steps_offset": 1,
     "thresholding": False, "timestep_scaling": 10.0, "timestep_spacing": "leading"},
    # the first release of Stable Diffusion
    {"_class_name": "PNDMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
     "skip_prk_steps": True},
    {"_class_name": "DDIMScheduler", **BETAS, "clip_sample": True, "steps_offset": 0},
    {"_class_name": "DDIMScheduler"},
    {"_class_name": "EulerDiscreteScheduler", **BETAS, "use_karras_sigmas": True, "sigma_min": 0.03,
     "sigma_max": 12.0, "final_sigmas_type": "sigma_min", "rescale_betas_zero_snr": True},
    {"_class_name": "UniPCMultistepScheduler", **BETAS, "solver_type": "bh2", "solver_order": 3,
     "predict_x0": True, "lower_order_final": True, "disable_corrector": [0], "use_exponential_sigmas": True},
    {"_class_name": "DPMSolverMultistepScheduler", **BETAS, "algorithm_type": "sde-dpmsolver++",
     "solver_type": "heun", "euler_at_final": True, "use_lu_lambdas": True, "variance_type": None},
    {"_class_name": "DDPMScheduler", **BETAS, "variance_type": "fixed_small", "thresholding": True},
    # a class that is not implemented here, but whose keys other classes know
    {"_class_name": "DEISMultistepScheduler", **BETAS, "algorithm_type": "deis", "solver_type": "logrho",
     "solver_order": 2, "steps_offset": 1},
]

# diffusers makes a flow-matching scheduler of any config, but no such checkpoint works with it
ASKED = {
    **{name: {} for name in CLASSES if name != "flow_match_euler"},
    "dpmpp_2m": {"algorithm_type": "dpmsolver++"},
    "dpmpp_2m_sde": {"algorithm_type": "sde-dpmsolver++"},
}


def around(scheduler):
    """The scheduler as the pipeline leaves it."""
    parts = dict.fromkeys(["vae", "text_encoder", "tokenizer", "unet", "safety_checker", "feature_extractor"])
    pipeline = diffusers.StableDiffusionPipeline(**parts, scheduler=scheduler, requires_safety_checker=False)
    return pipeline.scheduler


def shown(scheduler):
    parameters = list(inspect.signature(type(scheduler).__init__).parameters.values())[1:]
    default = {"sigma_min": None, "sigma_max": None} | {parameter.name: parameter.default for parameter in parameters}
    config = scheduler.config
    return {key: config[key] for key in sorted(default) if key in config and config[key] != default[key]}


def main():
    lines = []
    for file in FILES:
        for in_pipeline in (False, True):
            own = getattr(diffusers, file["_class_name"]).from_config(file)
            own = around(own) if in_pipeline else own
            made = {"": own} if file["_class_name"] in CLASSES.values() else {}
            for name, overrides in ASKED.items():
                if CLASSES[name] == file["_class_name"] and in_pipeline:
                    continue  # by name or not, a checkpoint's own scheduler is one thing here
                made[name] = class_of(CLASSES[name]).from_config(own.config, **overrides)
            configs = {name: shown(scheduler) for name, scheduler in made.items()}
            lines.append({"file": file, "stable_diffusion_pipeline": in_pipeline, "configs": configs})
    write_lines(OUT / "from_config.json", lines)
