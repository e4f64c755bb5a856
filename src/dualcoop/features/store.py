"""Where region features lie that are encoded once: in the cache, in memory, or in a memory-mapped file."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dualcoop.cache import Encoding, FeatureCache, FeatureStore, QuantisedRegions, Regions, content_digests, view_key
from dualcoop.data.problems import DataWarning, Problem
from dualcoop.errors import AnyOf, DataError, Option
from dualcoop.features.regions import Block, RegionFeatures, kept_and_left_out
from dualcoop.network import RegionClassifier

# Above this many bytes the features lie in a memory-mapped file instead of memory.
MEMORY_BYTES = 2**31
# To be raised when images are decoded or preprocessed to other pixels than before, so that features in caches
# that were written before are not taken for features of today.
PIXELS_VERSION = 1


def encoding_of(model: RegionClassifier, precision: str, stored: str) -> Encoding:
    """What the features of the model, as it is now, depend on besides the image; see `encode_images_once`."""
    regions, dimensions = model.region_shape
    return Encoding(
        backbone=model.backbone.name,
        fingerprint=model.backbone.fingerprint(),
        pooling=model.pooling,
        image_size=model.image_size,
        precision=precision,
        pixels=PIXELS_VERSION,
        regions=regions,
        dimensions=dimensions,
        stored=stored,
    )


class FeatureCollector:
    """Takes in features of N images in V views by name, all that the cache does not have already.

    The other arguments are those of `encode_images_once`; `folder` is also for when the cache has no room.

    Attributes:
        missing: (N, V), bool, what is to be encoded.

    Raises:
        DataError: when there is no room for the features.
    """

    def __init__(
        self,
        model: RegionClassifier,
        paths: Sequence[Path],
        views: Sequence[str],
        *,
        precision: str,
        stored: str,
        cache: FeatureCache | None,
        folder: Path | None,
    ) -> None:
        self._stored = stored
        self._shape = model.region_shape
        self._store: FeatureStore | None = None
        self._keys: list[bytes] = []
        self._blocks: list[Block] = []
        self._block = np.full((len(paths), len(views)), -1)
        self._row = np.zeros((len(paths), len(views)), dtype=int)
        if cache is not None:
            self._store = cache.store(encoding_of(model, precision, stored))
            self._keys = [view_key(content, view) for content in content_digests(paths) for view in views]
            self._locate()
        self.missing = self._block < 0
        count = int(self.missing.sum())
        if cache is not None and self._store is not None:
            size = count * self._store.layout.bytes_per_row
            if not cache.make_room(size):
                what = f"the features of these images take {size / 2**30:.1f} GiB, for which {cache.folder} has no room"
                within = (" within ", Option("cache_size", cache.size), " GiB and the free space of the disk")
                warnings.warn(DataWarning((what, *within, ": they are encoded for this run alone")), stacklevel=2)
                self._store = None
        if self._store is None:
            self._row[self.missing] = np.arange(count)
            self._own = allocate((count, *self._shape), stored, folder)

    def _locate(self) -> None:
        assert self._store is not None
        located = self._store.lookup(self._keys)
        self._blocks = [*located.shards]
        self._block, self._row = located.shard.reshape(self._block.shape), located.row.reshape(self._row.shape)

    def add(self, images: np.ndarray, views: Sequence[int], features: Tensor) -> None:
        """Take in features (i, v, R, D) of the images at these indices in some views, all of which are missing.

        Raises:
            DataError: when the cache cannot be written to.
        """
        # int8 is made from full precision; rounding twice would lose more.
        features = features.half() if self._stored == "float16" else features.float()
        regions = features.flatten(0, 1).cpu().numpy()
        if self._store is None:
            self._own[self._row[images][:, views].ravel()] = regions
            return
        width = self._block.shape[1]
        keys = [self._keys[image * width + view] for image in images.tolist() for view in views]
        with _writing_to(self._store):
            self._store.append(keys, regions)

    def flush(self) -> None:
        """Publish what was taken in, so that it stays whatever happens next.

        Raises:
            DataError: when the cache cannot be written to.
        """
        if self._store is not None:
            with _writing_to(self._store):
                self._store.flush()

    def collected(self, problems: Mapping[int, Problem]) -> RegionFeatures:
        """The features of all images that could be read; `problems` has the others, by their indices."""
        if self._store is not None:
            self.flush()
            self._locate()
        else:
            self._block[self.missing] = len(self._blocks)
            self._blocks.append(self._own)
        kept, left_out = kept_and_left_out(len(self._block), problems)
        return RegionFeatures(self._blocks, self._block[kept], self._row[kept], self._shape, kept, left_out)


def allocate(shape: tuple[int, int, int], stored: str, folder: Path | None) -> Regions:
    """Room for regions (n, R, D), in memory or, when they are large, in a file that goes with the process.

    Raises:
        DataError: when there is no room on the disk.
    """
    if stored == "int8":
        return QuantisedRegions(_values(shape, np.dtype(np.int8), folder), np.zeros(shape[:2], np.float32))
    return _values(shape, np.dtype(np.float16), folder)


def _values(shape: tuple[int, int, int], dtype: np.dtype[Any], folder: Path | None) -> np.ndarray:
    size = dtype.itemsize * int(np.prod(shape))
    if size <= MEMORY_BYTES:
        return np.empty(shape, dtype=dtype)
    place = Path(tempfile.gettempdir()) if folder is None else folder
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    # The file is sparse: on a full disk, writing to its pages would kill the process without a word.
    if size > free:
        what = f"the features of {shape[0]} views of images take {size / 2**30:.1f} GiB"
        remedy = AnyOf(
            *("make room", ("give an ", Option("output_dir"), " on a larger disk")),
            *(("a smaller ", Option("image_size")), ("fewer ", Option("views"))),
            ("encode anew in every epoch with ", Option("views", 0)),
        )
        raise DataError(f"{what}, and {place} has {free / 2**30:.1f} GiB free", remedy=remedy)
    # Unlinked at once, so that nothing is left behind however the run ends.
    with tempfile.TemporaryFile(dir=place) as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


@contextmanager
def _writing_to(store: FeatureStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"region features cannot be written to {store.folder} ({error.strerror or error})"
        remedy = AnyOf("make room", ("give another ", Option("cache_dir")), "go without")
        raise DataError(what, remedy=remedy) from error
