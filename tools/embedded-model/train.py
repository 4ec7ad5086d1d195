"""Trains the embedded model from nothing. Every run is bounded by the clock, not by steps.

    train.py tokenizer                     CLIP byte-pair vocabulary of the captions (CPU, seconds)
    train.py vae --seconds 240             the autoencoder
    train.py diffusion --seconds 960       UNet and text encoder; goes on from out/checkpoint.pt if that is there
    train.py probe --seconds 50            a classifier to score pictures with
    train.py export --model DIR            the diffusers folder

The times are those of one H200; a run on the CPU with `--unet tiny` only shows that the code works.
"""

import argparse
import pathlib

import torch

from training import autoencoder, diffusion, export, probe, tokenizer


def parser():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", default="out", help="folder of everything that is written")
    common.add_argument("--tokenizer", help="folder of vocab.json and merges.txt (default: OUT/tokenizer)")
    run = argparse.ArgumentParser(add_help=False, parents=[common])
    run.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    run.add_argument("--seconds", type=float, default=60)
    run.add_argument("--batch", type=int, default=1024)
    run.add_argument("--lr", type=float, default=1e-3)
    run.add_argument("--workers", type=int, default=14, help="processes that compose pictures")
    run.add_argument("--shard", type=int, default=4096, help="pictures that a worker composes at a time")
    run.add_argument("--validation", type=int, default=1024, help="pictures of the validation set")
    run.add_argument("--every", type=int, default=100, help="steps between lines of the log")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="use torch.compile")
    vae = argparse.ArgumentParser(add_help=False)
    vae.add_argument("--vae", help="checkpoint of the autoencoder (default: OUT/vae.pt)")

    main = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = main.add_subparsers(required=True)

    command = commands.add_parser("tokenizer", parents=[common])
    command.set_defaults(function=lambda args: tokenizer.train(args.tokenizer))

    command = commands.add_parser("vae", parents=[run])
    command.add_argument("--statistics", type=int, default=4096, help="pictures that the latents are whitened by")
    command.set_defaults(function=autoencoder.train)

    command = commands.add_parser("diffusion", parents=[run, vae])
    command.add_argument("--unet", default="small", choices=["small", "tiny"])
    command.add_argument("--sizes", default="128,192,256", help="pixels of a side; 128 must be among them")
    command.add_argument(
        "--large-from", type=float, default=0.5, help="share of the time after which larger ones come"
    )
    command.add_argument("--pool", type=int, default=2_000_000, help="pictures of 128 pixels that are kept")
    command.add_argument("--prefill", type=int, default=150_000, help="pictures to begin with")
    command.add_argument("--drop", type=float, default=0.12, help="share of captions that are left out, for guidance")
    command.add_argument("--ema", type=float, default=0.999, help="how much of the averaged weights a step keeps")
    command.add_argument("--validate-every", type=int, default=1000, help="steps between validations")
    command.add_argument("--checkpoint-every", type=float, default=120, help="seconds between checkpoints; 0 for none")
    command.set_defaults(function=diffusion.train)

    command = commands.add_parser("probe", parents=[run])
    command.set_defaults(function=probe.train)

    command = commands.add_parser("export", parents=[common, vae])
    command.add_argument("--average", help="averaged weights (default: OUT/average.pt)")
    command.add_argument("--model", required=True, help="folder to write")
    command.set_defaults(function=export.export)
    return main


def main():
    args = parser().parse_args()
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, default in {"tokenizer": "tokenizer", "vae": "vae.pt", "average": "average.pt"}.items():
        if name in args and getattr(args, name) is None:
            setattr(args, name, str(out / default))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    args.function(args)


if __name__ == "__main__":
    main()
