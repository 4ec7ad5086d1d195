"""An endless stream of pictures: worker processes compose them, the training device draws them."""

import multiprocessing
import os
import pathlib
import queue
import random
import shutil
import tempfile
import threading

import numpy as np
import torch

import scenes

from . import log
from .tokenizer import Tokenizer

PARTS = 4  # chunks of a shard, by length of the primitive lists
SHARED_MEMORY = pathlib.Path("/dev/shm")


def _work(seed, paths, folder, tokenizer, labels, stop, shard):
    """Writes shards of `shard` pictures until told to stop."""
    rng = random.Random(seed)
    tokenizer = Tokenizer(tokenizer)
    number = 0
    while not stop.is_set():
        pictures = [scenes.sample(rng) for _ in range(shard)]
        # Long lists apart from short ones, so that little padding is drawn.
        pictures.sort(key=lambda picture: len(picture[1]))
        arrays = {
            "ids": np.asarray([tokenizer(caption) for caption, *_ in pictures], np.int16),
            "gpar": np.asarray([gpar for _, _, gpar, _ in pictures], np.float32),
        }
        if labels:
            arrays["labels"] = np.asarray([scenes.label_vec(label) for *_, label in pictures], np.int8)
        for part in range(PARTS):
            rows = [rows for _, rows, _, _ in pictures[part * shard // PARTS : (part + 1) * shard // PARTS]]
            arrays[f"prims{part}"] = scenes.pack(rows)
        path = os.path.join(folder, f"{seed}-{number}.npz")
        number += 1
        with open(path, "wb") as file:
            np.savez(file, **arrays)
        _put(paths, path, stop)


def _put(target, item, stop):
    """Waits for room, but not beyond the end."""
    while not stop.is_set():
        try:
            target.put(item, timeout=0.5)
            return
        except queue.Full:
            pass


class Pictures:
    """Yields chunks (prims, gpar, ids, labels or None) on the device; drawing is left to the caller.

    The workers fork at once; call `start` when CUDA is in use, after which nothing may fork.
    """

    def __init__(self, device, workers, tokenizer, shard, seed, labels=False):
        self.device = device
        in_memory = os.access(SHARED_MEMORY, os.W_OK) and shutil.disk_usage(SHARED_MEMORY).free > 6 << 30
        self.folder = tempfile.mkdtemp(prefix="scenes-", dir=SHARED_MEMORY if in_memory else None)
        context = multiprocessing.get_context("fork")
        self.stop = context.Event()
        self.paths = context.Queue(maxsize=4 * workers)
        arguments = (self.paths, self.folder, tokenizer, labels, self.stop, shard)
        self.workers = [
            context.Process(target=_work, args=(seed * 1000 + 17 + i, *arguments), daemon=True) for i in range(workers)
        ]
        for worker in self.workers:
            worker.start()
        self.chunks = queue.Queue(maxsize=12)

    def start(self):
        threading.Thread(target=self._load, daemon=True).start()

    def _load(self):
        while not self.stop.is_set():
            try:
                path = self.paths.get(timeout=0.5)
            except queue.Empty:
                continue
            with np.load(path) as shard:
                ids, gpar = shard["ids"], shard["gpar"]
                labels = shard["labels"] if "labels" in shard else None
                n = len(ids) // PARTS
                for part in range(PARTS):
                    rows = slice(part * n, (part + 1) * n)
                    arrays = shard[f"prims{part}"], gpar[rows], ids[rows], None if labels is None else labels[rows]
                    chunk = [None if array is None else torch.from_numpy(array) for array in arrays]
                    if self.device.type == "cuda":
                        chunk = [None if tensor is None else tensor.pin_memory() for tensor in chunk]
                    _put(self.chunks, chunk, self.stop)
            os.unlink(path)

    def next(self):
        chunk = self.chunks.get()
        return [None if tensor is None else tensor.to(self.device, non_blocking=True) for tensor in chunk]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        for worker in self.workers:
            worker.join(timeout=3)
            if worker.is_alive():
                worker.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def fixed_pictures(tokenizer, n, seed):
    """The same n pictures for the same seed: prims, gpar, ids."""
    rng, tokenizer = random.Random(seed), Tokenizer(tokenizer)
    pictures = [scenes.sample(rng) for _ in range(n)]
    prims = torch.from_numpy(scenes.pack([rows for _, rows, _, _ in pictures]))
    gpar = torch.tensor([gpar for _, _, gpar, _ in pictures])
    return prims, gpar, torch.tensor([tokenizer(caption) for caption, *_ in pictures])


_renderer = None


def draw(prims, gpar, size):
    """Images [b, 3, size, size] in 0..1: by the Triton kernel where there is a GPU and it agrees with the reference."""
    global _renderer
    if prims.device.type != "cuda":
        return scenes.render(prims, gpar, size)
    if _renderer is None:
        _renderer = _choose_renderer(prims.device)
    return _renderer(prims, gpar, size)


def _choose_renderer(device):
    try:
        from scenes import render_triton

        mean, largest = render_triton.check(device)
    except Exception as error:
        log(f"the Triton renderer does not run, so drawing is slow: {error!r}")
        return scenes.render
    log(f"Triton renderer: difference to the reference at most {mean:.1e} in the mean, {largest:.1e} in a pixel")
    return render_triton.render if mean < 2e-3 else scenes.render
