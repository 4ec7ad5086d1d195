"""Pictures of coloured shapes: alone, several, related to each other, inside each other, patterns."""

import math

from .art import Art, Pen
from .captions import article, count_noun, cword, decorate
from .colors import ALLC, BRIGHT, COLORS, WHITE, jit, light, mix, named
from .words import SHAPE_WORDS, SHAPES, held, plural

SIZES = {
    "tiny": (0.045, 0.06),
    "small": (0.07, 0.095),
    "medium": (0.12, 0.16),
    "large": (0.22, 0.27),
    "huge": (0.32, 0.40),
}
SIZE_WORDS = {
    "tiny": ["tiny", "very small"],
    "small": ["small", "small", "little"],
    "medium": ["medium", "medium sized"],
    "large": ["large", "big"],
    "huge": ["huge", "giant"],
}


def draw_shape(art, shape, x, y, r, col, rot=0.0, c2=None, flip=False):
    """A shape of radius r about (x, y)."""
    p = Pen(art, x, y, r, flip)
    k = {} if c2 is None else {"c2": c2}
    if shape == "circle":
        p.cir(0, 0, 0.92, col, **k)
    elif shape == "square":
        p.box(0, 0, 0.80, 0.80, col, rot=rot, **k)
    elif shape == "rectangle":
        p.box(0, 0, 1.0, 0.55, col, rot=rot, **k)
    elif shape == "oval":
        p.ell(0, 0, 1.0, 0.60, col, rot=rot, **k)
    elif shape == "triangle":
        p.poly([(-0.95, 0.74), (0, -0.92), (0.95, 0.74)], col, **k)
    elif shape == "star":
        p.star(0, 0.04, 1.02, 5, 0.42, col, rot=rot, **k)
    elif shape == "heart":
        p.heart(0, 0, 0.92, col, **k)
    elif shape == "hexagon":
        p.star(0, 0, 0.98, 6, math.cos(math.pi / 6), col, rot=rot, **k)
    elif shape == "diamond":
        p.poly([(0, -1.0), (0.68, 0), (0, 1.0), (-0.68, 0)], col, **k)
    elif shape == "ring":
        p.ell(0, 0, 0.74, 0.74, col, onion=0.21 * r, **k)
    elif shape == "crescent":
        p.cres(0, 0, 0.95, 0.46, 0.78, col, rot=0.0, **k)
    elif shape == "cross":
        with art.union():
            p.box(0, 0, 0.92, 0.30, col, rot=rot)
            p.box(0, 0, 0.30, 0.92, col, rot=rot)


POSN = {
    "tl": (0.25, 0.25, ["in the top left corner", "in the top left", "at the top left", "in the upper left"]),
    "tr": (0.75, 0.25, ["in the top right corner", "in the top right", "at the top right", "in the upper right"]),
    "bl": (0.25, 0.75, ["in the bottom left corner", "in the bottom left", "at the bottom left", "in the lower left"]),
    "br": (
        0.75,
        0.75,
        ["in the bottom right corner", "in the bottom right", "at the bottom right", "in the lower right"],
    ),
    "l": (0.24, 0.5, ["on the left", "on the left side", "to the left"]),
    "r": (0.76, 0.5, ["on the right", "on the right side", "to the right"]),
    "t": (0.5, 0.24, ["at the top", "on top"]),
    "b": (0.5, 0.76, ["at the bottom"]),
    "c": (0.5, 0.5, ["in the center", "in the middle", "in the centre"]),
}


def pick_shape(rng, split, colors=None, ban=()):
    """A shape and a colour whose pair belongs to the split."""
    while True:
        s, c = rng.choice(SHAPES), rng.choice(colors or (ALLC if rng.random() < 0.5 else BRIGHT))
        if c in ban:
            continue
        if held("shape", c, s) != (split == "heldout"):
            continue
        return s, c


def bg_for(rng, art, colors_used, plain_p=0.55):
    """Background: white unless said otherwise.  Returns (phrase, name)."""
    if art.style in ("line", "neon"):
        art.full((1, 1, 1))
        return None, ("white" if art.style == "line" else "black")
    if rng.random() < plain_p and "white" not in colors_used:
        art.full((0.985, 0.985, 0.98))
        return (
            rng.choice(["on a white background", "white background", "on white"]) if rng.random() < 0.10 else None
        ), "white"
    while True:
        b = rng.choice(ALLC)
        if b not in colors_used and not (b == "gray" and "white" in colors_used and rng.random() < 0.5):
            break
    r = rng.random()
    if b == "black" or r < 0.06 and not {"black", "purple", "blue", "brown"} & set(colors_used):
        c = (0.06, 0.06, 0.08) if b == "black" else (0.08, 0.08, 0.16)
        art.full(c)
        return rng.choice(
            ["on a black background", "on black", "on a dark background", "dark background", "black background"]
        ), "black"
    c = jit(rng, COLORS[b], 0.03)
    w = cword(rng, b)
    if r < 0.28 and b not in ("white",):
        c = light(c, 0.55)
        w = rng.choice(["light", "pale", "pastel"]) + " " + w
    if r > 0.82:
        c2 = mix(c, (1, 1, 1), 0.5)
        art.full(c2, c)
        return rng.choice(["on %s gradient background" % article(w), "%s gradient background" % w]), b
    art.full(c)
    return rng.choice(
        [
            "on %s background" % article(w),
            "on %s background" % article(w),
            "%s background" % w,
            "on " + w,
            "against %s background" % article(w),
        ]
    ), b


