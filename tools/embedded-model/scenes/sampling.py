"""Random pictures."""

from .art import KMAX
from .scenery import scene_picture
from .shapes import shapes_picture
from .things import object_picture
from .words import STYLE_P, STYLES


def sample(rng, split="train", domain=None, style=None):
    """One picture: (caption, prim rows, picture parameters, labels)."""
    while True:
        d = domain or rng.choices(["shapes", "object", "scene"], [0.30, 0.26, 0.44])[0]
        s = style or rng.choices(STYLES, STYLE_P)[0]
        art, cap, lab = {"shapes": shapes_picture, "object": object_picture, "scene": scene_picture}[d](rng, split, s)
        if len(art.rows) <= KMAX:
            return " ".join(cap.split()), art.rows, art.gpar, lab
