"""Trains the embedded model from nothing, on pictures that `scenes` draws."""

import time

_START = time.time()


def log(*message):
    """A line with the seconds since the start."""
    print(f"[{time.time() - _START:7.1f}]", *message, flush=True)
