"""Label tables: from rows to the parts of a data set, with duplicate rows and split names settled."""

import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from dualcoop.counting import counted
from dualcoop.data.assembly import RawDataset, RawImage, RawPart
from dualcoop.data.formats.options import TableOptions
from dualcoop.data.formats.tables.class_columns import read_class_columns
from dualcoop.data.formats.tables.columns import IMAGE_COLUMNS, ListedRows, find_columns
from dualcoop.data.formats.tables.files import TABLE_SUFFIXES, Table, read_frame, read_table
from dualcoop.data.formats.tables.label_column import read_label_column
from dualcoop.data.labels import SPLIT_NAMES
from dualcoop.data.problems import SHOWN_NAMES, ProblemLog, quoted_list
from dualcoop.errors import AnyOf, DataError, Option

SPLIT_SPELLINGS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
SPLITS_EXPECTED = "train, valid (or val) or test"
SHOWN_DIFFERENCES = 3
KEEP_ONE = "Keep the right one"
MERGE = ("put their labels together with ", Option("duplicates", "merge"), " (for tables with one row per label)")


def recognises(path: Path) -> bool:
    """Whether the name ends as one of a table does."""
    return path.is_file() and path.suffix.lower() in TABLE_SUFFIXES


def load(source: Any, images: Path | None, options: TableOptions, log: ProblemLog) -> RawDataset:
    """Read a label table, a file or a pandas data frame; arguments as in `Format`.

    Raises:
        DataError: when the table as a whole cannot be used (missing columns, a -1 without a meaning, no row left).
    """
    if not isinstance(source, Path):
        return _load(read_frame(source), images or Path(), options, log)
    if source.is_dir():
        raise DataError(f"{source}: this is a folder. Pass the table itself, such as {source / 'labels.csv'}.")
    asked = (options.image_column or "").strip().casefold()
    table = read_table(source, log, encoding=options.encoding, key_columns=(asked,) if asked else IMAGE_COLUMNS)
    return _load(table, images or source.parent, options, log)


def _load(table: Table, folder: Path, options: TableOptions, log: ProblemLog) -> RawDataset:
    columns = find_columns(table, options)
    read = read_class_columns if columns.labels is None else read_label_column
    listed = read(table, columns, options, log)
    splits = _split_names(listed, table.source, log)
    rows = _settle_duplicates(listed, splits, table.source, options, log)
    if not rows:
        raise DataError(("no row can be used", log.first()), where=table.source)
    fill = np.array(listed.unlisted_absent, dtype=np.bool_)[:, None]
    labels = np.where(fill & (listed.labels == 0), np.int8(-1), listed.labels)
    _report_similar_names(listed.classes, table.source, log)
    parts = []
    for split in SPLIT_NAMES:
        chosen = [index for index in rows if splits[index] == split]
        if chosen:
            images = [RawImage(*listed.rows[index][:2]) for index in chosen]
            parts.append(RawPart(split, table.source, images, folder, labels[chosen]))
    return RawDataset(listed.classes, parts, listed.notes)


def _split_names(listed: ListedRows, source: str, log: ProblemLog) -> list[str | None]:
    """Part of every row, None for one that names no known part; all "train" when no row names any."""
    if not any(row.split for row in listed.rows):
        return ["train"] * len(listed.rows)
    splits = [SPLIT_SPELLINGS.get(row.split.casefold()) for row in listed.rows]
    counts = Counter(row.split for row in listed.rows).most_common(SHOWN_NAMES)
    found = ", ".join(f"{text!r} ({count})" for text, count in counts)
    if not any(splits):
        what = f"no row belongs to a known split. Found {found}; expected {SPLITS_EXPECTED}"
        raise DataError(what, where=source, remedy="rename them")
    for row, split in zip(listed.rows, splits, strict=True):
        if split is None:
            reason = f"the split is {row.split!r}, expected {SPLITS_EXPECTED}; the table has {found}"
            log.report(source, row.number, row.name, reason, "Correct the split's name")
    return splits


def _settle_duplicates(
    listed: ListedRows, splits: list[str | None], source: str, options: TableOptions, log: ProblemLog
) -> list[int]:
    """Rows that stay: one for each image of a known part; none for an image whose rows contradict each other."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(listed.rows):
        if splits[index] is not None:
            groups[posixpath.normpath(unicodedata.normalize("NFC", row.name.replace("\\", "/")))].append(index)
    merge = options.duplicates == "merge"
    kept = []
    merged = 0
    for group in groups.values():
        first, *others = (listed.rows[index] for index in group)
        conflict = _conflict(listed, splits, group, merge=merge) if others else ""
        if conflict:
            numbers = ", ".join(str(row.number) for row in (first, *others))
            reason = f"rows {numbers} name the same image and disagree: {conflict}"
            mergeable = not _conflict(listed, splits, group, merge=True)
            for row in (first, *others):
                log.report(source, row.number, row.name, reason, AnyOf(KEEP_ONE, MERGE) if mergeable else KEEP_ONE)
            continue
        kept.append(group[0])
        if merge:
            _merge(listed, group)
            merged += len(others)
            continue
        for row in others:
            reason = f"the row repeats row {first.number}, which is kept"
            log.report(source, row.number, row.name, reason, "Delete one of the two")
    if merged:
        listed.notes.append(f"{counted(merged, 'row')} merged into others of the same image")
    return kept


def _merge(listed: ListedRows, group: list[int]) -> None:
    """Put the labels of rows that do not contradict each other into the first of them."""
    first, *others = group
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


def _report_similar_names(classes: tuple[str, ...], source: str, log: ProblemLog) -> None:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        groups[re.sub(r"[\s_-]+", " ", name).strip().casefold()].append(name)
    for names in groups.values():
        if len(names) > 1:
            reason = f"the classes {quoted_list(names)} differ in case, blanks or hyphens only and are kept apart"
            log.report(source, None, None, reason, "Write them alike if they are the same")
