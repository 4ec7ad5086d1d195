"""Colours: their values, and how to vary them."""

COLORS = {
    "red": (0.87, 0.16, 0.17),
    "orange": (0.97, 0.53, 0.10),
    "yellow": (0.99, 0.84, 0.16),
    "green": (0.20, 0.64, 0.28),
    "blue": (0.15, 0.38, 0.88),
    "purple": (0.54, 0.24, 0.74),
    "pink": (0.98, 0.55, 0.73),
    "brown": (0.50, 0.31, 0.17),
    "black": (0.10, 0.10, 0.12),
    "white": (0.97, 0.97, 0.97),
    "gray": (0.56, 0.58, 0.61),
    "cyan": (0.16, 0.78, 0.82),
}
BRIGHT = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "cyan"]
ALLC = list(COLORS)


def mix(a, b, t):
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def dark(c, t=0.25):
    return mix(c, (0.04, 0.03, 0.08), t)


def light(c, t=0.3):
    return mix(c, (1, 1, 1), t)


def lum(c):
    """Brightness, 0 to 1."""
    return 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2]


WHITE, BLACK = (0.98, 0.98, 0.98), (0.09, 0.09, 0.11)
WOOD = (0.48, 0.30, 0.17)
LIT = (1.0, 0.86, 0.40)  # a window at night


def jit(rng, c, a=0.03):
    """A colour a little off."""
    return tuple(min(1, max(0, v + rng.uniform(-a, a))) for v in c)


def named(rng, name, mod=None):
    """A colour that a name stands for, never twice the same."""
    c = jit(rng, COLORS[name], 0.025)
    if mod == "light":
        c = light(c, 0.42)
    elif mod == "dark":
        c = dark(c, 0.42)
    return c
