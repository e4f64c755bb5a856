"""Files that appear as a whole or not at all: written beside their place, and renamed when they are on the disk."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

UNFINISHED_SUFFIX = ".unfinished"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the place of `path` when the block ends well; folders are made.

    After an exception, or a kill at any moment, `path` is what it was.

    Raises:
        OSError: when it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{uuid.uuid4().hex}{UNFINISHED_SUFFIX}")
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file as a whole; text as UTF-8.

    Raises:
        OSError: when it cannot be written.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of one folder: all beside their places first, then renamed in this order.

    Raises:
        OSError: when one cannot be written; all are what they were then, unless renaming itself fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = {name: folder / f".{uuid.uuid4().hex}{UNFINISHED_SUFFIX}" for name in contents}
    try:
        for name, content in contents.items():
            with unfinished[name].open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for name, path in unfinished.items():
            path.replace(folder / name)
    finally:
        for path in unfinished.values():
            path.unlink(missing_ok=True)
