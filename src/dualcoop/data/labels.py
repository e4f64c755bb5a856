"""Images with their labels, and the train, valid and test parts of a data set."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualcoop.counting import counted
from dualcoop.data.problems import DataWarning, Problem, quoted_list
from dualcoop.errors import DataError

SPLIT_NAMES = ("train", "valid", "test")
PART_TITLES = ("part", "images", "known labels", "present", "per image", "classes present")
SUMMARY_CLASSES = 6
SUMMARY_PROBLEMS = 3

LabelMatrix = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Image files and what is known about their labels.

    Attributes:
        paths: N image files.
        labels: int8 (N, M), +1 present, -1 absent, 0 unknown.
        classes: M class names, as the labels' columns.
        root: folder that the names of the images are relative to; None when the paths themselves are the
            names. The fingerprint sees the names only, so a data set keeps it when it is moved.

    Raises:
        DataError: when the shapes do not agree, a label is not -1, 0 or +1, or a class name comes twice.
    """

    paths: tuple[Path, ...]
    labels: LabelMatrix
    classes: tuple[str, ...]
    root: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(Path(path) for path in self.paths))
        object.__setattr__(self, "classes", tuple(self.classes))
        labels = np.asarray(self.labels)
        if labels.shape != (len(self.paths), len(self.classes)):
            what = f"the label matrix has the shape {labels.shape}, expected ({len(self.paths)}, {len(self.classes)})"
            raise DataError(what, remedy="give one row for each image and one column for each class")
        self._check_values(labels)
        repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if repeated:
            raise DataError(f"class names come more than once: {quoted_list(repeated)}. Name every class once.")
        object.__setattr__(self, "labels", labels.astype(np.int8))

    def _check_values(self, labels: npt.NDArray[np.generic]) -> None:
        # The range says it all for integers, without the large temporaries of a comparison with each value.
        if labels.size == 0 or (labels.dtype.kind in "iu" and labels.min() >= -1 and labels.max() <= 1):
            return
        wrong = ~np.isin(labels, (-1, 0, 1))
        if wrong.any():
            row, column = (int(index) for index in np.argwhere(wrong)[0])
            what = f"the label of {self.paths[row]} (index {row}) for {self.classes[column]!r} is {labels[row, column]}"
            raise DataError(what, remedy="use +1 for present, -1 for absent and 0 for unknown")

    @classmethod
    def from_arrays(
        cls,
        paths: Sequence[str | os.PathLike[str]],
        matrix: npt.ArrayLike,
        classes: Sequence[str],
        root: str | os.PathLike[str] | None = None,
    ) -> "LabelledImages":
        """Images with a label matrix made in Python.

        Args:
            paths: N image files; relative ones are taken from `root` when it is given.
            matrix: (N, M), +1 present, -1 absent, 0 unknown; or bool, True present and False absent.
            classes: M names.
            root: see the class.

        Raises:
            DataError: as the class does.
        """
        folder = None if root is None else Path(root)
        files = tuple(Path(path) if folder is None else folder / path for path in paths)
        values = np.asarray(matrix)
        if values.dtype == np.bool_:
            values = np.where(values, 1, -1)
        elif values.size and (values == 0).any() and not (values == -1).any():
            what = "the label matrix holds 0 but no -1: a 0 means unknown, so no label is known to be absent"
            remedy = "where 0 means absent, give matrix * 2 - 1 or a bool matrix"
            warnings.warn(DataWarning(what, remedy=remedy), stacklevel=2)
        return cls(files, values, tuple(classes), folder)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name of every image: its path relative to `root`, with forward slashes."""
        root = self.root
        return tuple(
            (path.relative_to(root) if root is not None and path.is_relative_to(root) else path).as_posix()
            for path in self.paths
        )

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Which labels are known, bool (N, M)."""
        return self.labels != 0

    @property
    def positives(self) -> npt.NDArray[np.int64]:
        """Number of images in which each class is present, (M,)."""
        return (self.labels > 0).sum(axis=0)

    def subset(self, indices: Sequence[int] | npt.NDArray[Any]) -> "LabelledImages":
        """The images at these indices (or where a bool mask (N,) is True), in that order."""
        chosen = np.asarray(indices)
        if chosen.dtype == np.bool_:
            if chosen.shape != (len(self),):
                raise DataError(f"the mask has the shape {chosen.shape}, expected ({len(self)},).")
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64)
        paths = tuple(self.paths[index] for index in chosen)
        return LabelledImages(paths, self.labels[chosen], self.classes, self.root)

    def with_labels(self, labels: npt.ArrayLike) -> "LabelledImages":
        """The same images and classes with another label matrix (N, M)."""
        return LabelledImages(self.paths, np.asarray(labels), self.classes, self.root)

    def select_classes(self, classes: Sequence[str]) -> "LabelledImages":
        """The same images with these classes only, in this order.

        Raises:
            DataError: when a name is none of the classes.
        """
        index = {name: column for column, name in enumerate(self.classes)}
        missing = [name for name in classes if name not in index]
        if missing:
            raise DataError(f"no such class: {quoted_list(missing)}. The classes are {quoted_list(self.classes, 20)}.")
        columns = [index[name] for name in classes]
        return LabelledImages(self.paths, self.labels[:, columns], tuple(classes), self.root)

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over the image names, the classes and the labels, in their order."""
        digest = hashlib.sha256()
        for texts in (self.names, self.classes):
            digest.update(len(texts).to_bytes(8, "little"))
            for encoded in (text.encode("utf-8", "surrogateescape") for text in texts):
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class DatasetSplits:
    """The parts of one data set; all have the same classes.

    Attributes:
        classes: M class names.
        train, valid, test: the parts, None where the data set has none.
        problems: rows, images and classes that could not be used as they were.
        source: what was loaded.
        notes: decisions about the whole data set that a reader of its figures should know.
    """

    classes: tuple[str, ...]
    train: LabelledImages | None = None
    valid: LabelledImages | None = None
    test: LabelledImages | None = None
    problems: list[Problem] = field(default_factory=list)
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, part in self.parts():
            if part.classes != self.classes:
                raise DataError(f"the {name} part has other classes than the data set. Load all parts together.")

    def parts(self) -> Iterator[tuple[str, LabelledImages]]:
        """Name and images of every part that there is."""
        for name in SPLIT_NAMES:
            part = getattr(self, name)
            if part is not None:
                yield name, part

    def select_classes(self, classes: Sequence[str]) -> "DatasetSplits":
        """The same images with these classes only, in this order.

        Raises:
            DataError: when a name is none of the classes.
        """
        chosen: dict[str, Any] = {name: part.select_classes(classes) for name, part in self.parts()}
        return replace(self, classes=tuple(classes), **chosen)

    def part_rows(self) -> list[tuple[str, ...]]:
        """A table of the parts for people: PART_TITLES, then a row for each part."""
        rows: list[tuple[str, ...]] = [PART_TITLES]
        for name, part in self.parts():
            known, present = int(part.known.sum()), int(part.positives.sum())
            share = f"{known:,} ({100 * known / max(part.labels.size, 1):.0f} %)"
            each, seen = f"{present / max(len(part), 1):.2f}", f"{(part.positives > 0).sum()}"
            rows.append((name, f"{len(part):,}", share, f"{present:,}", each, seen))
        return rows

    def frequent_classes(self) -> str:
        """The classes with the most images in the first part, for people; empty without a part."""
        for name, part in self.parts():
            order = np.argsort(-part.positives, kind="stable")[:SUMMARY_CLASSES]
            common = ", ".join(f"{self.classes[column]} ({part.positives[column]})" for column in order)
            more = "" if len(self.classes) <= SUMMARY_CLASSES else f" and {len(self.classes) - SUMMARY_CLASSES} more"
            return f"most frequent in {name}: {common}{more}"
        return ""

    def __str__(self) -> str:
        total = sum(len(part) for _, part in self.parts())
        source = f" from {self.source}" if self.source else ""
        lines = [f"{counted(len(self.classes), 'class')}, {counted(total, 'image')}{source}"]
        for name, *numbers in self.part_rows():
            widths = zip(numbers, (9, 22, 10, 11, 17), strict=True)
            lines.append(f"  {name:<6}" + "".join(f"{text:>{width}}" for text, width in widths))
        lines += [f"  {line}" for line in (self.frequent_classes(), *(f"note: {note}" for note in self.notes)) if line]
        lines.append(f"  problems: {len(self.problems)}")
        lines += [f"    {problem}" for problem in self.problems[:SUMMARY_PROBLEMS]]
        if len(self.problems) > SUMMARY_PROBLEMS:
            lines.append(f"    and {len(self.problems) - SUMMARY_PROBLEMS} more in .problems")
        return "\n".join(lines)
