"""A small problem that can be solved: a class is present where its band of the image has its colour."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dualcoop import DualCoOp, PromptConfig
from dualcoop.data.labels import LabelledImages
from tiny import TinyBackbone

CLASSES = ("red", "green", "blue")
COLOURS = ((230, 30, 40), (20, 200, 60), (40, 60, 235))
SIDE = 32
PROMPTS = PromptConfig(positive_tokens=4, negative_tokens=4, positive_init=None, negative_init=None, residual=False)


def coloured_image(present: np.ndarray, noise: np.random.Generator) -> Image.Image:
    """Three bands, each in its class's colour where the class is present and grey otherwise."""
    pixels = noise.integers(90, 160, (SIDE, SIDE, 3))
    for band, (there, colour) in enumerate(zip(present, COLOURS, strict=True)):
        if there:
            rows = slice(band * 11, band * 11 + 10)
            pixels[rows] = np.clip(np.array(colour) + noise.integers(-20, 20, (10, SIDE, 3)), 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def write_images(folder: Path, count: int, seed: int) -> LabelledImages:
    """Images in a folder with all their labels; the first two have all classes and none."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed)
    present = noise.random((count, len(CLASSES))) < 0.4
    present[0], present[1] = True, False
    paths = [folder / f"{index:03}.png" for index in range(count)]
    for path, row in zip(paths, present, strict=True):
        coloured_image(row, noise).save(path)
    return LabelledImages(tuple(paths), np.where(present, 1, -1), CLASSES, folder)


def with_unreadable(data: LabelledImages, folder: Path, *indices: int) -> LabelledImages:
    """The same images, those at these indices replaced by files that are no images."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = list(data.paths)
    for index in indices:
        paths[index] = folder / f"broken-{index}.png"
        paths[index].write_bytes(b"no image")
    return LabelledImages(tuple(paths), data.labels, data.classes)


def make_model(**options: Any) -> DualCoOp:
    """A model over a tiny backbone of its own, always the same at its start."""
    options = {"prompts": PROMPTS, **options}
    return DualCoOp(TinyBackbone(), CLASSES, **options)
