"""Trajectories of diffusers' schedulers: tests/golden/schedulers.

Every case runs a scheduler from its first sample to its last with a made-up model that both sides compute, so
that timesteps, scaling, update rule, history and the order of random draws are all compared. NAME.json holds a
scheduler's cases (config, steps, …), NAME.safetensors what came of them, by case number:

    {n}.timesteps   float64 [calls]       what the model is fed as time
    {n}.samples     float32 [calls+1, 64] the first sample, then the sample after each model call
    {n}.originals   float32 [calls, 64]   `pred_original_sample`, for short cases of classes that return one
"""

import inspect
import json
import math
import sys
import types

import numpy as np
import torch
from diffusers import schedulers

from ._paths import GOLDEN, write_tensors

OUT = GOLDEN / "schedulers"

SHAPE = (1, 4, 4, 4)
STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
# spaced so that the first sigma is moderate: at 20,000, where linspace starts, float32 has few digits left
COSINE = {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "leading"}
SIGMA_KINDS = [{f"use_{kind}_sigmas": True} for kind in ("karras", "exponential", "beta")]
SPACINGS = [{"timestep_spacing": spacing} for spacing in ("linspace", "leading", "trailing")]
V_PREDICTION = {"prediction_type": "v_prediction"}
SAMPLE = {"prediction_type": "sample"}
THRESHOLDING = {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5}
CLIP = {"clip_sample": True, "clip_sample_range": 0.8}


def class_of(name):
    if name == "DPMSolverSDEScheduler":
        # Its module wants torchsde for the Brownian tree; the noise is passed in here, so an empty one will do.
        sys.modules.setdefault("torchsde", types.ModuleType("torchsde"))
        from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler

        return DPMSolverSDEScheduler
    return getattr(schedulers, name)


def model(sample, timestep):
    """A smooth function of sample and time, in float64, rounded to float32."""
    x = sample.flatten().double().numpy()
    y = 0.9 * np.sin(0.5 * x + 0.002 * float(timestep) + 0.1 * np.arange(x.size))
    return torch.from_numpy(y.astype(np.float32)).reshape(SHAPE)


def run(class_name, case):
    """One run; returns timesteps, samples and, where the class has them, predicted clean samples."""
    scheduler = class_of(class_name).from_config({"_class_name": class_name, **case["config"]})
    set_timesteps = {key: case[key] for key in ("original_inference_steps", "mu") if key in case}
    if case.get("strength_shortens_schedule"):
        set_timesteps["strength"] = case["strength"]
    scheduler.set_timesteps(case["steps"], **set_timesteps)
    generator = torch.Generator("cpu").manual_seed(case.get("seed", 0))
    noise = torch.randn(SHAPE, generator=generator)

    begin = 0
    if "strength" in case and not case.get("strength_shortens_schedule"):
        # StableDiffusionImg2ImgPipeline.get_timesteps
        done = min(int(case["steps"] * case["strength"]), case["steps"])
        begin = (case["steps"] - done) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        # without it, a schedule whose first two timesteps are cut to the same integer starts at the second
        scheduler.set_begin_index(begin)
    timesteps = scheduler.timesteps[begin:]
    if "strength" in case:
        original = torch.cos(0.3 * torch.arange(math.prod(SHAPE))).reshape(SHAPE)
        add_noise = getattr(scheduler, "add_noise", None) or (lambda x, n, t: scheduler.scale_noise(x, t, n))
        sample = add_noise(original, noise, timesteps[:1])
    else:
        sample = noise * getattr(scheduler, "init_noise_sigma", 1.0)

    parameters = inspect.signature(scheduler.step).parameters
    extra = {"generator": generator} if "generator" in parameters else {}
    if "eta" in parameters:
        extra["eta"] = case.get("eta", 0.0)
    if class_name == "DPMSolverSDEScheduler":
        scheduler.noise_sampler = lambda sigma, sigma_next: torch.randn(SHAPE, generator=generator)

    samples, originals = [sample], []
    for timestep in timesteps:
        scaled = sample
        if hasattr(scheduler, "scale_model_input"):
            scaled = scheduler.scale_model_input(sample, timestep)
        output = scheduler.step(model(scaled, timestep), timestep, sample, **extra)
        sample = output.prev_sample
        samples.append(sample)
        originals.append(output.get("pred_original_sample", output.get("denoised")))
    stack = lambda tensors: torch.stack([tensor.float().flatten() for tensor in tensors])
    assert all(torch.isfinite(sample).all() for sample in samples), case
    return scheduler.timesteps.double(), stack(samples), None if originals[0] is None else stack(originals)


def case(config, steps, **more):
    return {"config": config, "steps": steps, **more}


def sd(steps, *parts, **more):
    """A case with Stable Diffusion's betas."""
    config = dict(STABLE_DIFFUSION)
    for part in parts:
        config.update(part)
    return case(config, steps, **more)


