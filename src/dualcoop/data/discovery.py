"""Finding images in folders and by patterns."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dualcoop.data.problems import Problem

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".jp2"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
    }
)
"""Endings of the file names that count as images inside a folder."""

SKIPPED_FOLDERS = frozenset({"__MACOSX", "@eaDir"})
"""Folders of thumbnails and resource forks that archives and file servers leave behind."""


class FoundImages(NamedTuple):
    """Images in a stable order, and a problem for every argument that matched none."""

    paths: list[Path]
    problems: list[Problem]


def find_images(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> FoundImages:
    """Expand files, folders (with everything below them) and globs into images.

    The order is that of the arguments, sorted by name inside a folder or a glob; an image that is reached
    twice comes once. Inside folders only names with an image's suffix count, and hidden ones are passed
    over; a file that is named itself is taken whatever its suffix.

    Args:
        paths: one or many files, folders or glob patterns (`**` goes down folders).

    Returns:
        The images, and a Problem for each argument that matched nothing.
    """
    arguments = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: dict[str, Path] = {}
    problems = []
    for argument in [os.fspath(argument) for argument in arguments]:
        matches = _expand(argument)
        if not matches:
            problems.append(_nothing_found(argument))
        for match in matches:
            found.setdefault(os.path.normpath(match), match)
    return FoundImages(list(found.values()), problems)


def _expand(argument: str) -> list[Path]:
    path = Path(argument).expanduser()
    if path.is_dir():
        return _images_below(path)
    # A name that exists is taken as it stands, so that "photo[1].jpg" is not read as a pattern.
    if path.exists():
        return [path]
    matches: list[Path] = []
    if glob.has_magic(argument):
        # Path.glob takes no absolute patterns.
        for name in sorted(glob.glob(str(path), recursive=True)):  # noqa: PTH207
            match = Path(name)
            if match.is_dir():
                # "**" has already listed what is below a folder that it matches.
                matches += [] if "**" in argument else _images_below(match)
            elif match.suffix.lower() in IMAGE_SUFFIXES:
                matches.append(match)
    return matches


def _images_below(folder: Path) -> list[Path]:
    found = []
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS and name[0] != ".")
        shown = (Path(here, name) for name in sorted(files) if name[0] != ".")
        found += [path for path in shown if path.suffix.lower() in IMAGE_SUFFIXES]
    return found


def _nothing_found(argument: str) -> Problem:
    if Path(argument).expanduser().is_dir():
        reason, remedy = "there is no image in this folder or below it", "Check that it is the right folder"
    elif glob.has_magic(argument):
        reason, remedy = "no image matches this pattern", "Check the pattern; ** goes down folders"
    else:
        reason, remedy = "the file or folder is missing", "Check the name"
    return Problem("", None, argument, reason, remedy)
