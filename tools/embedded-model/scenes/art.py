"""Drawing: a picture is a list of primitives, each a row of P floats that `render` understands.

`Art` collects the rows of one picture and applies its style; a `Pen` draws in an object's own frame.
"""

import math

from .colors import light, lum, mix

P = 32  # floats in a row
GP = 8  # per-picture parameters: cells, warp, granulation, seed, paper, 0, 0, 0
KMAX = 72  # primitives in a picture at most
(NONE, ELL, BOX, POLY, STAR, HEART, CRES, CAP, ARC, DOME, TERR, FIELD, FULL) = range(13)
(I_T, I_CX, I_CY, I_A, I_B, I_COS, I_SIN, I_P0) = range(8)
I_C1, I_C2, I_GX, I_GY, I_GO = 13, 16, 19, 20, 21
I_SOFT, I_ALPHA, I_GROW, I_ONION, I_SW, I_SC, I_GLOW, I_SEED = 22, 23, 24, 25, 26, 27, 30, 31

TAU = 2 * math.pi


class Art:
    """Collects the primitives of one picture and applies the drawing style."""

    def __init__(self, rng, style="flat", tint=None):
        self.rng, self.style, self.tint = rng, style, tint
        self.rows, self.buf = [], None
        self.gpar = [0.0] * GP
        self.gpar[3] = rng.random() * 100
        if style == "pixel":
            self.gpar[0] = 32.0
        elif style == "watercolor":
            self.gpar[1], self.gpar[2], self.gpar[4] = rng.uniform(0.009, 0.014), 0.16, 1.0
        self.ink = (0.10, 0.09, 0.12)

    def emit(
        self,
        t,
        cx,
        cy,
        a,
        b,
        rot,
        p,
        col,
        kind="fill",
        c2=None,
        grad=None,
        soft=0.0,
        alpha=1.0,
        grow=0.0,
        onion=0.0,
        glow=0.0,
        emis=False,
        seed=0.0,
        sw=None,
    ):
        """Adds a primitive, as the style wants it.

        kind: "fill" part of an object, "bg" backdrop, "det" small detail, "soft" shading that ink styles leave out.
        """
        st = self.style
        if st in ("line", "neon") and kind == "soft":
            return
        if self.tint is not None and not emis:
            k, add, m = self.tint
            f = lambda c: tuple(min(1, c[i] * k[i] * (1 - m) + add[i] * m) for i in range(3))
            col = f(col)
            c2 = None if c2 is None else f(c2)
        s_w, s_c, gl = 0.0, (0, 0, 0), glow
        if st == "watercolor":
            col = mix(col, (0.98, 0.96, 0.92), 0.16 if kind != "bg" else 0.30)
            c2 = None if c2 is None else mix(c2, (0.98, 0.96, 0.92), 0.16 if kind != "bg" else 0.30)
            soft = max(soft, 0.005)
        elif st == "cartoon":
            if kind == "fill":
                s_w, s_c = 0.0095, self.ink
        elif st == "line":
            c2, soft, gl, alpha = None, 0.0, 0.0, (1.0 if alpha > 0.3 else 0.0)
            if kind == "bg":
                col = (0.985, 0.985, 0.975)
            elif kind == "det":
                if lum(col) < 0.6:
                    col = self.ink
                else:
                    col, s_w, s_c = (0.985, 0.985, 0.975), 0.0055, self.ink
            else:
                col, s_w, s_c = (0.985, 0.985, 0.975), 0.0085, self.ink
        elif st == "neon":
            soft = min(soft, 0.004)
            if kind == "bg":
                col, c2 = (0.035, 0.025, 0.085), None
            elif kind == "det":
                col = light(col, 0.15) if lum(col) > 0.25 else (0.75, 0.80, 0.95)
                c2 = None
            else:
                m = max(col)
                br = (0.80, 0.84, 1.0) if m < 0.22 else tuple(min(1, v / m) for v in col)
                br = mix(br, (1, 1, 1), 0.10)
                col, c2 = mix((0.03, 0.02, 0.075), br, 0.10), None
                s_w, s_c, gl = 0.0085, br, 0.022
        if sw is not None and s_w > 0:
            s_w = sw
        gx = gy = go = 0.0
        if grad is not None and c2 is not None:
            gx, gy, go = grad
        c2 = col if c2 is None else c2
        row = [
            t,
            cx,
            cy,
            a,
            b,
            math.cos(rot),
            math.sin(rot),
            *p,
            *col,
            *c2,
            gx,
            gy,
            go,
            soft,
            alpha,
            grow,
            onion,
            s_w,
            *s_c,
            gl,
            seed,
        ]
        (self.rows if self.buf is None else self.buf).append(row)

    def union(self):
        return _Union(self)

    def full(self, c1, c2=None, y0=0.0, y1=1.0, kind="bg", **k):
        k.setdefault("emis", True)
        d = max(1e-3, y1 - y0)
        self.emit(FULL, 0.5, 0.5, 2, 2, 0, (0,) * 6, c1, kind, c2, (0, 1 / d, -y0 / d), **k)

    def terrain(self, y, a, f, ph, a2=0.0, f2=1.0, ph2=0.0, tri=0, c1=None, c2=None, h=0.35, kind="fill", **k):
        self.emit(TERR, 0, y, a, f, 0, (ph, a2, f2, ph2, float(tri), 0.0), c1, kind, c2, (0, 1 / h, -(y) / h), **k)

    def field(self, cx, cy, a, b, cw, ch, rw, rh, dens, jit, col, rot=0.0, kind="det", **k):
        k.setdefault("seed", self.rng.random() * 50 + 1)
        self.emit(FIELD, cx, cy, a, b, rot, (cw, ch, rw, rh, dens, jit), col, kind, **k)


