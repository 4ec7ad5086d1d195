#!/usr/bin/env python3
"""gif.py OUT.gif FRAME.png...   Screenshots, in order, as a small GIF. Needs Pillow.

A frame is named NUMBER-DELAY.png, DELAY in hundredths of a second since the one before. Frames that show the same
become one, at least 0.3 s lie between two, nothing is shown longer than 1.5 s: waiting is cut out.
"""
import re, sys
from PIL import Image, ImageChops

COLOURS, SHORTEST, LONGEST = 96, 30, 150


def frames(paths):
    """Pictures, each with how long it is shown."""
    out = []
    for path in paths:
        spent = int(re.search(r"-(\d+)\.png$", path)[1])
        if out:
            out[-1][1] += spent
        image = Image.open(path).convert("RGB")
        if out and out[-1][1] < SHORTEST:
            out[-1][0] = image
        elif not out or ImageChops.difference(image, out[-1][0]).getbbox():
            out.append([image, 0])
    out[-1][1] = LONGEST
    return [(image, min(shown, LONGEST)) for image, shown in out]


def main(target, *paths):
    shown = frames(paths)
    # one palette for all, of frames from all over
    samples = [image for image, _ in shown[:: max(1, len(shown) // 12)]]
    width, height = samples[0].size
    sheet = Image.new("RGB", (width, height * len(samples)))
    for row, image in enumerate(samples):
        sheet.paste(image, (0, row * height))
    palette = sheet.quantize(COLOURS, Image.Quantize.MEDIANCUT, kmeans=2)
    small = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image, _ in shown]
    small[0].save(target, save_all=True, append_images=small[1:], loop=0, optimize=False,
                  duration=[10 * time for _, time in shown])


main(*sys.argv[1:])
