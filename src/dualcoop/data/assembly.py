"""From the names and labels that a loader read to checked images in train, valid and test parts."""

import unicodedata
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dualcoop.counting import Progress, counted
from dualcoop.data.images import ImageError, check_file, default_workers, open_image
from dualcoop.data.labels import LabelledImages, LabelMatrix
from dualcoop.data.problems import Problem, ProblemLog, ProblemsWarning, quoted_list
from dualcoop.data.splits import hold_out_images
from dualcoop.errors import AnyOf, ConfigError, DataError, Only, Option, Text

DECODED_SIDE = 256
WARNED_PROBLEMS = 3


class RawImage(NamedTuple):
    """An image by its name, relative to the folder of the images, and its row as in `Problem.row`."""

    row: int | None
    name: str


@dataclass
class RawPart:
    """One part as a loader read it, before any image file was looked at.

    Attributes:
        split: "train", "valid" or "test".
        source: file that the labels come from.
        images: N images.
        folder: folder of the images.
        labels: int8 (N, M), +1 present, -1 absent, 0 unknown.
    """

    split: str
    source: str
    images: list[RawImage]
    folder: Path
    labels: LabelMatrix


@dataclass
class RawDataset:
    """What a loader read: classes, parts, and decisions worth telling."""

    classes: tuple[str, ...]
    parts: list[RawPart]
    notes: list[str] = field(default_factory=list)


