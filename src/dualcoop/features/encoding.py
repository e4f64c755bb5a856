"""Region features of frozen images, encoded once per run."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from dualcoop.cache import FeatureCache
from dualcoop.counting import Progress
from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import Problem
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


Read: TypeAlias = tuple[Tensor | None, list[int], dict[int, Problem]]
"""Of a batch of images: pixels of those that could be read, None without any; their indices; the others' problems."""


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
    tell: Progress = progress or (lambda done, total: None)
    if cache is not None:
        # Reading all files to know their content takes a moment.
        tell(0, total)
    collector = FeatureCollector(
        model, data.paths, names, precision=precision, stored=stored, cache=cache, folder=folder
    )
    done = total - int(collector.missing.sum())
    if done:
        tell(done, total)
    problems: dict[int, Problem] = {}

    def encoded(batch: Read) -> Tensor | None:
        return None if batch[0] is None else encode(model, batch[0].flatten(0, 1), precision)

    try:
        for numbers, images in _alike(collector.missing):
            at_once = max(1, (batch_size or READ_AT_ONCE) // len(numbers))
            # Random views draw from torch's global generator, which threads would share.
            in_order = augmentation != "none" and any(numbers)
            transform = partial(image_views.pixels, views=numbers)
            reading = {"batch_size": at_once, "in_order": in_order, "workers": workers}
            batches = _read(data.subset(images), model.image_size, transform, strict, **reading)
            # A single batch is quicker with all threads on it.
            run = partial(side_by_side, device=model.device, owner=model.backbone)
            for (_, rows, unread), features in (run if len(images) > at_once else one_by_one)(batches, encoded):
                problems |= {int(images[row]): problem for row, problem in unread.items()}
                if features is not None:
                    collector.add(images[rows], numbers, features.unflatten(0, (len(rows), len(numbers))))
                done += (len(rows) + len(unread)) * len(numbers)
                tell(done, total)
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
    """Open all images, meant for inputs of this side: indices of those that can be read, (n,), and the problems.

    Raises:
        DataError: with `strict`, for the first that cannot.
    """
    problems: dict[int, Problem] = {}
    for _, _, unread in _read(data, image_size, lambda image: torch.empty(3, 0, 0), strict, batch_size=READ_AT_ONCE):
        problems |= unread
    return kept_and_left_out(len(data), problems)


def encode(model: RegionClassifier, pixels: Tensor, precision: str, *, learns: bool = False) -> Tensor:
    """Region features (b, R, D), float32, of preprocessed pixels; with a graph where the image tower learns."""
    low = torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.set_grad_enabled(learns), low:
        return model.encode_pixels(pixels.to(model.device)).float()


def _read(data: LabelledImages, image_size: int, transform: Transform, strict: bool, **reading: Any) -> Iterator[Read]:
    """Images batch by batch; `reading` are arguments of `image_batches`."""
    start = 0
    draft, on_error = DRAFT_OVERSAMPLING * image_size, "raise" if strict else "skip"
    for batch in image_batches(data.paths, transform, on_error=on_error, draft_size=draft, **reading):
        rows, unread = [], {}
        for index, error in enumerate(batch.errors, start):
            if error is None:
                rows.append(index)
            else:
                remedy = LEFT_OUT if error.remedy is None else (error.remedy, ". ", LEFT_OUT)
                unread[index] = Problem("", None, str(data.paths[index]), error.what, remedy)
        start += len(batch.errors)
        yield batch.pixels, rows, unread