class _Union:
    """Parts drawn as one silhouette: ink styles stroke the union, not each part."""

    def __init__(self, art):
        self.art = art

    def __enter__(self):
        self.art.buf = []

    def __exit__(self, *a):
        art, rows = self.art, self.art.buf
        art.buf = None
        if any(r[I_SW] > 0 for r in rows):
            for r in rows:
                s = list(r)
                s[I_C1 : I_C1 + 3] = s[I_C2 : I_C2 + 3] = r[I_SC : I_SC + 3]
                s[I_GROW] += r[I_SW]
                s[I_SW] = 0.0
                art.rows.append(s)
            for r in rows:
                r[I_SW] = 0.0
                r[I_GLOW] = 0.0
        art.rows.extend(rows)


class Pen:
    """Draws in an object's own frame: x right, y down, -1..1, then scaled, turned and placed."""

    def __init__(self, art, x, y, s, flip=False, rot=0.0):
        self.art, self.x, self.y, self.s, self.f, self.r = art, x, y, s, (-1 if flip else 1), rot
        self.c, self.sn = math.cos(rot), math.sin(rot)

    def pt(self, x, y):
        x *= self.f
        return self.x + self.s * (self.c * x - self.sn * y), self.y + self.s * (self.sn * x + self.c * y)

    def rot(self, r):
        return r * self.f + self.r

    def sub(self, x, y, s, flip=False, rot=0.0):
        X, Y = self.pt(x, y)
        return Pen(self.art, X, Y, self.s * s, (self.f < 0) != flip, self.r + rot * self.f)

    def _g(self, k, cy, b):  # vertical gradient over the part's height
        if "c2" in k and "grad" not in k:
            h = max(2 * b, 1e-3)
            k["grad"] = (0, 1 / h, -(cy - b) / h)
        return k

    def ell(self, x, y, rx, ry, col, rot=0.0, kind="fill", **k):
        X, Y = self.pt(x, y)
        self.art.emit(
            ELL, X, Y, rx * self.s, ry * self.s, self.rot(rot), (0,) * 6, col, kind, **self._g(k, Y, ry * self.s)
        )

    def cir(self, x, y, r, col, kind="fill", **k):
        self.ell(x, y, r, r, col, 0.0, kind, **k)

    def box(self, x, y, w, h, col, r=0.0, rot=0.0, kind="fill", **k):
        X, Y = self.pt(x, y)
        self.art.emit(
            BOX,
            X,
            Y,
            w * self.s,
            h * self.s,
            self.rot(rot),
            (r * self.s, 0, 0, 0, 0, 0),
            col,
            kind,
            **self._g(k, Y, h * self.s),
        )

    def poly(self, pts, col, kind="fill", r=0.0, **k):
        if len(pts) == 3:
            pts = [pts[0], pts[1], pts[2], pts[2]]
        q = [self.pt(*p) for p in pts]
        cx, cy = sum(p[0] for p in q) / 4, sum(p[1] for p in q) / 4
        d = [(p[0] - cx, p[1] - cy) for p in q]
        b = max(abs(p[1]) for p in d)
        if r:
            k["grow"] = r * self.s
        self.art.emit(POLY, cx, cy, d[0][0], d[0][1], 0, (*d[1], *d[2], *d[3]), col, kind, **self._g(k, cy, b))

    def star(self, x, y, R, n, ratio, col, rot=0.0, kind="fill", **k):
        X, Y = self.pt(x, y)
        self.art.emit(
            STAR, X, Y, R * self.s, 0, self.rot(rot), (n, ratio, 0, 0, 0, 0), col, kind, **self._g(k, Y, R * self.s)
        )

    def heart(self, x, y, R, col, rot=0.0, kind="fill", **k):
        X, Y = self.pt(x, y)
        self.art.emit(HEART, X, Y, R * self.s, 0, self.rot(rot), (0,) * 6, col, kind, **self._g(k, Y, R * self.s))

    def cres(self, x, y, R, off, r2, col, rot=0.0, kind="fill", **k):
        X, Y = self.pt(x, y)
        r = rot if self.f > 0 else math.pi - rot
        self.art.emit(
            CRES,
            X,
            Y,
            R * self.s,
            0,
            r + self.r,
            (off * self.s, r2 * self.s, 0, 0, 0, 0),
            col,
            kind,
            **self._g(k, Y, R * self.s),
        )

    def cap(self, x1, y1, x2, y2, r1, r2, col, kind="fill", **k):
        a, b = self.pt(x1, y1), self.pt(x2, y2)
        cx, cy = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
        self.art.emit(
            CAP,
            cx,
            cy,
            a[0] - cx,
            a[1] - cy,
            0,
            (b[0] - cx, b[1] - cy, r1 * self.s, r2 * self.s, 0, 0),
            col,
            kind,
            **self._g(k, cy, abs(a[1] - cy) + r1 * self.s),
        )

    def arc(self, x, y, R, th, ang, half, col, kind="fill", **k):
        """Stroke of an arc centred on direction `ang` (0 right, pi/2 down), opening +-half."""
        X, Y = self.pt(x, y)
        r = ang if self.f > 0 else math.pi - ang
        self.art.emit(ARC, X, Y, R * self.s, th * self.s, r + self.r, (half, 0, 0, 0, 0, 0), col, kind, **k)

    def dome(self, x, y, rx, ry, col, rot=0.0, kind="fill", **k):
        X, Y = self.pt(x, y)
        self.art.emit(
            DOME, X, Y, rx * self.s, ry * self.s, self.rot(rot), (0,) * 6, col, kind, **self._g(k, Y, ry * self.s)
        )
