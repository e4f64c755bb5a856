"""The stored region features of one encoding: look keys up, append new ones."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualcoop.cache.shards import SUFFIX, Layout, Shard, ShardError, open_shard, write_shard

# New rows are published when they have come to so many bytes or waited so long: a kill loses no more than that.
SHARD_BYTES = 64 * 2**20
SHARD_SECONDS = 30.0


class Located(NamedTuple):
    """Where k keys lie.

    Attributes:
        shards: that hold at least one of them.
        shard: (k,), index into `shards`, -1 for keys that are not stored.
        row: (k,), row in that shard.
    """

    shards: list[Shard]
    shard: np.ndarray
    row: np.ndarray


class FeatureStore:
    """Region features by key in a folder of shards that only ever gets new ones.

    Several processes may read and append at once: each writes shards of its own, and no shard is seen before it
    is complete. What two of them encode at the same time is stored twice.

    Args:
        folder: of the shards.
        layout: of their rows.
        make_room: called before a shard is published, with its size in bytes.
    """

    def __init__(self, folder: Path, layout: Layout, make_room: Callable[[int], object] = lambda size: None) -> None:
        self.folder = folder
        self.layout = layout
        self._make_room = make_room
        # Shards of this object stay within reach even if another process evicts them.
        self._published: list[Shard] = []
        self._keys: list[bytes] = []
        self._regions: list[np.ndarray] = []
        self._waiting_since = 0.0

    def shards(self) -> Iterator[Shard]:
        """All that can be read; damaged ones are passed over."""
        published = {shard.path for shard in self._published}
        yield from self._published
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.resolve() not in published:
                with suppress(ShardError, OSError):
                    yield open_shard(path, self.layout)

    def lookup(self, keys: Sequence[bytes]) -> Located:
        """Where keys lie; only rows with a right checksum count, and the shards that hold them count as used now.

        Args:
            keys: k keys of 32 bytes; the same one may come several times.
        """
        wanted: dict[bytes, list[int]] = {}
        for index, key in enumerate(keys):
            wanted.setdefault(key, []).append(index)
        shard_of, row_of = np.full(len(keys), -1), np.zeros(len(keys), dtype=int)
        shards: list[Shard] = []
        for shard in self.shards():
            if not wanted:
                break
            stored = shard.keys()
            rows = np.array([row for row, key in enumerate(stored) if key in wanted], dtype=int)
            rows = rows[shard.sound(rows)]
            for row in rows.tolist():
                indices = wanted.pop(stored[row], [])
                shard_of[indices], row_of[indices] = len(shards), row
            if len(rows):
                shards.append(shard)
                # Shards never change, so the time of change serves as the time of last use. In a cache that may only
                # be read nothing is noted, nor evicted.
                with suppress(OSError):
                    os.utime(shard.path)
        return Located(shards, shard_of, row_of)

    def append(self, keys: Sequence[bytes], regions: np.ndarray) -> None:
        """Take in new rows; they can be looked up after `flush`, or earlier when there are many.

        Args:
            keys: n keys of 32 bytes.
            regions: (n, R, D), float16 or float32.

        Raises:
            OSError: when they cannot be written.
        """
        if not self._keys:
            self._waiting_since = time.monotonic()
        self._keys += keys
        self._regions.append(regions)
        waiting = len(self._keys) * self.layout.bytes_per_row
        if waiting >= SHARD_BYTES or time.monotonic() - self._waiting_since >= SHARD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Publish what was appended.

        Raises:
            OSError: when it cannot be written.
        """
        if not self._keys:
            return
        keys, regions = self._keys, np.concatenate(self._regions)
        self._keys, self._regions = [], []
        self._make_room(len(keys) * self.layout.bytes_per_row)
        path = write_shard(self.folder, self.layout, keys, regions)
        self._published.append(open_shard(path, self.layout))
