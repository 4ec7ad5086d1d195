#!/usr/bin/env python3
"""Peak memory of whole pictures, with the weights that make_sd15.py made.

  bench_memory.py plan FOLDER [--sizes 256,512] [--image]    the memory plan's prediction beside the measured peak
  bench_memory.py plan FOLDER --device cuda --dtype f16 --steps 6
  bench_memory.py compare FOLDER [--sizes 512,768]           tintype beside diffusers, one after the other

Figures are in MiB, and seconds: on the CPU the resident set's high-water mark of each process (mapped weights counted),
on a GPU what the process holds of its memory. There several steps show what a step holds when it is a CUDA graph (from
the third on). `compare`, on the CPU in f32, runs size by size: tintype, diffusers, tintype with --vae-tiling on,
diffusers with enable_attention_slicing() and vae.enable_tiling(). Needs Linux; `compare` needs torch, diffusers and transformers.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a lighthouse at night"
MIB = 1 << 20


def peak():
    """Bytes that this process held at most."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def tintype(a, size, options=()):
    """The JSON line of one picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [a.tintype, "generate", PROMPT, "--model", a.folder, "-W", str(size), "-H", str(size), "-s",
                   str(a.steps), "-g", "4", "-S", "1", "-o", folder + "/picture.png", "--device", a.device, "--dtype", a.dtype,
                   "--offline", "--memory-budget", "off", "--json", *options]
        if getattr(a, "image", False):
            # any picture: the encoder sees it filled to the size that is asked for
            command += ["--image", str(ROOT / "tests/fixtures/metadata/a1111.png"), "--strength", "1"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        return json.loads(done.stdout)


def diffusers(a, size, sliced):
    """The same by a process of its own."""
    command = [sys.executable, __file__, "diffusers", a.folder, "--sizes", str(size), "--steps", str(a.steps)]
    done = subprocess.run(command + ["--sliced"] * sliced, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run_diffusers(a, size):
    import torch
    from diffusers import StableDiffusionPipeline

    def timed(what, work):
        start = time.perf_counter()
        result = work()
        seconds[what] = time.perf_counter() - start
        memory[what] = peak()
        return result

    seconds, memory = {}, {}
    pipe = timed("load", lambda: StableDiffusionPipeline.from_pretrained(a.folder, variant="fp16", torch_dtype=torch.float32))
    pipe.set_progress_bar_config(disable=True)
    if a.sliced:
        pipe.enable_attention_slicing()
        pipe.vae.enable_tiling()
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(1)
        latents = timed("step", lambda: pipe(
            PROMPT, height=size, width=size, num_inference_steps=a.steps, guidance_scale=4.0, generator=generator,
            output_type="latent").images)
        timed("decode", lambda: pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample)
    print(json.dumps({"seconds": seconds, "memory": memory}))


def plan(a):
    print("| size | phase | predicted | measured | off |\n|---|---|---|---|---|")
    for size in a.sizes:
        for phase, memory in sorted(tintype(a, size, a.options)["memory"].items(), key=lambda item: item[1]["peak"]):
            if memory["predicted"]:
                off = memory["predicted"] / memory["peak"] - 1
                print(f"| {size}² | {phase} | {memory['predicted'] / MIB:.0f} | {memory['peak'] / MIB:.0f} | {off:+.1%} |", flush=True)


def compare(a):
    print(f"{a.steps} steps of batch 2, then the VAE\n")
    print("| size | | load s | step s | decode s | peak after steps | peak |\n|---|---|---|---|---|---|---|")

    def row(size, name, load, step, decode, after_steps, highest):
        print(f"| {size}² | {name} | {load:.1f} | {step:.1f} | {decode:.1f} | {after_steps / MIB:.0f} | {highest / MIB:.0f} |", flush=True)

    for size in a.sizes:
        for tiled in (False, True):
            ours = tintype(a, size, ["--vae-tiling", "on"] if tiled else [])
            seconds, memory = ours["seconds"], {name: phase["peak"] for name, phase in ours["memory"].items()}
            row(size, "tintype" + ", tiles" * tiled, seconds["load"], sum(seconds["steps"]) / len(seconds["steps"]),
                seconds["decode"], max(memory[name] for name in ("load", "encode", "step")), max(memory.values()))
            theirs = diffusers(a, size, tiled)
            seconds, memory = theirs["seconds"], theirs["memory"]
            row(size, "diffusers" + ", slices and tiles" * tiled, seconds["load"], seconds["step"] / a.steps, seconds["decode"],
                memory["step"], memory["decode"])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["plan", "compare", "diffusers"])
    ap.add_argument("folder")
    ap.add_argument("--tintype", default=str(ROOT / "target/release/tintype"), help="the program")
    ap.add_argument("--sizes", default="512", type=lambda text: [int(size) for size in text.split(",")])
    ap.add_argument("--steps", type=int, default=1)
    ap.add_argument("--device", default="cpu", help="plan: cpu, cuda or metal")
    ap.add_argument("--dtype", default="f32", help="plan: f32, f16 or bf16")
    ap.add_argument("--image", action="store_true", help="plan: from a picture, which the VAE encodes")
    ap.add_argument("--sliced", action="store_true", help=argparse.SUPPRESS)
    ap.add_argument("options", nargs="*", help="plan: more options of tintype, after --")
    a = ap.parse_args()
    if a.what == "diffusers":
        run_diffusers(a, a.sizes[0])
    else:
        {"plan": plan, "compare": compare}[a.what](a)


if __name__ == "__main__":
    main()
