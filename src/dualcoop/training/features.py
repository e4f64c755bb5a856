"""Region features of frozen images, encoded once per run."""

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import Problem
from dualcoop.network import DualCoOpNetwork
from dualcoop.pictures import picture_batches
from dualcoop.training.augmentation import augmented

Progress = Callable[[int, int], None]
# Above this many bytes the features lie in a memory-mapped file instead of memory.
MEMORY_BYTES = 2**31
READ_AT_ONCE = 32
DRAFT_OVERSAMPLING = 2
LEFT_OUT = "The image was left out"


class RegionFeatures:
    """Region features of N images in V views, half precision: (N, V, R, D).

    Attributes:
        kept: (n,), indices of the images that could be read; the rows of the features.
        problems: one entry for each image that could not.
    """

    def __init__(self, values: np.ndarray, kept: np.ndarray, problems: tuple[Problem, ...]) -> None:
        self._values = values
        self.kept = kept
        self.problems = problems

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def views(self) -> int:
        """V."""
        return self._values.shape[1]

    def batch(self, rows: np.ndarray, views: np.ndarray | int = 0) -> Tensor:
        """Features of some images, one view of each: (b, R, D), float32, on the CPU."""
        return torch.from_numpy(self._values[rows, views]).float()

    def subset(self, rows: np.ndarray) -> "RegionFeatures":
        """The features at some rows, (n,), in that order."""
        return RegionFeatures(self._values[rows], self.kept[rows], self.problems)

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
        progress: called as progress(done, total), in encoded images.

    Raises:
        DataError: with `strict`, for an image that cannot be read.
    """
    plain = model.backbone.preprocess(model.image_size)
    random = augmented(plain, augmentation, model.image_size)
    values: np.ndarray | None = None
    readable = np.zeros(len(data), dtype=bool)
    problems: dict[int, Problem] = {}
    total = len(data) * views
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        for view in range(views):
            start = 0
            for batch in picture_batches(
                data.paths,
                plain if view == 0 else random,
                batch_size=READ_AT_ONCE,
                on_error="raise" if strict else "skip",
                draft_size=DRAFT_OVERSAMPLING * model.image_size,
            ):
                read = [i for i, error in enumerate(batch.errors) if error is None]
                rows = start + np.array(read, dtype=int)
                for i, error in enumerate(batch.errors):
                    if error is not None:
                        path = str(data.paths[start + i])
                        problems[start + i] = Problem(path, None, None, error, LEFT_OUT)
                start += len(batch.errors)
                if batch.pixels is not None:
                    features = encode(model, batch.pixels, precision)
                    if values is None:
                        values = _allocate((len(data), views, *features.shape[1:]), folder)
                    values[rows, view] = features.half().cpu().numpy()
                    readable[rows] = True
                if progress is not None:
                    progress(view * len(data) + start, total)
    finally:
        torch.set_rng_state(state)
    kept = np.flatnonzero(readable)
    if values is None:
        values = np.zeros((0, views, 1, model.backbone.embed_dim), dtype=np.float16)
    if len(kept) < len(values):
        values = values[kept]
    return RegionFeatures(values, kept, tuple(problems[i] for i in sorted(problems)))


def encode(model: DualCoOpNetwork, pixels: Tensor, precision: str) -> Tensor:
    """Region features (b, R, D) of preprocessed pixels, without gradients."""
    device = model.device
    low = torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    with torch.no_grad(), low:
        return model.encode_pixels(pixels.to(device)).float()


def _allocate(shape: tuple[int, ...], folder: Path | None) -> np.ndarray:
    if 2 * int(np.prod(shape)) <= MEMORY_BYTES:
        return np.zeros(shape, dtype=np.float16)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    # Unlinked at once, so that nothing is left behind however the run ends.
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, dtype=np.float16, mode="w+", shape=shape)
