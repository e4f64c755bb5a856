"""Region features of frozen images, encoded once per run."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import Problem
from dualcoop.errors import DataError
from dualcoop.network import DualCoOpNetwork
from dualcoop.pictures import picture_batches
from dualcoop.squash import DRAFT_OVERSAMPLING
from dualcoop.training.augmentation import RandomNumbers, Transform, augmented

Progress = Callable[[int, int], None]
# Above this many bytes the features lie in a memory-mapped file instead of memory.
MEMORY_BYTES = 2**31
READ_AT_ONCE = 32
LEFT_OUT = "The image was left out"


class RegionFeatures:
    """Region features of the n readable ones of N images in V views, half precision.

    Attributes:
        kept: (n,), indices of the images that could be read; the rows of the features.
        problems: one entry for each image that could not, in their order.
    """

    def __init__(self, values: np.ndarray, kept: np.ndarray, problems: tuple[Problem, ...]) -> None:
        """Take over features (n, V, R, D), float16, of the images `kept`."""
        self._values = values
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
        return self._values.shape[1]

    @property
    def region_shape(self) -> tuple[int, int]:
        """R and D."""
        return self._values.shape[2], self._values.shape[3]

    def batch(self, rows: np.ndarray, views: np.ndarray | int = 0) -> Tensor:
        """Features of some images, one view of each: (b, R, D), float32, on the CPU."""
        return torch.from_numpy(np.asarray(self._values[rows, views])).float()

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
        return RegionFeatures(self._values[rows[rows >= 0]], np.flatnonzero(rows >= 0), problems)

    def global_regions(self) -> np.ndarray:
        """The mean region of each image's first view, (n, D), float32."""
        return self._values[:, 0, 0].astype(np.float32)


def encode_images_once(
    model: DualCoOpNetwork,
    data: LabelledImages,
    *,
    views: int = 1,
    augmentation: str = "none",
    seed: int = 0,
    strict: bool = False,
    precision: str = "float32",
    folder: Path | None = None,
    progress: Progress | None = None,
) -> RegionFeatures:
    """Encode every image of `data`; with several views the first is plain, the others augmented.

    Args:
        model: gives the frozen image tower, the pooling and the image size.
        data: N images.
        views: V.
        augmentation: see `augmented`.
        seed: of the augmentation.
        strict: raise at the first image that cannot be read, instead of leaving it out.
        precision: "float32", or "bfloat16" autocast.
        folder: where a memory-mapped file goes when the features are too large for memory; None takes the
            system's temporary folder.
        progress: called as progress(done, total), in views of images.

    Raises:
        DataError: with `strict`, for an image that cannot be read; or when there is no room for the features.
    """
    plain = model.backbone.preprocess(model.image_size)
    other = augmented(plain, augmentation, model.image_size)
    random = RandomNumbers(seed)

    def all_views(image: Image.Image) -> Tensor:
        if views == 1:
            return plain(image)[None]
        with random.drawn():
            return torch.stack([plain(image), *(other(image) for _ in range(views - 1))])

    values: np.ndarray | None = None
    kept: list[int] = []
    problems: list[Problem] = []
    done = 0
    at_once = max(1, READ_AT_ONCE // views)
    for pixels, rows, unread in _read(data, model.image_size, all_views, at_once, strict, views > 1):
        problems += unread
        if pixels is not None:
            features = encode(model, pixels.flatten(0, 1), precision)
            features = features.reshape(len(rows), views, *features.shape[1:])
            if values is None:
                values = _allocate((len(data), *features.shape[1:]), folder)
            values[len(kept) : len(kept) + len(rows)] = features.half().cpu().numpy()
            kept += rows
        done += len(rows) + len(unread)
        if progress is not None:
            progress(done * views, len(data) * views)
    if values is None:
        values = np.zeros((0, views, 1, model.backbone.embed_dim), dtype=np.float16)
    return RegionFeatures(values[: len(kept)], np.array(kept, dtype=int), tuple(problems))


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
    for _, rows, unread in _read(data, image_size, lambda image: torch.empty(3, 0, 0), READ_AT_ONCE, strict):
        kept += rows
        problems += unread
    return np.array(kept, dtype=int), tuple(problems)


def encode(model: DualCoOpNetwork, pixels: Tensor, precision: str) -> Tensor:
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
    in_order: bool = False,
) -> Iterator[tuple[Tensor | None, list[int], list[Problem]]]:
    """Transformed pictures batch by batch, the indices of those that could be read, and the others."""
    start = 0
    for batch in picture_batches(
        data.paths,
        transform,
        batch_size=at_once,
        on_error="raise" if strict else "skip",
        draft_size=DRAFT_OVERSAMPLING * image_size,
        in_order=in_order,
    ):
        errors = dict(enumerate(batch.errors, start))
        rows = [index for index, error in errors.items() if error is None]
        unread = [_problem(data.paths[index], error) for index, error in errors.items() if error is not None]
        start += len(errors)
        yield batch.pixels, rows, unread


def _problem(path: Path, error: str) -> Problem:
    # The error begins with the path and ends with a full stop, and a problem gets both when it is printed.
    reason = error.removeprefix(f"{path}: ").removesuffix(".")
    return Problem("", None, str(path), reason, LEFT_OUT)


def _allocate(shape: tuple[int, ...], folder: Path | None) -> np.ndarray:
    size = np.dtype(np.float16).itemsize * int(np.prod(shape))
    if size <= MEMORY_BYTES:
        return np.empty(shape, dtype=np.float16)
    place = Path(tempfile.gettempdir()) if folder is None else folder
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    # The file is sparse: on a full disk, writing to its pages would kill the process without a word.
    if size > free:
        raise DataError(
            f"the features of {shape[0]} images take {size / 2**30:.1f} GiB, and {place} has "
            f"{free / 2**30:.1f} GiB free: make room, give an output_dir on a larger disk, a smaller "
            "image_size or fewer views, or encode anew in every epoch with views=0"
        )
    # Unlinked at once, so that nothing is left behind however the run ends.
    with tempfile.TemporaryFile(dir=place) as file:
        return np.memmap(file, dtype=np.float16, mode="w+", shape=shape)