def common():
    """Cases for every class with betas."""
    cases = [case({}, 7), sd(50, seed=1), sd(20, SPACINGS[2])]
    cases += [sd(steps, spacing, seed=steps) for spacing in SPACINGS for steps in (1, 2, 7)]
    cases += [sd(5, COSINE), sd(5, V_PREDICTION), case({"trained_betas": [0.01] * 100, "num_train_timesteps": 100}, 4)]
    cases += [sd(10, strength=0.55), sd(7, SPACINGS[2], strength=0.8)]
    return cases


def sigma_kinds():
    cases = [sd(steps, kind) for kind in SIGMA_KINDS for steps in (2, 7)] + [sd(20, SIGMA_KINDS[0])]
    cases += [sd(7, kind, SPACINGS[1], V_PREDICTION) for kind in SIGMA_KINDS]
    cases += [sd(5, kind, COSINE) for kind in SIGMA_KINDS]
    cases += [sd(8, kind, strength=0.5) for kind in SIGMA_KINDS]
    return cases


def ranged():
    """`sigma_min` and `sigma_max`, which also reach classes that do not declare them."""
    return [sd(5, kind, {"sigma_min": 0.05, "sigma_max": 10.0}) for kind in SIGMA_KINDS]


def solvers():
    """Cases that both multistep solvers have."""
    cases = [sd(steps, {"solver_order": order}) for order in (1, 2, 3) for steps in (3, 16)]
    cases += [sd(7, {"final_sigmas_type": "sigma_min"}, kind) for kind in [{}, *SIGMA_KINDS]]
    cases += [sd(7, ZERO_SNR), sd(7, SAMPLE), sd(5, THRESHOLDING)]
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    cases += [case(flow, 7), case({**flow, "final_sigmas_type": "sigma_min"}, 4)]
    cases += [case({**flow, "use_dynamic_shifting": True}, 5, mu=0.7)]
    return cases


def dpm_solver_multistep(stochastic):
    prefix = "sde-" if stochastic else ""
    plus, plain = {"algorithm_type": prefix + "dpmsolver++"}, {"algorithm_type": prefix + "dpmsolver"}
    heun = {"solver_type": "heun"}
    cases = [*common(), *sigma_kinds(), *ranged(), *solvers()]
    cases += [sd(7, {"euler_at_final": True, "final_sigmas_type": "sigma_min"}), sd(6, {"use_lu_lambdas": True})]
    cases += [sd(16, {"lower_order_final": False}), sd(5, {"lower_order_final": False})]
    cases += [sd(5, COSINE, spacing, {"lambda_min_clipped": -5.1}) for spacing in SPACINGS]
    for cased in cases:
        cased["config"] = {**cased["config"], **plus}
    cases += [sd(7, plus, heun), sd(7, plus, heun, {"solver_order": 3})]
    sigma_min = {"final_sigmas_type": "sigma_min"}
    for extra in ({}, heun, V_PREDICTION, SAMPLE, THRESHOLDING):
        cases.append(sd(7, plain, sigma_min, extra))
    if not stochastic:
        cases.append(sd(7, plain, sigma_min, {"solver_order": 3}))
    return cases


def distilled():
    # LCM and TCD have no spacing; `original_inference_steps` takes its place.
    cases = [case({}, steps) for steps in (1, 2, 4, 7, 50)]
    cases += [case({"original_inference_steps": 100}, 8), case({}, 8, original_inference_steps=40)]
    cases += [sd(4, part) for part in (COSINE, V_PREDICTION, SAMPLE, THRESHOLDING, CLIP)]
    cases += [sd(4, {"set_alpha_to_one": False}), sd(4, {"rescale_betas_zero_snr": True, **V_PREDICTION})]
    cases += [case({}, 6, strength=0.5), case({}, 4, strength=0.6, strength_shortens_schedule=True)]
    return cases


