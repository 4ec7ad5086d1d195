#!/usr/bin/env python3
"""Times tintype beside diffusers and stable-diffusion.cpp, in turn, on the same random Stable Diffusion 1.5 weights.

    python3 -m venv .venv && . .venv/bin/activate
    pip install torch diffusers==0.42.1 transformers accelerate safetensors
    pip install --no-binary stable-diffusion-cpp-python stable-diffusion-cpp-python==0.4.7   # cmake, C++ compiler
    scripts/make_sd15.py WEIGHTS                        # 2.1 GB of f16, once
    scripts/make_sd15.py WEIGHTS-PLAIN --plain          # the same as stable-diffusion.cpp reads it
    scripts/bench.py run WEIGHTS [--plain WEIGHTS-PLAIN] [--rounds 3] [--device cuda --dtype float16]

Each round starts every program anew, one after the other, so that what disturbs the machine disturbs all of them.
Of each program's calls the last counts: the first ones warm up. The table has the median of the rounds, the lowest and
the highest, the ratio to diffusers within each round (median), and the peak of resident memory. Values do not change
speed or memory, so random ones do. A UNet step is two halves of classifier-free guidance at 512 x 512: one batch of two,
in stable-diffusion.cpp two calls.
"""
import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import time

LINE = re.compile(r"^(load|text encoder|unet b2 64x64|vae 512 px)\s+([\d.]+) s\s+peak RSS ([\d.]+) GB", re.M)
PARTS = ["text encoder", "unet b2 64x64", "vae 512 px"]


