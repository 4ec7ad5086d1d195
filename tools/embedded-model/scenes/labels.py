"""What is in a picture, as numbers: what the probe learns to see.

The vector: objects (0 or 1 each) | shape and colour pairs | object and colour pairs | place | time | style | count.
"""

from .catalogue import OBJ_NAMES, PLACES, TIMES
from .colors import ALLC
from .words import SHAPES, STYLES

PLACE_NAMES, TIME_NAMES = list(PLACES), list(TIMES)
NL = dict(obj=len(OBJ_NAMES), shape=len(SHAPES) * len(ALLC), objcol=len(OBJ_NAMES) * len(ALLC))
L_OBJ, L_PAIR = 0, NL["obj"]
L_OC = L_PAIR + NL["shape"]
L_PLACE = L_OC + NL["objcol"]
L_TIME, L_STYLE, L_COUNT = L_PLACE + 1, L_PLACE + 2, L_PLACE + 3
L_LEN = L_PLACE + 4


def label_vec(lab):
    """The vector of a picture's labels."""
    v = [0] * L_LEN
    v[L_PLACE] = len(PLACE_NAMES)  # none
    v[L_TIME] = len(TIME_NAMES)
    v[L_STYLE] = STYLES.index(lab["style"])
    for t in lab.get("things", ()):
        i = OBJ_NAMES.index(t["name"])
        v[L_OBJ + i] = 1
        if t["color"]:
            v[L_OC + i * len(ALLC) + ALLC.index(t["color"])] = 1
    for g in lab.get("groups", ()):
        v[L_PAIR + SHAPES.index(g["shape"]) * len(ALLC) + ALLC.index(g["color"])] = 1
    if lab["domain"] == "scene":
        v[L_PLACE], v[L_TIME] = PLACE_NAMES.index(lab["place"]), TIME_NAMES.index(lab["time"])
    if lab["domain"] == "shapes" and len(lab["groups"]) == 1:
        v[L_COUNT] = lab["groups"][0]["n"]
    return v