def cases_of(name):
    match name:
        case "ddim":
            cases = [*common(), sd(7, ZERO_SNR), sd(7, SAMPLE), sd(5, THRESHOLDING), sd(5, CLIP)]
            cases += [sd(7, {"clip_sample": False}, eta=eta) for eta in (0.5, 1.0)]
            cases += [sd(7, {"clip_sample": False, "set_alpha_to_one": False}), sd(7, ZERO_SNR, eta=0.5)]
            cases += [sd(20, {"clip_sample": False}, strength=0.75, eta=0.3)]
        case "ddpm":
            cases = [*common(), sd(7, ZERO_SNR), sd(7, SAMPLE), sd(5, THRESHOLDING), sd(5, CLIP)]
            cases += [sd(5, {"beta_schedule": kind}) for kind in ("sigmoid", "laplace")]
            kinds = ("fixed_small_log", "fixed_large")
            cases += [sd(5, {"variance_type": kind, "clip_sample": False}) for kind in kinds]
        case "pndm":
            skip = {"skip_prk_steps": True}
            cases = [{**cased, "config": {**cased["config"], **skip}} for cased in common()]
            cases += [cased for cased in common() if cased["steps"] >= 4]
            cases += [sd(7, skip, {"set_alpha_to_one": True})]
        case "euler":
            cases = [*common(), *sigma_kinds(), *ranged(), sd(7, ZERO_SNR), sd(7, SAMPLE)]
            cases += [sd(7, {"final_sigmas_type": "sigma_min"}), sd(7, {"interpolation_type": "log_linear"})]
            continuous = {"timestep_type": "continuous", **V_PREDICTION}
            cases += [sd(7, continuous), sd(7, continuous, SIGMA_KINDS[0])]
        case "euler_ancestral":
            cases = [*common(), sd(7, ZERO_SNR)]
        case "heun":
            cases = [*common(), *sigma_kinds(), *ranged(), sd(5, {"beta_schedule": "exp"}), sd(5, CLIP), sd(7, SAMPLE)]
        case "lms":
            cases = [*common(), *sigma_kinds(), *ranged(), sd(7, SAMPLE)]
        case "dpmpp_2m":
            cases = dpm_solver_multistep(stochastic=False)
        case "dpmpp_2m_sde":
            cases = dpm_solver_multistep(stochastic=True)
        case "dpmpp_sde":
            cases = [*common(), *sigma_kinds(), *ranged()]
        case "unipc":
            cases = [*common(), *sigma_kinds(), *ranged(), *solvers()]
            cases += [sd(7, {"disable_corrector": [0, 2]}), sd(5, {"lower_order_final": False, "solver_order": 1})]
            sigma_min = {"final_sigmas_type": "sigma_min"}
            cases += [sd(7, sigma_min, {"solver_type": "bh1", "solver_order": order}) for order in (2, 3)]
            cases += [sd(7, sigma_min, {"lower_order_final": False})]
            noise = {**sigma_min, "predict_x0": False}
            cases += [sd(7, noise, part) for part in ({}, V_PREDICTION, SAMPLE, {"solver_order": 3})]
            flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "shift_terminal": 0.1}
            cases += [case(flow, 5), case({**flow, **SIGMA_KINDS[0]}, 5)]
        case "lcm":
            cases = distilled()
        case "tcd":
            cases = [{**cased, "eta": eta} for eta in (0.0, 0.3) for cased in distilled()]
        case "flow_match_euler":
            cases = [case({}, steps) for steps in (1, 2, 7, 20)] + [case({"shift": 3.0}, 7), case({}, 8, strength=0.5)]
            cases += [case({"shift": 3.0, **kind}, 7) for kind in SIGMA_KINDS]
            dynamic = {"use_dynamic_shifting": True}
            cases += [case({**dynamic, "time_shift_type": kind}, 5, mu=0.8) for kind in ("exponential", "linear")]
            cases += [case({"shift_terminal": 0.1}, 5), case({"invert_sigmas": True}, 5)]
            cases += [case({"stochastic_sampling": True}, 5)]
    return cases


CLASSES = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "pndm": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
    "dpmpp_2m_sde": "DPMSolverMultistepScheduler",
    "dpmpp_sde": "DPMSolverSDEScheduler",
    "unipc": "UniPCMultistepScheduler",
    "lcm": "LCMScheduler",
    "tcd": "TCDScheduler",
    "flow_match_euler": "FlowMatchEulerDiscreteScheduler",
}


def defaults():
    """The parameters of every class' `__init__` and their defaults."""
    found = {}
    for name in sorted(set(CLASSES.values())):
        parameters = list(inspect.signature(class_of(name).__init__).parameters.values())[1:]
        found[name] = {p.name: None if p.default == -math.inf else p.default for p in parameters}
    return found


def write_lines(path, values):
    """JSON with one line a value: short enough to read, and to see in a diff."""
    if isinstance(values, dict):
        lines, ends = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items()], "{}"
    else:
        lines, ends = [json.dumps(value) for value in values], "[]"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{ends[0]}\n" + ",\n".join(lines) + f"\n{ends[1]}\n")


def main():
    write_lines(OUT / "defaults.json", defaults())
    for name, class_name in CLASSES.items():
        tensors, cases = {}, []
        for n, cased in enumerate(cases_of(name)):
            try:
                timesteps, samples, originals = run(class_name, cased)
            except Exception as error:
                raise RuntimeError(f"{name}: {cased}") from error
            cases.append({**cased, "config": {"_class_name": class_name, **cased["config"]}})
            tensors[f"{n}.timesteps"], tensors[f"{n}.samples"] = timesteps, samples
            if originals is not None and cased["steps"] in (4, 5):
                tensors[f"{n}.originals"] = originals
        write_tensors(OUT / f"{name}.safetensors", tensors)
        write_lines(OUT / f"{name}.json", cases)
        print(f"{name}: {len(cases)} cases")