def peak_gb():
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def diffusers(folder, device, dtype, calls, compiled):
    """The peer, in a process of its own; prints lines like tintype's benchmark does."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    def timed(what, f):
        sync = getattr(getattr(torch, device, None), "synchronize", lambda: None)
        sync()
        start = time.perf_counter()
        result = f()
        sync()
        print(f"{what:<14} {time.perf_counter() - start:8.4f} s   peak RSS {peak_gb():.2f} GB", flush=True)
        return result

    def load(cls, part):
        kind = getattr(torch, dtype)
        return cls.from_pretrained(folder, subfolder=part, variant="fp16", torch_dtype=kind).eval().to(device)

    text, unet, vae = timed("load", lambda: (
        load(CLIPTextModel, "text_encoder"), load(UNet2DConditionModel, "unet"), load(AutoencoderKL, "vae")))
    decode = vae.decode
    if compiled:
        unet = torch.compile(unet, mode="reduce-overhead", fullgraph=True)
    with torch.inference_mode():
        ids = torch.randint(0, 49408, (2, 77), device=device)
        for _ in range(2):
            embeddings = timed("text encoder", lambda: text(ids)[0])
        latents = torch.randn(2, 4, 64, 64, device=device, dtype=getattr(torch, dtype))
        t = torch.tensor(500, device=device)
        for _ in range(calls[0]):
            timed("unet b2 64x64", lambda: unet(latents, t, encoder_hidden_states=embeddings).sample)
        latents = latents[:1].clone()
        for _ in range(calls[1]):
            timed("vae 512 px", lambda: decode(latents).sample)


def sdcpp(folder, steps):
    """The peer, in a process of its own: one picture of a few steps."""
    from stable_diffusion_cpp import StableDiffusion

    model = StableDiffusion(model_path=folder, verbose=True)
    model.generate_image(
        prompt="a photo of an astronaut", width=512, height=512, sample_steps=steps, cfg_scale=7.5, seed=1)
    print(f"peak RSS {peak_gb():.2f} GB", flush=True)


def measured(command, steps=None):
    """The last time of each part and the peak in gigabytes, of one run of `command`."""
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{run.stdout[-3000:]}")
    # What tintype computes on the CPU afterwards to compare with begins with a second load.
    first = re.split(r"^load ", run.stdout, flags=re.M)
    output = "load ".join(first[:2])
    times = {part: float(seconds) for part, seconds, _ in LINE.findall(output)}
    peaks = [float(peak) for peak in re.findall(r"peak RSS ([\d.]+) GB", output)]
    if steps:
        taking = {name: float(s) for name, s in re.findall(r"(sampling|decode_first_stage) completed, taking ([\d.]+)s", run.stdout)}
        text = re.findall(r"get_learned_condition completed, taking ([\d.]+)\s*(ms|s)", run.stdout)
        times = {"unet b2 64x64": taking["sampling"] / steps, "vae 512 px": taking["decode_first_stage"]}
        if text:
            times["text encoder"] = float(text[-1][0]) / (1000 if text[-1][1] == "ms" else 1)
    return times, max(peaks)


def run(a):
    calls = [str(n) for n in a.calls]
    tintype = [a.tintype] if a.tintype else ["cargo", "bench", "-q", "--bench", "models", *a.cargo.split(), "--"]
    short = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[a.dtype]
    me = [sys.executable, os.path.abspath(__file__)]
    peer = me + ["diffusers", a.folder, "--device", a.device, "--dtype", a.dtype, "--calls", *calls]
    programs = {"tintype": (tintype + [a.folder, *calls, a.device, short], None), "diffusers": (peer, None)}
    if a.compiled:
        programs["diffusers, compiled"] = (peer + ["--compiled"], None)
    if a.plain:
        programs["stable-diffusion.cpp"] = (me + ["sdcpp", a.plain, "--steps", str(a.sdcpp_steps)], a.sdcpp_steps)
    rounds = []
    for i in range(a.rounds):
        rounds.append({})
        for name, (command, steps) in programs.items():
            rounds[-1][name] = measured(command, steps)
            print(f"round {i + 1}, {name}: {rounds[-1][name]}", file=sys.stderr, flush=True)

    print(f"{a.rounds} rounds, {a.device}, {a.dtype}, {machine(a.device)}\n")
    print("| part | program | median | lowest to highest | of diffusers | peak memory |")
    print("|---|---|---|---|---|---|")
    for part in PARTS:
        for name in programs:
            times = [r[name][0][part] for r in rounds if part in r[name][0]]
            if not times:
                continue
            ratio = statistics.median(r[name][0][part] / r["diffusers"][0][part] for r in rounds)
            peak = statistics.median(r[name][1] for r in rounds)
            print(f"| {part} | {name} | {seconds(statistics.median(times))} | {seconds(min(times))} to {seconds(max(times))} "
                  f"| {ratio:.2f} | {peak:.2f} GB |")


def seconds(s):
    return f"{s:.2f} s" if s >= 1 else f"{s * 1000:.1f} ms"


def machine(device):
    if device == "cuda":
        import torch
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as f:
            name = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), name)
    return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores of {name}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "diffusers"):
        p = commands.add_parser(name, help={"run": "measure", "diffusers": "one run of the peer"}[name])
        p.add_argument("folder")
        p.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
        p.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
        p.add_argument("--calls", type=int, nargs=2, default=[3, 2], help="of the UNet and of the VAE")
        p.add_argument("--compiled", action="store_true", help="torch.compile(mode='reduce-overhead')")
        if name == "run":
            p.add_argument("--rounds", type=int, default=3)
            p.add_argument("--plain", help="weights for stable-diffusion.cpp; without, it is left out")
            p.add_argument("--sdcpp-steps", type=int, default=1)
            p.add_argument("--tintype", help="the program of benches/models.rs, if already built")
            p.add_argument("--cargo", default="", help="more arguments for cargo bench, such as '--features cuda'")
    p = commands.add_parser("sdcpp", help="one run of the peer")
    p.add_argument("folder")
    p.add_argument("--steps", type=int, default=1)
    a = parser.parse_args()
    if a.command == "diffusers":
        diffusers(a.folder, a.device, a.dtype, a.calls, a.compiled)
    elif a.command == "sdcpp":
        sdcpp(a.folder, a.steps)
    else:
        run(a)


if __name__ == "__main__":
    main()
