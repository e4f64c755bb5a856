"""Region features of frozen images, encoded once per run."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dualcoop.cache import FeatureCache
from dualcoop.counting import Progress
from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import Problem
from dualcoop.errors import Message
from dualcoop.features.augmentation import Transform
from dualcoop.features.regions import RegionFeatures, kept_and_left_out
from dualcoop.features.store import FeatureCollector
from dualcoop.features.views import Views
from dualcoop.inference.images import image_batches, one_by_one
from dualcoop.inference.side_by_side import side_by_side
from dualcoop.inference.squash import DRAFT_OVERSAMPLING
from dualcoop.network import RegionClassifier

READ_AT_ONCE = 32
LEFT_OUT = "The image was left out"


class ReadImages(NamedTuple):
    """A batch of images that were opened.

    Attributes:
        pixels: of those that could be read, transformed, as the transform stacks them; None when there are none.
        rows: their indices.
        unread: what is wrong with the others, by their indices.
    """

    pixels: Tensor | None
    rows: list[int]
    unread: dict[int, Problem]


def encode_images_once(
    model: RegionClassifier,
    data: LabelledImages,
    *,
    views: int = 1,
    augmentation: str = "none",
    seed: int = 0,
    strict: bool = False,
    precision: str = "float32",
    stored: str = "float16",
    cache: FeatureCache | None = None,
    folder: Path | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RegionFeatures:
    """Encode every image of `data`; with several views the first is plain, the others augmented.

    With a cache, features that it has are read from there, and only the other images are opened and encoded; the
    features are the same, bit for bit, as long as the images are encoded in the same batches by as many threads. What
    was reported as done is kept when this is interrupted.

    Args:
        model: gives the frozen image tower, the pooling and the image size.
        data: N images.
        views: V.
        augmentation: see `augmented`.
        seed: of the augmentation.
        strict: raise at the first image that cannot be read, instead of leaving it out.
        precision: "float32", or "bfloat16" autocast.
        stored: "float16", or "int8" with a scale for each region, which takes half of the space.
        cache: where features are kept from one run to the next.
        folder: where a memory-mapped file goes when there is no cache and the features are too large for memory;
            None takes the system's temporary folder.
        batch_size: views of images that are encoded at once; None leaves the choice to the program.
        workers: threads that read images, see `image_batches`.
        progress: called as progress(done, total), in views of images.

    Raises:
        DataError: with `strict`, for an image that cannot be read; or when there is no room for the features.
    """
    image_views = Views(model.backbone.preprocess(model.image_size), augmentation, model.image_size, seed)
    names = [image_views.name(view) for view in range(views)]
    total = len(data) * views
    if progress is not None and cache is not None:
        # Reading all files to know their content takes a moment.
        progress(0, total)
    collector = FeatureCollector(
        model, data.paths, names, precision=precision, stored=stored, cache=cache, folder=folder
    )
    done = total - int(collector.missing.sum())
    if progress is not None and done:
        progress(done, total)
    problems: dict[int, Problem] = {}

    def encoded(batch: ReadImages) -> Tensor | None:
        return None if batch.pixels is None else encode(model, batch.pixels.flatten(0, 1), precision)

    try:
        for numbers, images in _alike(collector.missing):
            at_once = max(1, (batch_size or READ_AT_ONCE) // len(numbers))
            # Random views draw from torch's global generator, which threads would share.
            batches = _read(
                data.subset(images),
                model.image_size,
                partial(image_views.pixels, views=numbers),
                at_once,
                strict,
                in_order=augmentation != "none" and any(numbers),
                workers=workers,
            )
            # A single batch is quicker with all threads on it.
            several = len(images) > at_once
            results = (
                side_by_side(batches, encoded, model.device, model.backbone)
                if several
                else one_by_one(batches, encoded)
            )
            for batch, features in results:
                problems |= {int(images[row]): problem for row, problem in batch.unread.items()}
                if features is not None:
                    rows = images[batch.rows]
                    collector.add(rows, numbers, features.unflatten(0, (len(rows), len(numbers))))
                done += (len(batch.rows) + len(batch.unread)) * len(numbers)
                if progress is not None:
                    progress(done, total)
    finally:
        collector.flush()
    return collector.collected(problems)


def _alike(missing: np.ndarray) -> Iterator[tuple[list[int], np.ndarray]]:
    """From (N, V), bool: numbers of the views that are missing, and the images that lack just these."""
    some = missing[missing.any(axis=1)]
    for pattern in np.unique(some, axis=0)[::-1]:
        yield np.flatnonzero(pattern).tolist(), np.flatnonzero((missing == pattern).all(axis=1))


def readable_images(
    data: LabelledImages, image_size: int, *, strict: bool = False
) -> tuple[np.ndarray, tuple[Problem, ...]]:
    """Indices of the images that can be read, (n,), and what is wrong with the others.

    Args:
        data: N images; each is opened.
        image_size: side of the input that they are meant for, pixels.
        strict: raise at the first one that cannot be read.

    Raises:
        DataError: with `strict`.
    """
    problems: dict[int, Problem] = {}
    for batch in _read(data, image_size, lambda image: torch.empty(3, 0, 0), READ_AT_ONCE, strict):
        problems |= batch.unread
    return kept_and_left_out(len(data), problems)


def encode(model: RegionClassifier, pixels: Tensor, precision: str, *, learns: bool = False) -> Tensor:
    """Region features (b, R, D), float32, of preprocessed pixels; with a graph where the image tower learns."""
    low = torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.set_grad_enabled(learns), low:
        return model.encode_pixels(pixels.to(model.device)).float()


def _read(
    data: LabelledImages,
    image_size: int,
    transform: Transform,
    at_once: int,
    strict: bool,
    *,
    in_order: bool = False,
    workers: int | None = None,
) -> Iterator[ReadImages]:
    """Images batch by batch."""
    start = 0
    for batch in image_batches(
        data.paths,
        transform,
        batch_size=at_once,
        on_error="raise" if strict else "skip",
        draft_size=DRAFT_OVERSAMPLING * image_size,
        in_order=in_order,
        workers=workers,
    ):
        errors = dict(enumerate(batch.errors, start))
        rows = [index for index, error in errors.items() if error is None]
        unread = {index: _problem(data.paths[index], error) for index, error in errors.items() if error is not None}
        start += len(errors)
        yield ReadImages(batch.pixels, rows, unread)


def _problem(path: Path, error: Message) -> Problem:
    remedy = LEFT_OUT if error.remedy is None else (error.remedy, ". ", LEFT_OUT)
    return Problem("", None, str(path), error.what, remedy)
