#!/usr/bin/env python3
"""bench_ops.py FILE [--threads N] [--word WORD]   times torch's ops at the shapes of FILE, as `cargo bench --bench ops` does.

FILE is one of benches/shapes: kind, sizes, and how often the model does it in one call.
  conv B INPUTS OUTPUTS H W KERNEL STRIDE UPSAMPLE   linear ROWS INPUTS OUTPUTS   geglu ROWS INPUTS OUTPUTS
  attn B QUERIES KEYS HEADS SIZE                     gn B CHANNELS PIXELS SILU    ln ROWS SIZE
Processor time of all threads; the lowest of five counts. Set OMP_WAIT_POLICY=passive, or waiting threads count too.
"""
import argparse
import time

import torch
import torch.nn.functional as F

CALLS = 5


def make(kind, sizes):
    """The op as a function, and how many multiplications and additions it asks for."""
    r = torch.randn
    if kind == "conv":
        b, inputs, outputs, h, w, kernel, stride, upsample = sizes
        x, weight, bias = r(b, inputs, h, w), r(outputs, inputs, kernel, kernel) * 0.02, r(outputs)
        pixels = h * w * (1 + upsample) ** 2 / stride**2

        def conv():
            y = F.interpolate(x, scale_factor=2.0, mode="nearest") if upsample else x
            return F.conv2d(y, weight, bias, stride=stride, padding=kernel // 2)

        return conv, 2 * b * inputs * outputs * kernel * kernel * pixels
    if kind in ("linear", "geglu"):
        rows, inputs, outputs = sizes
        x, weight, bias = r(rows, inputs), r(outputs, inputs) * 0.02, r(outputs)

        def geglu():
            hidden, gate = F.linear(x, weight, bias).chunk(2, dim=-1)
            return hidden * F.gelu(gate)

        return geglu if kind == "geglu" else lambda: F.linear(x, weight, bias), 2 * rows * inputs * outputs
    if kind == "attn":
        b, queries, keys, heads, size = sizes
        q, k, v = (r(b, n, heads, size).transpose(1, 2) for n in (queries, keys, keys))
        attend = lambda: F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, queries, heads * size)
        return attend, 4 * b * queries * keys * heads * size
    if kind == "gn":
        b, channels, pixels, silu = sizes
        x, weight, bias = r(b, channels, pixels), r(channels), r(channels)
        norm = lambda: F.group_norm(x, 32, weight, bias)
        return (lambda: F.silu(norm())) if silu else norm, 0
    rows, size = sizes
    x, weight, bias = r(rows, size), r(size), r(size)
    return lambda: F.layer_norm(x, (size,), weight, bias), 0


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("file")
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--word", default="")
    a = ap.parse_args()
    torch.set_num_threads(a.threads)
    totals = {}
    with torch.inference_mode(), open(a.file) as lines:
        for line in (line.strip() for line in lines if a.word in line):
            kind, *sizes, count = (int(w) if w.isdigit() else w for w in line.split())
            op, operations = make(kind, sizes)
            op()
            best = float("inf")
            for _ in range(CALLS):
                start = time.process_time()
                op()
                best = min(best, time.process_time() - start)
            print(f"{line:<40} {best * 1e3:9.2f} ms {operations / best / 1e9:7.1f} GFLOP/s", flush=True)
            totals[kind] = totals.get(kind, 0.0) + best * count
    print({kind: round(seconds, 3) for kind, seconds in totals.items()}, f"together {sum(totals.values()):.3f} s")


if __name__ == "__main__":
    main()
