"""The cache as a whole: one folder, a subfolder for each encoding, a limit on its size.

FOLDER/lite-1f0c2a.../encoding.json says what the shards beside it, 5b6e....regions and others, are features of. A
shard's time of change is when it was last used.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from dualcoop.cache.keys import Encoding
from dualcoop.cache.shards import SUFFIX, is_mapped
from dualcoop.cache.store import FeatureStore
from dualcoop.errors import ConfigError
from dualcoop.files import UNFINISHED_SUFFIX, write_file

GIB = 2**30
ENCODING_FILE, TAG_FILE = "encoding.json", "CACHEDIR.TAG"
# Backup programs leave out folders with such a file: https://bford.info/cachedir/
TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# Region features of dualcoop; see `dualcoop cache --help`.\n"
ABANDONED_SECONDS = 3600.0


class StoredFile(NamedTuple):
    """One shard as the file system shows it: its size in bytes, and when it was last used (seconds)."""

    path: Path
    size: int
    used: float


class FeatureCache:
    """Region features on disk, by encoding.

    Args:
        folder: made if need be.
        size: limit on all of it, GiB; what was used longest ago goes first, what this process reads from stays.

    Raises:
        ConfigError: when the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str], size: float) -> None:
        self.folder = Path(folder).expanduser()
        self.size = size
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / TAG_FILE).exists():
                write_file(self.folder / TAG_FILE, TAG)
        except OSError as error:
            what = f"region features cannot be kept in {self.folder} ({error.strerror or error})"
            raise ConfigError(what, remedy="give another cache folder, or go without") from error

    def store(self, encoding: Encoding) -> FeatureStore:
        """Features of one encoding."""
        folder = self.folder / encoding.folder_name

        def prepare(size: int) -> None:
            self.make_room(size)
            if not (folder / ENCODING_FILE).exists():
                write_file(folder / ENCODING_FILE, json.dumps(encoding.to_dict(), indent=2) + "\n")

        return FeatureStore(folder, encoding.layout, prepare)

    def make_room(self, size: int) -> bool:
        """Evict what was used longest ago until `size` more bytes are within the limit and fit on the disk.

        Returns:
            Whether they do now; if they cannot, nothing is evicted.
        """
        files = sorted(stored_files(self.folder), key=lambda file: file.used)
        free = [file for file in files if not is_mapped(file.path)]
        excess = sum(file.size for file in files) + size - int(self.size * GIB)
        excess = max(excess, size - shutil.disk_usage(self.folder).free)
        if excess > sum(file.size for file in free):
            return False
        for file in free:
            if excess <= 0:
                break
            # Where a file that another process reads from cannot be removed, the next one has to go.
            with suppress(OSError):
                file.path.unlink()
                excess -= file.size
        remove_abandoned(self.folder)
        return excess <= 0


def stored_files(folder: Path, within: str = "*") -> list[StoredFile]:
    """All shards in the subfolders of a cache, or in one of them; those that vanish meanwhile are left out."""
    found = []
    for path in folder.glob(f"{within}/*{SUFFIX}"):
        with suppress(OSError):
            state = path.stat()
            found.append(StoredFile(path, state.st_size, state.st_mtime))
    return found


def encodings(folder: Path) -> Iterator[tuple[Path, Encoding | None]]:
    """The subfolders with shards or a description, and what they are features of; None where that is damaged."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        description = path / ENCODING_FILE
        if not description.exists() and next(path.glob(f"*{SUFFIX}"), None) is None:
            continue
        try:
            encoding = Encoding.from_dict(json.loads(description.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            yield path, None
        else:
            yield path, encoding if encoding.folder_name == path.name else None


def remove_abandoned(folder: Path) -> None:
    """Remove what writers that were killed left unfinished."""
    for path in chain(folder.glob(f"*{UNFINISHED_SUFFIX}"), folder.glob(f"*/*{UNFINISHED_SUFFIX}")):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


def default_folder() -> Path:
    """Where the command line keeps features: $DUALCOOP_CACHE, or a folder below the user's own for caches."""
    if chosen := os.environ.get("DUALCOOP_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        # The specification says that relative paths are to be ignored.
        given = Path(os.environ.get("XDG_CACHE_HOME") or "")
        base = given if given.is_absolute() else Path.home() / ".cache"
    return base / "dualcoop" / "features"
