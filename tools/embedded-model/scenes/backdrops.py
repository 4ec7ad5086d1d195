"""Skies, distances and grounds."""

import math

from .art import I_P0, Pen
from .colors import LIT, WOOD, dark, jit, light, mix, named

SKY = {
    "day": [
        ((0.36, 0.66, 0.95), (0.80, 0.92, 0.99)),
        ((0.46, 0.76, 0.98), (0.86, 0.95, 1.0)),
        ((0.30, 0.60, 0.92), (0.70, 0.88, 0.98)),
    ],
    "night": [
        ((0.03, 0.04, 0.14), (0.12, 0.16, 0.36)),
        ((0.04, 0.05, 0.18), (0.17, 0.16, 0.40)),
        ((0.02, 0.03, 0.10), (0.08, 0.12, 0.30)),
    ],
    "sunset": [
        ((0.36, 0.24, 0.56), (0.99, 0.62, 0.30)),
        ((0.88, 0.38, 0.36), (1.0, 0.80, 0.42)),
        ((0.55, 0.30, 0.60), (1.0, 0.70, 0.45)),
    ],
}
TINT = {
    "day": None,
    "night": ((0.74, 0.76, 0.90), (0.08, 0.10, 0.28), 0.20),
    "sunset": ((1.0, 0.86, 0.78), (0.80, 0.35, 0.22), 0.12),
}


def draw_sun(art, x, y, r, time):
    p = Pen(art, x, y, r)
    c = (1.0, 0.87, 0.30) if time != "sunset" else (1.0, 0.78, 0.32)
    p.cir(0, 0, 1, c, emis=True, glow=0.05)


def draw_moon(art, x, y, r, kind):
    p = Pen(art, x, y, r)
    c = (0.97, 0.95, 0.82)
    if kind == "crescent":
        p.cres(0, 0, 1, 0.55, 0.86, c, rot=-0.5 if art.rng.random() < 0.5 else math.pi + 0.5, emis=True, glow=0.03)
    else:
        p.cir(0, 0, 1, c, emis=True, glow=0.04)
        p.cir(-0.3, -0.2, 0.2, (0.86, 0.84, 0.74), "soft", emis=True)
        p.cir(0.3, 0.3, 0.15, (0.86, 0.84, 0.74), "soft", emis=True)


def draw_cloud(art, x, y, s, time, dk=False):
    p = Pen(art, x, y, s)
    c = {"day": (0.98, 0.99, 1.0), "night": (0.30, 0.34, 0.52), "sunset": (1.0, 0.80, 0.74)}[time]
    if dk:
        c = mix(c, (0.45, 0.48, 0.55), 0.7)
    with art.union():
        p.cir(-0.5, 0.05, 0.34, c, emis=True)
        p.cir(0.5, 0.08, 0.30, c, emis=True)
        p.cir(0, -0.14, 0.46, c, emis=True)
        p.box(0, 0.21, 0.72, 0.17, c, r=0.16, emis=True)


def draw_rainbow(art, x, y, R):
    for i, c in enumerate(
        (
            (0.90, 0.22, 0.22),
            (0.97, 0.58, 0.16),
            (0.99, 0.86, 0.25),
            (0.30, 0.72, 0.36),
            (0.22, 0.48, 0.92),
            (0.55, 0.30, 0.75),
        )
    ):
        Pen(art, x, y, 1).arc(0, 0, R - i * 0.020, 0.0105, -math.pi / 2, math.pi / 2, c, "det", emis=True)


def stars(art, y1=0.62, dens=0.30):
    art.field(0.5, y1 / 2, 0.5, y1 / 2, 0.085, 0.085, 0.0072, 0.0072, dens, 1.0, (1.0, 0.98, 0.88), emis=True)