def shapes_picture(rng, split, style):
    """Returns the art, its caption and its labels."""
    art = Art(rng, style)
    lab = {"domain": "shapes", "style": style, "groups": [], "rel": None}
    mode = rng.choices(["one", "many", "rel", "list", "inside", "pattern"], [0.30, 0.22, 0.27, 0.10, 0.07, 0.04])[0]
    tags = rng.random() < 0.22
    if mode == "pattern":
        c1, c2 = rng.sample(ALLC, 2)
        kind = rng.choice(["vertical stripes", "horizontal stripes", "polka dots", "checkerboard"])
        A, B = jit(rng, COLORS[c1]), jit(rng, COLORS[c2])
        art.full(A if style not in ("line", "neon") else WHITE)
        n = rng.choice([4, 5, 6])
        for i in range(n):
            if kind == "vertical stripes":
                Pen(art, (i + 0.75) / n, 0.5, 1).box(0, 0, 0.25 / n, 0.8, B)
            elif kind == "horizontal stripes":
                Pen(art, 0.5, (i + 0.75) / n, 1).box(0, 0, 0.8, 0.25 / n, B)
        if kind == "polka dots":
            art.field(0.5, 0.5, 0.7, 0.7, 1 / n, 1 / n, 0.28 / n, 0.28 / n, 1.0, 0.0, B, kind="fill")
        if kind == "checkerboard":
            w = 0.5 / n
            art.field(0.5, 0.5, 0.7, 0.7, 2 * w, 2 * w, -w / 2, w / 2, 1.0, 0.0, B, kind="fill")
            art.field(0.5 + w, 0.5 + w, 0.7, 0.7, 2 * w, 2 * w, -w / 2, w / 2, 1.0, 0.0, B, kind="fill")
        a, b = cword(rng, c1), cword(rng, c2)
        if kind == "polka dots":
            cap = rng.choice(
                [
                    "%s polka dots on a %s background" % (b, a),
                    "%s polka dots on %s" % (b, a),
                    "a %s background with %s polka dots" % (a, b),
                ]
            )
        elif kind == "checkerboard":
            cap = rng.choice(
                [
                    "a %s and %s checkerboard" % (a, b),
                    "a checkerboard pattern in %s and %s" % (b, a),
                    "%s and %s checkered pattern" % (a, b),
                ]
            )
        else:
            cap = rng.choice(
                ["%s and %s %s" % (a, b, kind), "%s in %s and %s" % (kind, a, b), "%s and %s stripes" % (b, a)]
            )
        lab["mode"] = mode
        return art, decorate(rng, cap, style, tags), lab
    if mode == "one":
        s, c = pick_shape(rng, split)
        bgp, bgn = bg_for(rng, art, [c])
        size = rng.choices(list(SIZES), [0.08, 0.2, 0.27, 0.35, 0.10])[0]
        r = rng.uniform(*SIZES[size])
        if rng.random() < 0.42 and size in ("tiny", "small", "medium"):
            pk = rng.choice(list(POSN))
            x, y, words = POSN[pk]
            x, y = x + rng.uniform(-0.05, 0.05), y + rng.uniform(-0.05, 0.05)
            pos = rng.choice(words)
        else:
            pk, pos = "c", None
            x, y = 0.5 + rng.uniform(-0.04, 0.04), 0.5 + rng.uniform(-0.04, 0.04)
        mod = (
            rng.choices([None, "light", "dark"], [0.9, 0.05, 0.05])[0]
            if c not in ("black", "white", "gray", "brown")
            else None
        )
        rot = rng.uniform(-0.25, 0.25) if rng.random() < 0.25 else 0.0
        draw_shape(art, s, x, y, r, named(rng, c, mod), rot)
        say_size = size not in ("medium",) and rng.random() < 0.8 or rng.random() < 0.2
        say_color = rng.random() < 0.93
        sw, cw, nw = (
            rng.choice(SIZE_WORDS[size]) if say_size else "",
            cword(rng, c) if say_color else "",
            rng.choice(SHAPE_WORDS[s]),
        )
        if mod and cw:
            cw = mod + " " + cw
        if tags:
            parts = [(cw + " " + nw).strip()] + [t for t in (sw, pos, bgp) if t]
            cap = ", ".join(parts)
        else:
            cap = count_noun(rng, 1, " ".join(t for t in (sw, cw) if t), nw)
            if pos:
                cap += " " + pos
            if bgp:
                cap += (" " if bgp.startswith(("on", "against")) else ", ") + bgp
        lab["groups"] = [dict(shape=s, color=c, n=1, pos=pk)]
        lab["bg"] = bgn
    elif mode == "many":
        s, c = pick_shape(rng, split)
        n = rng.choices([2, 3, 4, 5, 6], [0.30, 0.28, 0.20, 0.12, 0.10])[0]
        bgp, bgn = bg_for(rng, art, [c])
        layout = rng.choices(["row", "column", "grid", "scatter"], [0.40, 0.15, 0.25, 0.20])[0]
        col = named(rng, c)
        pts = layout_points(rng, n, layout)
        r = {
            2: 0.16,
            3: 0.125,
            4: 0.10 if layout in ("row", "column") else 0.14,
            5: 0.085 if layout in ("row", "column") else 0.12,
            6: 0.07 if layout in ("row", "column") else 0.115,
        }[n]
        small = rng.random() < 0.25
        r *= rng.uniform(0.55, 0.65) if small else rng.uniform(0.9, 1.05)
        for x, y in pts:
            draw_shape(art, s, x, y, r, col)
        nw = rng.choice(SHAPE_WORDS[s])
        adj = " ".join(
            t
            for t in (("small" if small and rng.random() < 0.9 else ""), cword(rng, c) if rng.random() < 0.95 else "")
            if t
        )
        if rng.random() < 0.06:
            cap = (adj + " " + plural(nw)).strip()
        else:
            cap = count_noun(rng, n, adj, nw)
            if layout in ("row", "column") and rng.random() < 0.6:
                cap = rng.choice(["%s in a %s" % (cap, layout), "a %s of %s" % (layout, cap)])
        if bgp:
            cap += (" " if bgp.startswith(("on", "against")) else ", ") + bgp
        lab["groups"] = [dict(shape=s, color=c, n=n, pos=None)]
        lab["bg"] = bgn
    elif mode == "rel":
        s1, c1 = pick_shape(rng, split)
        s2, c2 = pick_shape(rng, split, ban=(c1,) if rng.random() < 0.85 else ())
        bgp, bgn = bg_for(rng, art, [c1, c2], 0.75)
        rel = rng.choice(["above", "below", "left", "right", "beside"])
        n1, n2 = (rng.choices([1, 2, 3], [0.8, 0.14, 0.06])[0] for _ in range(2))
        z1, z2 = (rng.choices(["small", "medium", "large"], [0.3, 0.4, 0.3])[0] for _ in range(2))
        R = {"small": 0.075, "medium": 0.12, "large": 0.175}
        r1, r2 = (
            R[z1] / (1 if n1 == 1 else 1.25 if n1 == 2 else 1.5),
            R[z2] / (1 if n2 == 1 else 1.25 if n2 == 2 else 1.5),
        )
        j = lambda: rng.uniform(-0.025, 0.025)
        vert = rel in ("above", "below")
        first = rel in ("above", "left", "beside")
        A, B = (0.27 + j(), 0.73 + j())
        a, b = (A, B) if first else (B, A)
        for s, c, n, r, q in ((s1, c1, n1, r1, a), (s2, c2, n2, r2, b)):
            col = named(rng, c)
            for i in range(n):
                o = (i - (n - 1) / 2) * r * 2.3
                if vert:
                    draw_shape(art, s, 0.5 + o + j(), q, r, col)
                else:
                    draw_shape(art, s, q, 0.5 + o + j(), r, col)
        mention = lambda z: rng.choice(SIZE_WORDS[z]) if z != "medium" and rng.random() < 0.85 else ""
        t1 = count_noun(rng, n1, " ".join(t for t in (mention(z1), cword(rng, c1)) if t), rng.choice(SHAPE_WORDS[s1]))
        t2 = count_noun(rng, n2, " ".join(t for t in (mention(z2), cword(rng, c2)) if t), rng.choice(SHAPE_WORDS[s2]))
        words = {
            "above": ["above", "on top of", "over"],
            "below": ["below", "under", "beneath"],
            "left": ["to the left of", "left of", "on the left of"],
            "right": ["to the right of", "right of", "on the right of"],
            "beside": ["and", "next to", "and", "beside"],
        }[rel]
        cap = "%s %s %s" % (t1, rng.choice(words), t2)
        if rel == "left" and rng.random() < 0.15:
            cap = "%s on the left and %s on the right" % (t1, t2)
        if rel == "above" and rng.random() < 0.15:
            cap = "%s at the top and %s at the bottom" % (t1, t2)
        if bgp:
            cap += (" " if bgp.startswith(("on", "against")) else ", ") + bgp
        lab["groups"] = [dict(shape=s1, color=c1, n=n1, pos=None), dict(shape=s2, color=c2, n=n2, pos=None)]
        lab["rel"], lab["bg"] = rel, bgn
    elif mode == "list":
        gs, used = [], []
        for _ in range(3):
            s, c = pick_shape(rng, split, ban=used)
            used.append(c)
            gs.append((s, c))
        bgp, bgn = bg_for(rng, art, used, 0.85)
        for i, (s, c) in enumerate(gs):
            draw_shape(
                art,
                s,
                0.19 + 0.31 * i + rng.uniform(-0.015, 0.015),
                0.5 + rng.uniform(-0.03, 0.03),
                0.13 * rng.uniform(0.9, 1.05),
                named(rng, c),
            )
        t = [count_noun(rng, 1, cword(rng, c), rng.choice(SHAPE_WORDS[s])) for s, c in gs]
        cap = ", ".join(t) if tags else "%s, %s and %s" % tuple(t)
        if bgp:
            cap += (" " if bgp.startswith(("on", "against")) else ", ") + bgp
        lab["groups"] = [dict(shape=s, color=c, n=1, pos=None) for s, c in gs]
        lab["rel"], lab["bg"] = "list", bgn
    else:  # inside
        while True:
            s1, c1 = pick_shape(rng, split)
            s2, c2 = pick_shape(rng, split, ban=(c1,))
            if s2 in ("circle", "square", "hexagon", "heart", "triangle", "star", "diamond") and s1 not in (
                "ring",
                "crescent",
            ):
                break
        bgp, bgn = bg_for(rng, art, [c1, c2], 0.8)
        draw_shape(art, s2, 0.5, 0.5, 0.40, named(rng, c2))
        k = {"star": 0.13, "triangle": 0.15, "diamond": 0.16}.get(s2, 0.19)
        draw_shape(art, s1, 0.5, 0.5 + (0.06 if s2 == "triangle" else 0), k, named(rng, c1))
        t1 = count_noun(
            rng,
            1,
            rng.choice(["", "small "]).strip() + " " + cword(rng, c1) if rng.random() < 0.4 else cword(rng, c1),
            rng.choice(SHAPE_WORDS[s1]),
        )
        t2 = count_noun(rng, 1, ("big " if rng.random() < 0.3 else "") + cword(rng, c2), rng.choice(SHAPE_WORDS[s2]))
        cap = rng.choice(["%s inside %s", "%s in %s", "%s in the middle of %s"]) % (" ".join(t1.split()), t2)
        if bgp:
            cap += (" " if bgp.startswith(("on", "against")) else ", ") + bgp
        lab["groups"] = [dict(shape=s1, color=c1, n=1, pos=None), dict(shape=s2, color=c2, n=1, pos=None)]
        lab["rel"], lab["bg"] = "inside", bgn
    lab["mode"] = mode
    return art, decorate(rng, cap, style, tags), lab


