"""Small features and their keys."""

import hashlib

import numpy as np

from dualcoop.cache import Encoding
from dualcoop.cache.shards import Layout

REGIONS, DIMENSIONS = 3, 4
LAYOUTS = {stored: Layout(stored, REGIONS, DIMENSIONS) for stored in ("float16", "int8")}


def keys(*numbers: int) -> list[bytes]:
    return [hashlib.sha256(str(number).encode()).digest() for number in numbers]


def regions(*numbers: int) -> np.ndarray:
    """Features that belong to these keys, (n, R, D), float16."""
    rows = [np.random.default_rng(number).normal(size=(REGIONS, DIMENSIONS)) for number in numbers]
    return np.array(rows, dtype=np.float16).reshape(len(numbers), REGIONS, DIMENSIONS)


def encoding(**changes) -> Encoding:
    values = {
        "backbone": "tiny",
        "fingerprint": "f" * 64,
        "pooling": "regions",
        "image_size": 32,
        "precision": "float32",
        "pixels": 1,
        "regions": REGIONS,
        "dimensions": DIMENSIONS,
    }
    return Encoding(**{**values, **changes})