def backdrop(art, place, time, sk, hor):
    """Sky, distance and ground.  Returns the ground line."""
    rng = art.rng
    if place == "space":
        art.full((0.03, 0.02, 0.10), rng.choice([(0.12, 0.06, 0.26), (0.04, 0.08, 0.24), (0.17, 0.05, 0.22)]))
        stars(art, 1.0, 0.40)
        if sk.get("planet"):
            x, y = rng.choice([(0.16, 0.2), (0.84, 0.2), (0.82, 0.82), (0.18, 0.82)])
            c = named(rng, sk["planet"])
            Pen(art, x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.04, 0.04), rng.uniform(0.07, 0.11)).cir(
                0, 0, 1, c, c2=dark(c, 0.4)
            )
        return 0.9
    if place == "underwater":
        a, b = rng.choice(
            [
                ((0.20, 0.62, 0.82), (0.04, 0.22, 0.50)),
                ((0.26, 0.70, 0.80), (0.05, 0.30, 0.48)),
                ((0.14, 0.50, 0.82), (0.03, 0.14, 0.42)),
            ]
        )
        if time == "night":
            a, b = dark(a, 0.55), dark(b, 0.5)
        art.full(a, b)
        art.field(0.5, 0.45, 0.5, 0.45, 0.14, 0.14, 0.016, 0.016, 0.22, 1.0, (0.80, 0.95, 1.0), alpha=0.7, emis=True)
        art.terrain(
            0.88,
            0.02,
            1.2,
            rng.random(),
            0.01,
            2.3,
            rng.random(),
            c1=(0.90, 0.80, 0.55),
            c2=(0.72, 0.60, 0.40),
            h=0.12,
        )
        for _ in range(rng.randint(2, 4)):
            x = rng.random()
            p = Pen(art, x, 0.92, 0.10)
            for k in range(3):
                p.cap(
                    0.25 * (k % 2),
                    0.4 - k * 0.75,
                    0.25 * ((k + 1) % 2),
                    -0.35 - k * 0.75,
                    0.13,
                    0.11,
                    (0.16, 0.58, 0.36),
                )
        return 0.90
    if place == "moon":
        art.full((0.02, 0.02, 0.06), (0.06, 0.06, 0.12))
        stars(art, 0.7, 0.35)
        if sk.get("earth"):
            p = Pen(art, sk["ex"], rng.uniform(0.16, 0.24), 0.10)
            p.cir(0, 0, 1, (0.22, 0.50, 0.90), emis=True)
            p.ell(-0.25, -0.2, 0.40, 0.28, (0.35, 0.72, 0.40), rot=0.4, kind="soft", emis=True)
            p.ell(0.40, 0.36, 0.30, 0.22, (0.35, 0.72, 0.40), rot=-0.5, kind="soft", emis=True)
        art.terrain(
            hor,
            0.02,
            0.8,
            rng.random(),
            0.01,
            2.1,
            rng.random(),
            c1=(0.72, 0.73, 0.76),
            c2=(0.50, 0.51, 0.56),
            h=1 - hor,
        )
        for _ in range(4):
            x, y = rng.random(), rng.uniform(hor + 0.08, 0.97)
            r = rng.uniform(0.03, 0.07)
            Pen(art, x, y, r).ell(
                0, 0, 1, 0.38, (0.50, 0.51, 0.55), kind="fill" if art.style in ("line", "neon") else "soft"
            )
        return hor
    c1, c2 = rng.choice(SKY[time])
    if place == "mars":
        c1, c2 = {
            "day": ((0.93, 0.66, 0.46), (0.98, 0.84, 0.68)),
            "night": ((0.06, 0.03, 0.09), (0.30, 0.12, 0.14)),
            "sunset": ((0.55, 0.25, 0.32), (0.98, 0.62, 0.38)),
        }[time]
    if sk.get("gloomy"):
        g = {"day": (0.56, 0.62, 0.70), "night": (0.10, 0.11, 0.17), "sunset": (0.55, 0.45, 0.48)}[time]
        c1, c2 = mix(c1, g, 0.8), mix(c2, light(g, 0.2), 0.8)
    art.full(c1, c2, 0, hor + 0.05)
    if time == "night" and not sk.get("gloomy"):
        stars(art, hor, rng.uniform(0.22, 0.36))
    if sk.get("rainbow"):
        draw_rainbow(art, rng.uniform(0.4, 0.6), hor + 0.02, rng.uniform(0.38, 0.46))
    if sk.get("sun"):
        y = (
            hor - rng.uniform(-0.01, 0.05)
            if (time == "sunset" and place in ("sea", "beach", "desert", "island"))
            else rng.uniform(0.14, 0.24)
        )
        draw_sun(art, sk["sx"], y, rng.uniform(0.075, 0.10), time)
    if sk.get("moon"):
        draw_moon(art, sk["sx"], rng.uniform(0.14, 0.22), rng.uniform(0.065, 0.085), sk["moon"])
    if sk.get("clouds"):
        n = rng.randint(2, 3)
        for i in range(n):
            draw_cloud(
                art,
                (i + rng.uniform(0.25, 0.75)) / n,
                rng.uniform(0.10, 0.28),
                rng.uniform(0.085, 0.125),
                time,
                sk.get("gloomy"),
            )
    r = rng.random
    if place == "meadow":
        art.terrain(hor, 0.035, 0.7, r(), 0.015, 1.5, r(), c1=(0.50, 0.78, 0.38), c2=(0.40, 0.70, 0.33), h=0.25)
        art.terrain(hor + 0.13, 0.03, 0.6, r(), 0.01, 1.4, r(), c1=(0.36, 0.68, 0.30), c2=(0.25, 0.55, 0.25), h=0.3)
        return hor + 0.12
    if place == "mountains":
        m = rng.choice([(0.42, 0.48, 0.62), (0.46, 0.46, 0.58), (0.38, 0.50, 0.58)])
        xs = [rng.uniform(0.0, 0.22), rng.uniform(0.78, 1.0), rng.uniform(0.38, 0.62)]
        for i, x in enumerate(xs):
            h, w = rng.uniform(0.28, 0.36) + (0.08 if i == 2 else 0), rng.uniform(0.30, 0.38)
            y0 = hor + 0.06
            p = Pen(art, 0, 0, 1)
            mc = dark(m, 0.0 if i == 2 else 0.15)
            p.poly([(x - w, y0), (x, y0 - h), (x + w, y0)], mc)
            f = 0.32
            p.poly(
                [
                    (x - w * f, y0 - h * (1 - f)),
                    (x, y0 - h),
                    (x + w * f, y0 - h * (1 - f)),
                    (x + w * 0.05, y0 - h * (1 - f * 0.62)),
                ],
                (0.97, 0.98, 1.0),
                "det",
            )
        art.terrain(hor + 0.05, 0.02, 0.8, r(), 0.01, 1.7, r(), c1=(0.38, 0.66, 0.34), c2=(0.24, 0.50, 0.26), h=0.35)
        return hor + 0.06
    if place in ("sea", "island"):
        s1, s2 = {
            "day": ((0.22, 0.58, 0.86), (0.10, 0.36, 0.68)),
            "night": ((0.10, 0.18, 0.40), (0.04, 0.08, 0.22)),
            "sunset": ((0.86, 0.50, 0.42), (0.32, 0.24, 0.50)),
        }[time]
        art.terrain(hor, 0.0, 1, 0, 0, 1, 0, c1=s1, c2=s2, h=1 - hor, emis=True)
        art.field(
            0.5,
            (hor + 1) / 2 + 0.03,
            0.5,
            (1 - hor) / 2 - 0.03,
            0.24,
            0.085,
            0.045,
            0.0058,
            0.55,
            0.9,
            light(s1, 0.35),
            emis=True,
        )
        if place == "island":
            Pen(art, 0.5, hor + 0.23, 1).ell(0, 0, 0.42, 0.10, (0.94, 0.83, 0.58))
            return hor + 0.16
        return hor
    if place == "beach":
        s1, s2 = {
            "day": ((0.18, 0.56, 0.86), (0.36, 0.76, 0.90)),
            "night": ((0.07, 0.14, 0.34), (0.14, 0.24, 0.46)),
            "sunset": ((0.80, 0.46, 0.46), (0.95, 0.66, 0.52)),
        }[time]
        art.terrain(hor, 0.0, 1, 0, 0, 1, 0, c1=s1, c2=s2, h=0.18, emis=True)
        art.terrain(
            hor + 0.15,
            0.016,
            0.7,
            r(),
            0.006,
            1.9,
            r(),
            c1=(0.97, 0.98, 0.98),
            kind="bg" if art.style != "line" else "fill",
        )
        art.terrain(
            hor + 0.165,
            0.016,
            0.7,
            art.rows[-1][I_P0],
            0.006,
            1.9,
            art.rows[-1][I_P0 + 3],
            c1=(0.95, 0.85, 0.60),
            c2=(0.88, 0.74, 0.48),
            h=0.25,
            kind="bg" if art.style not in ("line", "neon") else "fill",
        )
        return hor + 0.17
    if place == "desert":
        art.terrain(hor, 0.05, 0.6, r(), 0.02, 1.3, r(), c1=(0.94, 0.76, 0.46), c2=(0.88, 0.66, 0.36), h=0.25)
        art.terrain(hor + 0.14, 0.04, 0.5, r(), 0.015, 1.2, r(), c1=(0.90, 0.68, 0.36), c2=(0.78, 0.54, 0.28), h=0.30)
        return hor + 0.14
    if place == "snow":
        art.terrain(hor, 0.035, 0.7, r(), 0.015, 1.5, r(), c1=(0.86, 0.91, 0.97), c2=(0.80, 0.87, 0.96), h=0.2)
        art.terrain(hor + 0.12, 0.03, 0.6, r(), 0.01, 1.4, r(), c1=(0.97, 0.98, 1.0), c2=(0.84, 0.90, 0.97), h=0.35)
        return hor + 0.12
    if place == "forest":
        art.terrain(hor, 0.015, 1.0, r(), c1=(0.26, 0.52, 0.30), c2=(0.24, 0.50, 0.26), h=0.2)
        n = 6
        for i in range(n):
            x = (i + rng.uniform(0.2, 0.8)) / n
            s = rng.uniform(0.16, 0.21)
            p = Pen(art, x, hor + 0.10 - s, s)
            lc = jit(rng, (0.14, 0.42, 0.24), 0.03)
            p.box(0, 0.85, 0.10, 0.16, WOOD)
            p.poly([(-0.60, 0.74), (0, -0.20), (0.60, 0.74)], lc)
            p.poly([(-0.46, 0.20), (0, -0.95), (0.46, 0.20)], light(lc, 0.08))
        art.terrain(hor + 0.10, 0.02, 0.8, r(), 0.01, 1.6, r(), c1=(0.34, 0.62, 0.30), c2=(0.22, 0.46, 0.24), h=0.35)
        return hor + 0.11
    if place == "city":
        n = 6
        for i in range(n):
            w = rng.uniform(0.075, 0.10)
            x = (i + 0.5 + rng.uniform(-0.2, 0.2)) / n
            top = hor - rng.uniform(0.14, 0.42)
            bc = rng.choice(
                [(0.42, 0.46, 0.58), (0.50, 0.48, 0.56), (0.36, 0.42, 0.54), (0.58, 0.52, 0.54), (0.46, 0.54, 0.62)]
            )
            y1 = hor + 0.10
            p = Pen(art, x, (top + y1) / 2, 1)
            p.box(0, 0, w, (y1 - top) / 2, bc)
            art.field(
                x,
                (top + y1) / 2,
                w - 0.016,
                (y1 - top) / 2 - 0.02,
                0.044,
                0.052,
                -0.011,
                0.015,
                0.75 if time == "night" else 0.95,
                0.0,
                LIT if time == "night" else (0.76, 0.88, 0.95),
                emis=(time == "night"),
            )
        art.terrain(hor + 0.09, 0.0, 1, 0, c1=(0.38, 0.39, 0.43), c2=(0.30, 0.31, 0.35), h=0.3)
        art.field(0.5, hor + 0.30, 0.6, 0.02, 0.16, 0.05, -0.045, 0.008, 1.0, 0.0, (0.95, 0.93, 0.85), seed=3.0)
        return hor + 0.13
    if place == "mars":
        art.terrain(hor, 0.05, 0.8, r(), 0.03, 1.9, r(), tri=1, c1=(0.70, 0.33, 0.20), c2=(0.64, 0.30, 0.18), h=0.2)
        art.terrain(hor + 0.09, 0.02, 0.6, r(), 0.01, 1.6, r(), c1=(0.80, 0.41, 0.24), c2=(0.62, 0.28, 0.16), h=0.35)
        for _ in range(3):
            x, y = rng.random(), rng.uniform(hor + 0.18, 0.97)
            Pen(art, x, y, rng.uniform(0.03, 0.06)).ell(
                0, 0, 1, 0.36, (0.60, 0.27, 0.16), kind="fill" if art.style in ("line", "neon") else "soft"
            )
        return hor + 0.10
    raise ValueError(place)