def layout_points(rng, n, layout):
    """Centres of n shapes in a row, a column, a grid or anywhere."""
    j = lambda: rng.uniform(-0.015, 0.015)
    if layout == "row":
        return [((i + 0.5) / n * 0.92 + 0.04 + j(), 0.5 + j()) for i in range(n)]
    if layout == "column":
        return [(0.5 + j(), (i + 0.5) / n * 0.92 + 0.04 + j()) for i in range(n)]
    if layout == "grid":
        base = {
            2: [(0.3, 0.3), (0.7, 0.7)],
            3: [(0.5, 0.28), (0.28, 0.68), (0.72, 0.68)],
            4: [(0.29, 0.29), (0.71, 0.29), (0.29, 0.71), (0.71, 0.71)],
            5: [(0.25, 0.25), (0.75, 0.25), (0.5, 0.5), (0.25, 0.75), (0.75, 0.75)],
            6: [(0.2, 0.32), (0.5, 0.32), (0.8, 0.32), (0.2, 0.68), (0.5, 0.68), (0.8, 0.68)],
        }[n]
        return [(x + j(), y + j()) for x, y in base]
    d = 0.33 if n <= 3 else 0.28
    for _ in range(400):
        pts = []
        for _ in range(60):
            q = (rng.uniform(0.17, 0.83), rng.uniform(0.17, 0.83))
            if all((q[0] - a) ** 2 + (q[1] - b) ** 2 > d * d for a, b in pts):
                pts.append(q)
                if len(pts) == n:
                    return pts
    return layout_points(rng, n, "grid")
