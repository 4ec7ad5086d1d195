"""A procedural picture book: captions and drawings made of signed-distance primitives.

`sample(rng)` makes one random picture: a caption, a list of primitives and labels. It is plain Python, about 0.3 ms
a picture, so it runs in worker processes. `render(prims, gpar, size)` draws a batch of such lists with torch.

Nothing here comes from anywhere but these files: no fonts, no photographs, no data.
"""

from .art import FIELD, NONE
from .captions import SYL
from .labels import L_COUNT, L_PLACE, L_STYLE, L_TIME, PLACE_NAMES, TIME_NAMES, label_vec
from .render import pack, render, sheet
from .sampling import sample
from .words import STYLES

__all__ = [
    "FIELD",
    "L_COUNT",
    "L_PLACE",
    "L_STYLE",
    "L_TIME",
    "NONE",
    "PLACE_NAMES",
    "STYLES",
    "SYL",
    "TIME_NAMES",
    "label_vec",
    "pack",
    "render",
    "sample",
    "sheet",
]
