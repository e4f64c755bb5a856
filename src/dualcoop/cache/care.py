"""Looking after a cache: what is in it, what of it is damaged, and removing it."""

import glob
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dualcoop.cache.folder import ENCODING_FILE, encodings, remove_abandoned, stored_files
from dualcoop.cache.keys import Encoding
from dualcoop.cache.quantised import rows_of
from dualcoop.cache.shards import SUFFIX, Shard, ShardError, write_shard
from dualcoop.counting import Progress, counted


@dataclass(frozen=True)
class Contents:
    """What a cache holds of one encoding.

    Attributes:
        folder: its subfolder.
        encoding: None where the description is damaged, so that nothing of it can be used.
        rows: views of images.
        shards: files.
        size: bytes.
        used: when one of them was last used, seconds since the epoch; None when there are none.
    """

    folder: Path
    encoding: Encoding | None
    rows: int
    shards: int
    size: int
    used: float | None


@dataclass(frozen=True)
class Damage:
    """A shard of which something cannot be used.

    Attributes:
        path: the file.
        reason: what is wrong.
        rows: views of images that are whole and remain usable.
        lost: views of images that are not; None when not even their number is known.
    """

    path: Path
    reason: str
    rows: int
    lost: int | None


def contents(folder: Path) -> list[Contents]:
    """What is in a cache, the encoding used last first."""
    found = []
    for path, encoding in encodings(folder):
        files = stored_files(folder, glob.escape(path.name))
        rows = 0
        for file in files:
            with suppress(ShardError, OSError):
                rows += 0 if encoding is None else len(Shard(file.path, encoding.layout))
        used = max((file.used for file in files), default=None)
        found.append(Contents(path, encoding, rows, len(files), sum(file.size for file in files), used))
    return sorted(found, key=lambda each: -(each.used or 0))


def check(folder: Path, *, repair: bool = False, progress: Progress | None = None) -> list[Damage]:
    """Read every row of every shard and compare its checksum.

    Args:
        folder: of the cache.
        repair: write the whole rows of a damaged shard anew and remove the file; remove leftovers of writers that
            were killed.
        progress: called as progress(done, total), in shards.

    Raises:
        OSError: when a shard cannot be read, or written anew.
    """
    found: list[Damage] = []
    known = dict(encodings(folder))
    files = [path for each in known for path in sorted(each.glob(f"*{SUFFIX}"))]
    for done, path in enumerate(files, start=1):
        found += _check_shard(path, known[path.parent], repair)
        if progress is not None:
            progress(done, len(files))
    if repair:
        remove_abandoned(folder)
    return found


def _check_shard(path: Path, encoding: Encoding | None, repair: bool) -> list[Damage]:
    """The damage of a shard, none where it is whole."""
    damage = Damage(path, f"{ENCODING_FILE} beside it is missing or damaged", 0, None)
    if encoding is not None:
        try:
            shard = Shard(path, encoding.layout)
        except FileNotFoundError:
            # Evicted while the others were checked.
            return []
        except ShardError as error:
            damage = Damage(path, str(error), 0, None)
        else:
            sound = np.flatnonzero(shard.sound(np.arange(len(shard))))
            lost = len(shard) + shard.lost - len(sound)
            if not lost:
                return []
            are = "is" if shard.lost == 1 else "are"
            cut_off = f"it was cut off, {counted(shard.lost, 'row')} {are} missing"
            damage = Damage(path, cut_off if shard.lost else "checksums differ", len(sound), lost)
            if repair and len(sound):
                keys = shard.entries["key"][sound].tolist()
                write_shard(path.parent, encoding.layout, keys, rows_of(shard.regions, sound))
    if repair:
        path.unlink(missing_ok=True)
    return [damage]


def clear(folder: Path, backbone: str | None = None) -> int:
    """Remove stored features, and nothing else that may lie in the folder.

    Args:
        folder: of the cache.
        backbone: only of backbones of this name or whose fingerprint begins so; None removes all.

    Returns:
        Bytes that were removed.

    Raises:
        OSError: when a file cannot be removed.
    """
    removed = 0
    for path, encoding in encodings(folder):
        if backbone is not None and (encoding is None or not _is_of(encoding, backbone)):
            continue
        for file in stored_files(folder, glob.escape(path.name)):
            file.path.unlink(missing_ok=True)
            removed += file.size
        (path / ENCODING_FILE).unlink(missing_ok=True)
        remove_abandoned(folder)
        # Something else in it, such as the unfinished file of another process, keeps the folder.
        with suppress(OSError):
            path.rmdir()
    return removed


def _is_of(encoding: Encoding, backbone: str) -> bool:
    return encoding.backbone == backbone or (len(backbone) >= 6 and encoding.fingerprint.startswith(backbone))