class ImageFolder:
    """Finds the files behind the names in a label file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listings: dict[Path, dict[str, str]] = {}

    def locate(self, name: str) -> Path:
        """The file with this name, which exists and is not empty.

        Names written on Windows (backslashes) and with another composition of accents (macOS) are found too.

        Raises:
            ImageError: when there is no such file, or it is empty; with a hint where one has nearly this name.
        """
        path = self.folder / name
        try:
            check_file(path)
            return path
        except ImageError as error:
            if path.exists():
                raise
            spellings = (name.replace("\\", "/"), *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
            other = next((self.folder / each for each in spellings if (self.folder / each).is_file()), None)
            if other is None:
                raise ImageError(path, error.reason, self._remedy(name, path)) from error
        check_file(other)
        return other

    def _remedy(self, name: str, path: Path) -> Text:
        if "://" in name:
            return "This is a web address: download the image and write its file name"
        similar = self._listing(path.parent).get(path.stem.casefold())
        if similar is not None:
            return f"The folder has {similar!r}: correct the name"
        return AnyOf("Check the name", ("give the folder that the names start from with ", Option("images")))

    def _listing(self, folder: Path) -> dict[str, str]:
        if folder not in self._listings:
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            self._listings[folder] = {Path(name).stem.casefold(): name for name in names}
        return self._listings[folder]


def existing_images(
    part: RawPart, classes: tuple[str, ...], places: dict[Path, str], log: ProblemLog
) -> tuple[LabelledImages, list[RawImage]]:
    """The images whose files are there, each once, also as the part lists them.

    `places` says where each file was listed first; it is filled on.
    """
    folder = ImageFolder(part.folder)
    paths, kept = [], []
    for index, (row, name) in enumerate(part.images):
        try:
            path = folder.locate(name)
        except ImageError as error:
            log.report(part.source, row, name, (error.reason, f" (looked for {error.path})"), error.remedy)
            continue
        if path in places:
            reason = f"the image is listed already, {places[path]}, which is kept"
            log.report(part.source, row, name, reason, "Delete one of the two")
            continue
        places[path] = f"in {part.split}" if row is None else f"in {part.split}, row {row}"
        paths.append(path)
        kept.append(index)
    images = LabelledImages(tuple(paths), part.labels[kept], classes, part.folder)
    return images, [part.images[index] for index in kept]


def decodable_images(
    images: LabelledImages,
    listed: Sequence[RawImage],
    source: str,
    log: ProblemLog,
    max_pixels: int,
    workers: int | None,
    progress: Progress | None,
) -> LabelledImages:
    """The images that can be decoded; `listed` names them as in their source."""

    def decode(path: Path) -> ImageError | None:
        try:
            open_image(path, max_pixels=max_pixels, draft_size=DECODED_SIDE)
        except ImageError as error:
            return error
        return None

    kept = []
    pool = ThreadPoolExecutor(workers or default_workers())
    try:
        for index, error in enumerate(pool.map(decode, images.paths)):
            if error is None:
                kept.append(index)
            else:
                log.report(source, *listed[index], error.reason, error.remedy)
            if progress is not None:
                progress(index + 1, len(images))
    finally:
        # A strict log or Ctrl-C must not wait for the rest of many thousand images.
        pool.shutdown(wait=False, cancel_futures=True)
    return images.subset(kept)


def with_held_out(
    parts: dict[str, LabelledImages], fractions: dict[str, float | None], seed: int
) -> dict[str, LabelledImages]:
    """The parts, with others made of fractions of the training images.

    Raises:
        ConfigError: for fractions that make no sense, or that would replace a part which is there already.
    """
    wanted = {name: fraction for name, fraction in fractions.items() if fraction is not None}
    for name, fraction in wanted.items():
        option = f"{name}_fraction"
        if not 0 < fraction < 1:
            raise ConfigError(f"is {fraction}, expected a number between 0 and 1, such as 0.2", option=option)
        if parts.get(name):
            what = f"the data set has a {name} part of its own ({counted(len(parts[name]), 'image')})"
            raise ConfigError(what, remedy=AnyOf(("leave out ", Option(option)), "remove that part from the labels"))
    if not wanted:
        return parts
    if not parts.get("train"):
        raise ConfigError("there is no train part to hold images out from. Leave out the fractions.")
    train = parts["train"]
    counts = {name: max(1, round(len(train) * fraction)) for name, fraction in wanted.items()}
    if sum(counts.values()) >= len(train):
        held = " and ".join(f"{count} for {name}" for name, count in counts.items())
        what = f"holding out {held} leaves none of {len(train)} images to train on"
        raise ConfigError(what, remedy="use smaller fractions or more images")
    for name, count in counts.items():
        train, parts[name] = hold_out_images(train, count, seed)
    return {**parts, "train": train}


def report_classes_without_positives(name: str, part: LabelledImages, source: Path, log: ProblemLog) -> None:
    """Name the classes that no image of a part shows."""
    empty = [part.classes[column] for column in (part.positives == 0).nonzero()[0]]
    if empty:
        are = "is" if len(empty) == 1 else "are"
        reason = f"{len(empty)} of {len(part.classes)} classes {are} present in no {name} image: {quoted_list(empty)}"
        without = Only("python", "leave them out with classes=[...]")
        log.report(str(source), None, None, reason, AnyOf("Label an image of each", "correct the spelling", without))


def warn_about(problems: list[Problem], source: Path) -> None:
    """Sum up the problems for the caller of the caller."""
    first: list[Text] = []
    for problem in problems[:WARNED_PROBLEMS]:
        first += ["\n  ", problem.message]
    what = (
        *(counted(len(problems), "problem"), Only("python", ", all in .problems")),
        *("; rows and images that cannot be used were left out (", Option("strict", True)),
        *(" stops at the first problem).", *first),
    )
    warnings.warn(ProblemsWarning(what, where=str(source)), stacklevel=3)


def nothing_left(raw: RawDataset, source: Path, log: ProblemLog) -> DataError:
    """The error for a data set of which no image can be used."""
    what = (f"none of its {sum(len(part.images) for part in raw.parts)} images can be used", log.first())
    folder = _better_folder(raw.parts[0].folder, source, log.problems)
    remedy: Text | None = None
    if folder is not None:
        remedy = (f"the images seem to be under {folder}: pass ", Option("images", str(folder)))
    return DataError(what, where=str(source), remedy=remedy)


def _better_folder(folder: Path, source: Path, problems: list[Problem]) -> Path | None:
    """Another folder in which the first image that was reported is found, for the error message."""
    name = next((problem.path for problem in problems if problem.path), None)
    if name is None:
        return None
    here = source if source.is_dir() else source.parent
    candidates = [here, folder.parent, *sorted(path for path in here.iterdir() if path.is_dir())]
    return next((path for path in candidates if path != folder and (path / name).is_file()), None)
