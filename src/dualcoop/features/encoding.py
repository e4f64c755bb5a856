"""Region features of frozen images, encoded once per run."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dualcoop.cache import FeatureCache
from dualcoop.counting import Progress
from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import Problem
from dualcoop.errors import Message
from dualcoop.features.augmentation import Transform, Views
from dualcoop.features.store import Block, Keeper
from dualcoop.inference.images import image_batches, one_by_one
from dualcoop.inference.side_by_side import side_by_side
from dualcoop.inference.squash import DRAFT_OVERSAMPLING
from dualcoop.network import RegionClassifier

READ_AT_ONCE = 32
LEFT_OUT = "The image was left out"


class Part(NamedTuple):
    """A batch of images.

    Attributes:
        pixels: of those that could be read, transformed, as the transform stacks them; None when there are none.
        rows: their indices.
        unread: what is wrong with the others.
    """

    pixels: Tensor | None
    rows: list[int]
    unread: list[Problem]


class RegionFeatures:
    """Region features of the n readable ones of N images in V views, in half precision or int8.

    They may lie in several blocks, on disk or in memory; nothing of them is read before it is asked for.

    Attributes:
        kept: (n,), indices of the images that could be read; the rows of the features.
        problems: one entry for each image that could not, in their order.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        block: np.ndarray,
        row: np.ndarray,
        region_shape: tuple[int, int],
        kept: np.ndarray,
        problems: tuple[Problem, ...],
    ) -> None:
        """Take over features.

        Args:
            blocks: each (m, R, D).
            block, row: (n, V), where the features of each image and view lie.
            region_shape: R and D.
            kept, problems: see the class.
        """
        self._blocks = blocks
        self._block = block
        self._row = row
        self.region_shape = region_shape
        self.kept = kept
        self.problems = problems

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def images(self) -> int:
        """N, readable or not."""
        return len(self.kept) + len(self.problems)

    @property
    def views(self) -> int:
        """V."""
        return self._block.shape[1]

    def batch(self, rows: np.ndarray, views: np.ndarray | int = 0) -> Tensor:
        """Features of some images, one view of each: (b, R, D), float32, on the CPU."""
        return torch.from_numpy(self._read(rows, views, self.region_shape, lambda row: row)).float()

    def subset(self, indices: np.ndarray) -> "RegionFeatures":
        """The features that belong to `data.subset(indices)` where these belong to `data`.

        Args:
            indices: of images among the N.
        """
        row = np.full(self.images, -1)
        row[self.kept] = np.arange(len(self))
        problem = dict(zip(np.flatnonzero(row < 0).tolist(), self.problems, strict=True))
        rows = row[indices]
        problems = tuple(problem[int(index)] for index in np.asarray(indices)[rows < 0])
        there = rows[rows >= 0]
        kept = np.flatnonzero(rows >= 0)
        return RegionFeatures(self._blocks, self._block[there], self._row[there], self.region_shape, kept, problems)

    def global_regions(self) -> np.ndarray:
        """The mean region of each image's first view, (n, D), float32."""
        rows = np.arange(len(self))
        return self._read(rows, 0, self.region_shape[1:], lambda row: (row, 0)).astype(np.float32)

    def _read(
        self, rows: np.ndarray, views: np.ndarray | int, shape: tuple[int, ...], index: Callable[[np.ndarray], Any]
    ) -> np.ndarray:
        """Some values of each row, (b, *shape), float16 or float32: what `index` of the row finds in its block."""
        block, row = self._block[rows, views], self._row[rows, views]
        used = np.unique(block)
        if len(used) == 1:
            return np.asarray(self._blocks[used[0]][index(row)])
        kind = np.result_type(np.float16, *(self._blocks[each].dtype for each in used))
        found = np.empty((len(block), *shape), dtype=kind)
        for each in used:
            mine = block == each
            found[mine] = self._blocks[each][index(row[mine])]
        return found


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
    keeper = Keeper(model, data.paths, names, precision=precision, stored=stored, cache=cache, folder=folder)
    done = total - int(keeper.missing.sum())
    if progress is not None and done:
        progress(done, total)
    readable = np.ones(len(data), dtype=bool)
    problems: list[tuple[int, Problem]] = []

    def encoded(part: Part) -> Tensor | None:
        return None if part.pixels is None else encode(model, part.pixels.flatten(0, 1), precision)

    try:
        for lacking, images in _alike(keeper.missing):
            readable[images] = False
            unreadable: list[Problem] = []
            transform = partial(image_views.pixels, views=lacking)
            at_once = max(1, (batch_size or READ_AT_ONCE) // len(lacking))
            # Random views draw from torch's global generator, which threads would share.
            parts = _read(
                data.subset(images),
                model.image_size,
                transform,
                at_once,
                strict,
                in_order=augmentation != "none" and any(lacking),
                workers=workers,
            )
            # A single batch is quicker with all threads on it.
            several = len(images) > at_once
            results = (
                side_by_side(parts, encoded, model.device, model.backbone) if several else one_by_one(parts, encoded)
            )
            for part, features in results:
                unreadable += part.unread
                if features is not None:
                    keeper.put(images[part.rows], lacking, features.unflatten(0, (len(part.rows), len(lacking))))
                    readable[images[part.rows]] = True
                done += (len(part.rows) + len(part.unread)) * len(lacking)
                if progress is not None:
                    progress(done, total)
            problems += zip(images[~readable[images]].tolist(), unreadable, strict=True)
    finally:
        keeper.flush()
    blocks, block, row = keeper.finish()
    kept = np.flatnonzero(readable)
    in_order = tuple(problem for _, problem in sorted(problems, key=lambda each: each[0]))
    return RegionFeatures(blocks, block[kept], row[kept], model.region_shape, kept, in_order)


def _alike(missing: np.ndarray) -> Iterator[tuple[list[int], np.ndarray]]:
    """From (N, V), bool: views that are missing, and the images that lack just these."""
    lacks = missing[missing.any(axis=1)]
    for pattern in np.unique(lacks, axis=0)[::-1]:
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
    kept: list[int] = []
    problems: list[Problem] = []
    for part in _read(data, image_size, lambda image: torch.empty(3, 0, 0), READ_AT_ONCE, strict):
        kept += part.rows
        problems += part.unread
    return np.array(kept, dtype=int), tuple(problems)


def encode(model: RegionClassifier, pixels: Tensor, precision: str) -> Tensor:
    """Region features (b, R, D), float32, of preprocessed pixels, without gradients."""
    device = model.device
    low = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    with torch.no_grad(), low:
        return model.encode_pixels(pixels.to(device)).float()


def _read(
    data: LabelledImages,
    image_size: int,
    transform: Transform,
    at_once: int,
    strict: bool,
    *,
    in_order: bool = False,
    workers: int | None = None,
) -> Iterator[Part]:
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
        unread = [_problem(data.paths[index], error) for index, error in errors.items() if error is not None]
        start += len(errors)
        yield Part(batch.pixels, rows, unread)


def _problem(path: Path, error: Message) -> Problem:
    remedy = LEFT_OUT if error.remedy is None else (error.remedy, ". ", LEFT_OUT)
    return Problem("", None, str(path), error.what, remedy)
