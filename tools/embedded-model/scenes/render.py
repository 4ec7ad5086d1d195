"""Draws lists of primitives with torch, on CPU or GPU, at any size, with analytic anti-aliasing."""

import math

import numpy as np
import torch
from PIL import Image

from .art import (
    ARC,
    BOX,
    CAP,
    CRES,
    DOME,
    ELL,
    FIELD,
    FULL,
    HEART,
    I_A,
    I_ALPHA,
    I_B,
    I_C1,
    I_C2,
    I_COS,
    I_CX,
    I_CY,
    I_GLOW,
    I_GO,
    I_GROW,
    I_GX,
    I_GY,
    I_ONION,
    I_P0,
    I_SC,
    I_SEED,
    I_SIN,
    I_SOFT,
    I_SW,
    I_T,
    NONE,
    POLY,
    STAR,
    TAU,
    TERR,
    P,
)


def pack(rows_list, k=None):
    """Primitive lists -> float32 array [B, K, P] (K rounded up to a multiple of 8)."""
    k = k or max(8, (max(len(r) for r in rows_list) + 7) // 8 * 8)
    out = np.zeros((len(rows_list), k, P), np.float32)
    for i, r in enumerate(rows_list):
        out[i, : len(r)] = np.asarray(r, np.float32)
    return out


def _sdf(t, x, y, u, v, ru, rv, g):
    """Signed distance to a primitive of type t: x, y of the picture, u, v from its centre, ru, rv turned with it.

    g(i) is its parameter i, shaped to broadcast over pixels. Formulas after Inigo Quilez, "2D distance functions".
    """
    hyp = lambda a, b: torch.sqrt(a * a + b * b + 1e-12)
    p = lambda i: g(I_P0 + i)
    if t in (ELL, DOME):
        a, b = g(I_A).clamp_min(1e-4), g(I_B).clamp_min(1e-4)
        k0 = hyp(ru / a, rv / b)
        k1 = hyp(ru / (a * a), rv / (b * b))
        d = k0 * (k0 - 1) / k1.clamp_min(1e-6)
        return torch.maximum(d, rv) if t == DOME else d
    if t == BOX:
        r = p(0)
        qx, qy = ru.abs() - g(I_A) + r, rv.abs() - g(I_B) + r
        return hyp(qx.clamp_min(0), qy.clamp_min(0)) + torch.minimum(torch.maximum(qx, qy), torch.zeros_like(qx)) - r
    if t == POLY:
        vx = [g(I_A), p(0), p(2), p(4)]
        vy = [g(I_B), p(1), p(3), p(5)]
        d = (u - vx[0]) ** 2 + (v - vy[0]) ** 2
        s = torch.ones_like(d)
        for i in range(4):
            j = (i - 1) % 4
            ex, ey = vx[j] - vx[i], vy[j] - vy[i]
            wx, wy = u - vx[i], v - vy[i]
            h = ((wx * ex + wy * ey) / (ex * ex + ey * ey).clamp_min(1e-9)).clamp(0, 1)
            bx, by = wx - ex * h, wy - ey * h
            d = torch.minimum(d, bx * bx + by * by)
            c1, c2, c3 = v >= vy[i], v < vy[j], ex * wy > ey * wx
            flip = (c1 & c2 & c3) | (~c1 & ~c2 & ~c3)
            s = torch.where(flip, -s, s)
        return s * torch.sqrt(d + 1e-12)
    if t == STAR:
        n, ratio = p(0).clamp_min(3), p(1)
        R = g(I_A)
        an = math.pi / n
        th = torch.atan2(ru, -rv)  # 0 at the top
        th = torch.remainder(th + an, 2 * an) - an
        r = hyp(ru, rv)
        px_, py_ = r * torch.sin(th).abs(), r * torch.cos(th)
        # segment from the tip (0, R) to the inner corner
        bx, by = R * ratio * torch.sin(an), R * ratio * torch.cos(an)
        ex, ey = bx, by - R
        wx, wy = px_, py_ - R
        h = ((wx * ex + wy * ey) / (ex * ex + ey * ey).clamp_min(1e-9)).clamp(0, 1)
        d = hyp(wx - ex * h, wy - ey * h)
        return d * torch.sign(ex * wy - ey * wx)
    if t == HEART:
        R = g(I_A).clamp_min(1e-4)
        x_, y_ = (ru / (R * 1.62)).abs(), (-rv / (R * 1.62)) + 0.56
        d1 = hyp(x_ - 0.25, y_ - 0.75) - math.sqrt(2) / 4
        m = 0.5 * (x_ + y_).clamp_min(0)
        d2 = torch.sqrt(torch.minimum(x_**2 + (y_ - 1) ** 2, (x_ - m) ** 2 + (y_ - m) ** 2) + 1e-12) * torch.sign(
            x_ - y_
        )
        return torch.where(x_ + y_ > 1, d1, d2) * R * 1.62
    if t == CRES:
        return torch.maximum(hyp(ru, rv) - g(I_A), p(1) - hyp(ru - p(0), rv))
    if t == CAP:
        ax, ay, bx, by = g(I_A), g(I_B), p(0), p(1)
        ex, ey = bx - ax, by - ay
        wx, wy = u - ax, v - ay
        h = ((wx * ex + wy * ey) / (ex * ex + ey * ey).clamp_min(1e-9)).clamp(0, 1)
        return hyp(wx - ex * h, wy - ey * h) - (p(2) + (p(3) - p(2)) * h)
    if t == ARC:
        R, th, half = g(I_A), g(I_B), p(0)
        ang = torch.atan2(rv, ru).abs()
        r = hyp(ru, rv)
        d_in = (r - R).abs()
        d_out = hyp(ru - R * torch.cos(half), rv.abs() - R * torch.sin(half))
        return torch.where(ang <= half, d_in, d_out) - th
    if t == TERR:
        ph1 = TAU * (g(I_B) * x + p(0))
        ph2 = TAU * (p(2) * x + p(3))
        tri = p(4) > 0.5
        w1 = torch.where(tri, 2 / math.pi * torch.asin(torch.sin(ph1).clamp(-0.999, 0.999)), torch.sin(ph1))
        w2 = torch.where(tri, 2 / math.pi * torch.asin(torch.sin(ph2).clamp(-0.999, 0.999)), torch.sin(ph2))
        return (g(I_CY) + g(I_A) * w1 + p(1) * w2 - y) * 0.95
    if t == FIELD:
        d0 = torch.maximum(u.abs() - g(I_A), v.abs() - g(I_B))
        cw, ch, rw, rh, dens, jitt = (p(i) for i in range(6))
        cw, ch = cw.clamp_min(1e-3), ch.clamp_min(1e-3)
        iu, iv = torch.floor(ru / cw), torch.floor(rv / ch)
        sd = g(I_SEED)
        h1 = torch.sin(iu * 12.9898 + iv * 78.233 + sd * 3.17) * 437.5853
        h1 = h1 - torch.floor(h1)
        h2 = torch.sin(iu * 39.346 + iv * 11.135 + sd * 5.71) * 243.8571
        h2 = h2 - torch.floor(h2)
        h3 = torch.sin(iu * 73.156 + iv * 52.235 + sd * 1.93) * 381.2573
        h3 = h3 - torch.floor(h3)
        arw = rw.abs()
        fu = ru - (iu + 0.5 + (h1 - 0.5) * jitt * (1 - 2 * arw / cw).clamp(0, 1)) * cw
        fv = rv - (iv + 0.5 + (h2 - 0.5) * jitt * (1 - 2 * rh / ch).clamp(0, 1)) * ch
        scale = 1 - 0.35 * jitt * (h2 * 7 - torch.floor(h2 * 7))
        a, b = (arw * scale).clamp_min(1e-4), (rh * scale).clamp_min(1e-4)
        k0 = hyp(fu / a, fv / b)
        dd = k0 * (k0 - 1) / hyp(fu / (a * a), fv / (b * b)).clamp_min(1e-6)
        db = torch.maximum(fu.abs() - arw, fv.abs() - rh)
        d = torch.where(rw < 0, db, dd)
        d = torch.where(h3 < dens, d, torch.ones_like(d))
        return torch.maximum(d, d0)
    raise ValueError(t)


def _composite(c, d, q, x, y, px):
    """Lay one primitive over the canvas c [B,3,H,W]; d [B,H,W]; q [B,P]; px [B,1,1]."""
    g = lambda i: q[:, i, None, None]
    d = d - g(I_GROW)
    on = g(I_ONION)
    d = torch.where(on > 0, d.abs() - on, d)
    alpha = g(I_ALPHA)
    glow = g(I_GLOW)
    sw = g(I_SW)
    colS = q[:, I_SC : I_SC + 3, None, None]
    col1, col2 = q[:, I_C1 : I_C1 + 3, None, None], q[:, I_C2 : I_C2 + 3, None, None]
    gcol = torch.where((sw > 0)[:, None], colS, col1)
    ga = (
        torch.where(glow > 0, 0.55 * torch.exp(-(d - sw).clamp_min(0) / glow.clamp_min(1e-4)), torch.zeros_like(d))
        * alpha
    )
    c = c + (gcol - c) * ga[:, None]
    w = torch.maximum(px, g(I_SOFT))
    sa = torch.where(sw > 0, (0.5 - (d - sw) / px).clamp(0, 1), torch.zeros_like(d)) * alpha
    c = c + (colS - c) * sa[:, None]
    t = (g(I_GX) * x + g(I_GY) * y + g(I_GO)).clamp(0, 1)[:, None]
    col = col1 + (col2 - col1) * t
    fa = (0.5 - d / w).clamp(0, 1) * alpha
    return c + (col - c) * fa[:, None]


def _coords(gpar, size, device):
    """Pixel centres, bent by the style: pixel-art cells, watercolour wobble."""
    B = gpar.shape[0]
    ax = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    y, x = torch.meshgrid(ax, ax, indexing="ij")
    x, y = x[None].expand(B, -1, -1), y[None].expand(B, -1, -1)
    G = lambda i: gpar[:, i, None, None]
    cells = G(0)
    cc = cells.clamp_min(1)
    x = torch.where(cells > 0, (torch.floor(x * cc) + 0.5) / cc, x)
    y = torch.where(cells > 0, (torch.floor(y * cc) + 0.5) / cc, y)
    px = torch.where(cells > 0, 0.12 / cc, torch.full_like(cc, 1.15 / size))
    s, w = G(3), G(1)
    n1 = (
        torch.sin(TAU * (2.3 * x + 3.1 * y) + s)
        + 0.6 * torch.sin(TAU * (6.1 * y - 3.7 * x) + 2.1 * s)
        + 0.4 * torch.sin(TAU * (9.7 * x + 4.3 * y) + 3.3 * s)
    )
    n2 = (
        torch.sin(TAU * (3.3 * x - 2.1 * y) + 1.7 * s)
        + 0.6 * torch.sin(TAU * (5.3 * y + 4.1 * x) + 2.9 * s)
        + 0.4 * torch.sin(TAU * (8.9 * y - 5.9 * x) + 4.1 * s)
    )
    gran = (
        0.7
        * torch.sin(TAU * (1.1 * x + 0.7 * y) + 5 * s + 1.3 * n1)
        * torch.sin(TAU * (0.9 * y - 0.8 * x) + 7 * s + 1.1 * n2)
    )
    return x + w * n1 * 0.5, y + w * n2 * 0.5, px, gran


def _finish(c, gpar, x, y, gran):
    G = lambda i: gpar[:, i, None, None, None]
    # watercolour: uneven pigment, paper showing at the margin
    c = c * (1 + G(2) * 0.5 * gran[:, None])
    e = torch.minimum(torch.minimum(x, 1 - x), torch.minimum(y, 1 - y))[:, None]
    m = ((e - 0.018 - 0.03 * gran[:, None].abs()) / 0.035).clamp(0, 1)
    m = torch.where(G(4) > 0, m, torch.ones_like(m))
    paper = torch.tensor([0.985, 0.975, 0.95], device=c.device).view(1, 3, 1, 1)
    return (paper + (c - paper) * m).clamp(0, 1)


@torch.no_grad()
def render(prims, gpar, size=128):
    """prims [B, K, P] and gpar [B, GP], float -> images [B, 3, size, size] in 0..1."""
    B, K = prims.shape[:2]
    x, y, px, gran = _coords(gpar, size, prims.device)
    c = torch.ones(B, 3, size, size, device=prims.device)
    for k in range(K):
        ty = prims[:, k, I_T].long()
        # Each type is evaluated only for the pictures that have it in this slot.
        for t in sorted(set(ty.tolist()) - {NONE}):
            idx = (ty == t).nonzero()[:, 0]
            q = prims[idx, k]
            g = lambda i: q[:, i, None, None]
            xs, ys, pp = x[idx], y[idx], px[idx]
            u, v = xs - g(I_CX), ys - g(I_CY)
            ru, rv = u * g(I_COS) + v * g(I_SIN), v * g(I_COS) - u * g(I_SIN)
            d = -torch.ones_like(u) if t == FULL else _sdf(t, x=xs, y=ys, u=u, v=v, ru=ru, rv=rv, g=g)
            c[idx] = _composite(c[idx], d, q, xs, ys, pp)
    return _finish(c, gpar, x, y, gran)


def sheet(images, cols, path, scale=1):
    """Save a grid of [N,3,H,W] images as a PNG."""
    a = (images.clamp(0, 1) * 255 + 0.5).byte().cpu().numpy().transpose(0, 2, 3, 1)
    n, h, w, _ = a.shape
    rows = (n + cols - 1) // cols
    out = np.full((rows * (h + 4) + 4, cols * (w + 4) + 4, 3), 90, np.uint8)
    for i in range(n):
        r, c = divmod(i, cols)
        out[4 + r * (h + 4) : 4 + r * (h + 4) + h, 4 + c * (w + 4) : 4 + c * (w + 4) + w] = a[i]
    im = Image.fromarray(out)
    if scale != 1:
        im = im.resize((int(im.width * scale), int(im.height * scale)), Image.LANCZOS)
    im.save(path)
