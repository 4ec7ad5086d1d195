"""Draws a contact sheet: `python -m scenes --sheet sheet.png --n 48`."""

import argparse
import random

import torch

from .art import Art
from .backdrops import TINT, backdrop
from .catalogue import OBJECTS, PLACES, TIMES
from .render import pack, render, sheet
from .sampling import sample
from .things import Thing


def every_object(rng, style):
    """Every object once, as an icon."""
    for name, entry in OBJECTS.items():
        art = Art(rng, style)
        art.full((0.80, 0.88, 0.95))
        Thing(rng, "train", name).draw(art, 0.5, 0.5, entry["icon"])
        yield name, art.rows, art.gpar


def every_place(rng, style):
    """Every place at every time of day."""
    for place in PLACES:
        for time in TIMES:
            art = Art(rng, style, TINT[time])
            sky = dict(sun=time != "night", moon="full" if time == "night" else None, clouds=True, sx=0.75)
            backdrop(art, place, time, sky, 0.55)
            yield f"{place} {time}", art.rows, art.gpar


def main():
    parser = argparse.ArgumentParser(prog="python -m scenes", description="Draw a contact sheet of random pictures.")
    parser.add_argument("--sheet", default="sheet.png", help="file to write")
    parser.add_argument("--n", type=int, default=48, help="pictures")
    parser.add_argument("--cols", type=int, default=8, help="pictures in a row")
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--domain", choices=["shapes", "object", "scene"])
    parser.add_argument("--style", help="flat, pixel, watercolor, line, cartoon or neon")
    parser.add_argument("--split", default="train", choices=["train", "heldout"])
    parser.add_argument("--objects", action="store_true", help="every object once")
    parser.add_argument("--places", action="store_true", help="every place at every time of day")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    if args.objects:
        pictures = list(every_object(rng, args.style or "flat"))
    elif args.places:
        pictures = list(every_place(rng, args.style or "flat"))
    else:
        pictures = [sample(rng, args.split, args.domain, args.style)[:3] for _ in range(args.n)]
    for i, (caption, rows, _) in enumerate(pictures):
        print(i, len(rows), caption)
    prims = torch.from_numpy(pack([rows for _, rows, _ in pictures]))
    sheet(render(prims, torch.tensor([gpar for _, _, gpar in pictures]), args.size), args.cols, args.sheet)


if __name__ == "__main__":
    main()
