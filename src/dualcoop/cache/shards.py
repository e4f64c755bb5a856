"""One file of region features: written once, published whole, read through a memory map, checked row by row.

A shard is two NumPy arrays in the `.npy` format, one behind the other. The first has an entry for every row: its key,
a CRC-32 of key, scales and regions, and for int8 the scales. The second is the regions (n, R, D), float16 or int8.
Rows follow one another, so what is left of a file that was cut off is still whole rows.
"""

import os
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.lib import format as npy

from dualcoop.cache.quantised import QuantisedRegions, Regions, quantise
from dualcoop.files import replacing

KEY_BYTES = 32
STORED_DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "int8": np.dtype("i1")}
SUFFIX = ".regions"


class Layout(NamedTuple):
    """Form of the rows of a shard.

    Attributes:
        stored: "float16" or "int8".
        regions: R.
        dimensions: D.
    """

    stored: str
    regions: int
    dimensions: int

    @property
    def entry_dtype(self) -> np.dtype[Any]:
        """Of the first array."""
        fields: list[tuple[Any, ...]] = [("key", f"V{KEY_BYTES}"), ("checksum", "<u4")]
        if self.stored == "int8":
            fields.append(("scales", "<f4", (self.regions,)))
        return np.dtype(fields)

    @property
    def row_bytes(self) -> int:
        """Bytes of the regions of one row."""
        return STORED_DTYPES[self.stored].itemsize * self.regions * self.dimensions

    @property
    def bytes_per_row(self) -> int:
        """Bytes of one row in a shard, its entry included."""
        return self.row_bytes + self.entry_dtype.itemsize


def write_shard(folder: Path, layout: Layout, keys: Sequence[bytes], regions: Regions) -> Path:
    """Write rows into a new file, which gets its final name when it is complete and on the disk.

    Args:
        folder: made if need be.
        layout: of the rows.
        keys: n keys of 32 bytes.
        regions: (n, R, D); what is not in the layout's form yet is brought into it.

    Raises:
        OSError: when it cannot be written; nothing of it is left then.
    """
    entries = np.zeros(len(keys), dtype=layout.entry_dtype)
    entries["key"] = np.frombuffer(b"".join(keys), dtype=f"V{KEY_BYTES}")
    if isinstance(regions, QuantisedRegions):
        values, entries["scales"] = regions.values, regions.scales
    elif layout.stored == "int8":
        values, entries["scales"] = quantise(regions)
    else:
        values = regions
    values = np.ascontiguousarray(values, dtype=STORED_DTYPES[layout.stored])
    entries["checksum"] = [checksum(entry, row.tobytes()) for entry, row in zip(entries, values, strict=True)]
    path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
    with replacing(path) as file:
        np.save(file, entries)
        np.save(file, values)
    return path


def checksum(entry: np.void, regions: bytes) -> int:
    """CRC-32 of a row: its key, its scales where it has them, and its regions."""
    scales = entry["scales"].tobytes() if "scales" in (entry.dtype.names or ()) else b""
    return zlib.crc32(regions, zlib.crc32(entry["key"].tobytes() + scales))


class ShardError(Exception):
    """A file is no shard of this layout, or its entries are damaged."""


class Shard:
    """A published shard, memory-mapped for reading.

    Attributes:
        path: the file.
        entries: (n,), of the rows that the file has whole.
        regions: (n, R, D), theirs.
        lost: rows that the file was written with and no longer has.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        """Map a file.

        Raises:
            ShardError: when nothing of it can be used.
            OSError: when it is gone or cannot be read.
        """
        self.path = path
        self.layout = layout
        with path.open("rb") as file:
            try:
                entries = npy.read_array(file, allow_pickle=False)
                npy.read_magic(file)
                count, _, dtype = npy.read_array_header_1_0(file)
                self._offset = file.tell()
            except OSError:
                raise
            # Damaged headers are parsed as Python literals and shapes: what that raises is not bounded.
            except Exception as error:
                raise ShardError(f"its beginning is damaged ({error})") from error
            size = os.fstat(file.fileno()).st_size
        stored, shape = STORED_DTYPES[layout.stored], (layout.regions, layout.dimensions)
        if entries.dtype != layout.entry_dtype or dtype != stored or count != (*entries.shape, *shape):
            raise ShardError("it holds something else than it should")
        whole = min(len(entries), (size - self._offset) // layout.row_bytes)
        self.lost = len(entries) - whole
        self.entries = entries[:whole]
        # An empty range cannot be mapped.
        values: np.ndarray = np.empty((0, *shape), stored)
        if whole:
            values = np.memmap(path, dtype=stored, mode="r", offset=self._offset, shape=(whole, *shape))
        self.regions = QuantisedRegions(values, self.entries["scales"]) if layout.stored == "int8" else values
        self._known_sound = np.zeros(whole, dtype=bool)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: Any) -> np.ndarray:
        """What the index gives on the regions."""
        return self.regions[index]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read: float16, or float32 where int8 is stored."""
        return self.regions.dtype

    def keys(self) -> list[bytes]:
        """Of all rows."""
        return self.entries["key"].tolist()

    def sound(self, rows: np.ndarray) -> np.ndarray:
        """Whether rows have their checksums, (k,), bool; each is read once in the life of this object.

        The file is read, not the map, so that checking does not fill memory with pages of it.
        """
        unknown = np.unique(rows[~self._known_sound[rows]])
        # A bad disk: what cannot be read counts as lost.
        with suppress(OSError):
            for row, content in zip(unknown.tolist(), self._contents(unknown), strict=True):
                self._known_sound[row] = checksum(self.entries[row], content) == self.entries["checksum"][row]
        return self._known_sound[rows]

    def _contents(self, rows: np.ndarray) -> Iterator[bytes]:
        """Regions of rows as they are stored."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            # Removed by another process; the map still has it.
            values = self.regions.values if isinstance(self.regions, QuantisedRegions) else self.regions
            yield from (values[row].tobytes() for row in rows)
            return
        with file:
            for row in rows.tolist():
                file.seek(self._offset + row * self.layout.row_bytes)
                yield file.read(self.layout.row_bytes)


# Shards that something in this process reads from: mapped once, and never evicted from under it.
_mapped: "WeakValueDictionary[Path, Shard]" = WeakValueDictionary()


def open_shard(path: Path, layout: Layout) -> Shard:
    """The shard of a file, the same object as long as somebody holds it.

    Raises:
        ShardError, OSError: see `Shard`.
    """
    path = path.resolve()
    shard = _mapped.get(path)
    if shard is None:
        shard = _mapped[path] = Shard(path, layout)
    return shard


def is_mapped(path: Path) -> bool:
    """Whether this process reads from this shard."""
    return path.resolve() in _mapped
