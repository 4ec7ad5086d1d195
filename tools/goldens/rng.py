"""What `torch.randn` gives on the CPU, for many seeds and sizes: tests/golden/rng.

`digests.json` holds, by seed, the SHA-256 of the bytes (float32, little endian) of `randn(n)` for every `stride`-th n
from 16 to 4099 one after another, each from a fresh generator. `randn.safetensors` holds, by seed,
    {seed}.short   randn(n) for every n from 1 to 15 one after another, each from a fresh generator
    {seed}.mixed   calls for MIXED sizes on one generator, one after another
"""

import hashlib

import torch

from ._paths import GOLDEN, write_json, write_tensors

OUT = GOLDEN / "rng"
# all sizes for one seed; for the others enough that every length of the last, short block comes up
STRIDES = {42: 1} | dict.fromkeys([0, 1, 123456789, 2**32 - 1, 2**40 + 7, 2**64 - 1], 13)
SHORT = range(1, 16)
# a call for fewer than 16 values keeps half a pair for the next such call, across longer ones
MIXED = [3, 5, 16, 1, 2, 100, 7, 64, 1, 1, 17, 15, 16, 1]


def generator(seed):
    # torch takes the upper half of u64 as negative numbers
    return torch.Generator("cpu").manual_seed(seed if seed < 2**63 else seed - 2**64)


def main():
    tensors, digests = {}, {}
    for seed, stride in STRIDES.items():
        digest = hashlib.sha256()
        for size in range(16, 4100, stride):
            digest.update(torch.randn(size, generator=generator(seed)).numpy().tobytes())
        digests[str(seed)] = {"stride": stride, "sha256": digest.hexdigest()}
        tensors[f"{seed}.short"] = torch.cat([torch.randn(size, generator=generator(seed)) for size in SHORT])
        one = generator(seed)
        tensors[f"{seed}.mixed"] = torch.cat([torch.randn(size, generator=one) for size in MIXED])
    write_json(OUT / "digests.json", digests)
    write_tensors(OUT / "randn.safetensors", tensors)
