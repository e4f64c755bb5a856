"""Label tables: from rows to the parts of a data set, with duplicate rows and split names settled."""

import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dualcoop.data.assembly import RawDataset, RawPart
from dualcoop.data.formats.class_columns import read_class_columns
from dualcoop.data.formats.label_column import read_label_column
from dualcoop.data.formats.table_columns import ListedRows, TableOptions, find_columns
from dualcoop.data.formats.table_files import Table
from dualcoop.data.labels import SPLIT_NAMES
from dualcoop.data.problems import SHOWN_NAMES, ProblemLog, counted, quoted_list
from dualcoop.errors import DataError

SPLIT_SPELLINGS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "test": "test",
    "testing": "test",
}
SPLITS_EXPECTED = "train, valid (or val) or test"
SHOWN_DIFFERENCES = 3
CONFLICT_REMEDY = "Keep the right one"
MERGE_REMEDY = ", or put their labels together with duplicates='merge' (for tables with one row per label)"


def load_table(table: Table, folder: Path, options: TableOptions, log: ProblemLog) -> RawDataset:
    """Read a label table.

    Args:
        table: see `table_files`.
        folder: folder that the image names start from.
        options: how to read it.
        log: takes the rows that are skipped.

    Raises:
        DataError: when the table as a whole cannot be used (missing columns, a -1 without a meaning, no row
        left).
    """
    columns = find_columns(table, options)
    read = read_class_columns if columns.labels is None else read_label_column
    listed = read(table, columns, options, log)
    splits = _split_names(listed, table.source, log)
    rows = [index for index, split in enumerate(splits) if split is not None]
    rows = _settle_duplicates(listed, splits, rows, table.source, options, log)
    if not rows:
        first = f" The first problem: {log.problems[0]}" if log.problems else ""
        raise DataError(f"{table.source}: no row can be used.{first}")
    fill = np.array(listed.unlisted_absent, dtype=np.bool_)[:, None]
    labels = np.where(fill & (listed.labels == 0), np.int8(-1), listed.labels)
    _report_similar_names(listed.classes, table.source, log)
    parts = []
    for split in SPLIT_NAMES:
        chosen = [index for index in rows if splits[index] == split]
        if chosen:
            numbers: list[int | None] = [listed.numbers[index] for index in chosen]
            names = [listed.names[index] for index in chosen]
            parts.append(RawPart(split, table.source, numbers, names, folder, labels[chosen]))
    return RawDataset(listed.classes, parts, listed.notes)


def _split_names(listed: ListedRows, source: str, log: ProblemLog) -> list[str | None]:
    """Part of every row, None for one that names no known part; all "train" when no row names any."""
    if not any(listed.splits):
        return ["train"] * len(listed.splits)
    splits = [SPLIT_SPELLINGS.get(text.casefold()) for text in listed.splits]
    counts = Counter(listed.splits).most_common(SHOWN_NAMES)
    found = ", ".join(f"{text!r} ({count})" for text, count in counts)
    if all(split is None for split in splits):
        raise DataError(
            f"{source}: no row belongs to a known split. Found {found}; expected {SPLITS_EXPECTED}. Rename them."
        )
    for index, split in enumerate(splits):
        if split is None:
            reason = f"the split is {listed.splits[index]!r}, expected {SPLITS_EXPECTED}; the table has {found}"
            log.report(source, listed.numbers[index], listed.names[index], reason, "Correct the split's name")
    return splits


def _settle_duplicates(
    listed: ListedRows,
    splits: list[str | None],
    rows: list[int],
    source: str,
    options: TableOptions,
    log: ProblemLog,
) -> list[int]:
    """Rows that stay: one for each image; none for an image whose rows contradict each other."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index in rows:
        groups[_image_key(listed.names[index])].append(index)
    merge = options.duplicates == "merge"
    kept = []
    merged = 0
    for first, *others in groups.values():
        conflict = _conflict(listed, splits, [first, *others], merge=merge) if others else ""
        if conflict:
            numbers = ", ".join(str(listed.numbers[index]) for index in (first, *others))
            reason = f"rows {numbers} name the same image and disagree: {conflict}"
            mergeable = not _conflict(listed, splits, [first, *others], merge=True)
            remedy = CONFLICT_REMEDY + (MERGE_REMEDY if mergeable else "")
            for index in (first, *others):
                log.report(source, listed.numbers[index], listed.names[index], reason, remedy)
            continue
        kept.append(first)
        if merge:
            _merge(listed, first, others)
            merged += len(others)
            continue
        reason = f"the row repeats row {listed.numbers[first]}, which is kept"
        for index in others:
            log.report(source, listed.numbers[index], listed.names[index], reason, "Delete one of the two")
    if merged:
        listed.notes.append(f"{counted(merged, 'row')} merged into others of the same image")
    return kept


def _merge(listed: ListedRows, first: int, others: list[int]) -> None:
    """Put the labels of rows that do not contradict each other into the first of them."""
    for index in others:
        known = listed.labels[index] != 0
        listed.labels[first, known] = listed.labels[index, known]
        listed.unlisted_absent[first] |= listed.unlisted_absent[index]


def _conflict(listed: ListedRows, splits: list[str | None], group: list[int], *, merge: bool) -> str:
    """What rows of one image disagree about; empty when they agree (or, to be merged, do not contradict)."""
    parts = dict.fromkeys(splits[index] for index in group)
    if len(parts) > 1:
        return f"it is in {' and in '.join(str(part) for part in parts)}"
    block = listed.labels[group]
    differ = ((block > 0).any(axis=0) & (block < 0).any(axis=0)) if merge else (block != block[0]).any(axis=0)
    return quoted_list([listed.classes[column] for column in np.flatnonzero(differ)], SHOWN_DIFFERENCES)


def _image_key(name: str) -> str:
    return posixpath.normpath(unicodedata.normalize("NFC", name.replace("\\", "/")))


def _report_similar_names(classes: tuple[str, ...], source: str, log: ProblemLog) -> None:
    for names in _similar_names(classes):
        reason = f"the classes {quoted_list(names)} differ in case, blanks or hyphens only and are kept apart"
        log.report(source, None, None, reason, "Write them alike if they are the same")


def _similar_names(classes: tuple[str, ...]) -> Iterator[list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        groups[re.sub(r"[\s_-]+", " ", name).strip().casefold()].append(name)
    return (names for names in groups.values() if len(names) > 1)
