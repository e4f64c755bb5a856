"""Tables with a `labels` column (dog;beach), and often an `absent` column beside it."""

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualcoop.data.formats.table_columns import Columns, ListedRows, TableOptions, clean_name, image_rows, is_blank
from dualcoop.data.formats.table_files import Table
from dualcoop.data.problems import DataWarning, ProblemLog, counted, quoted_list
from dualcoop.errors import DataError

OTHER_DELIMITERS = ";,|/\t"


@dataclass
class _Row:
    number: int
    name: str
    split: str
    present: Sequence[str]
    absent: Sequence[str]
    annotated: bool


def read_label_column(table: Table, columns: Columns, options: TableOptions, log: ProblemLog) -> ListedRows:
    """Read the columns of present and absent labels.

    Rows that list one label as present and absent, or a label that is none of `classes`, are reported and
    skipped. With `unlisted="auto"` a label that is not listed is unknown when the table has an `absent`
    column. Without one it is absent, with a warning, except in rows whose cell is empty: nobody has looked at
    those yet.

    Raises:
        DataError: when no row lists any label.
    """
    assert columns.labels is not None
    rows: list[_Row] = []
    holds_delimiter = False
    other_delimiters: set[str] = set()
    for number, name, split, cells in image_rows(table, columns, log):
        present_cell = cells[columns.labels]
        absent_cell = None if columns.absent is None else cells[columns.absent]
        try:
            present = _names(present_cell, options.delimiter)
            absent = _names(absent_cell, options.delimiter)
        except ValueError as error:
            remedy = f"Write names with {options.delimiter!r} between them, or a list of names"
            log.report(table.source, number, name, str(error), remedy)
            continue
        if isinstance(present_cell, str):
            holds_delimiter |= options.delimiter in present_cell
            other_delimiters.update(mark for mark in OTHER_DELIMITERS if mark in present_cell)
        both = sorted(set(present) & set(absent))
        if both:
            reason = f"{quoted_list(both)} stands among the labels and among the absent ones"
            log.report(table.source, number, name, reason, "Keep it in one of the two")
            continue
        # An empty list says "none of them"; an empty cell says nothing.
        annotated = not is_blank(present_cell)
        rows.append(_Row(number, name, split, present, absent, annotated))
    if not holds_delimiter and other_delimiters:
        marks = " or ".join(repr(mark) for mark in sorted(other_delimiters))
        warnings.warn(
            f"{table.source}: no labels cell holds {options.delimiter!r}, which separates labels, but some "
            f"hold {marks}. If that separates them, pass delimiter=.",
            DataWarning,
            stacklevel=2,
        )
    classes = options.classes
    if classes is None:
        classes = tuple(sorted({label for row in rows for label in (*row.present, *row.absent)}))
        if rows and not classes:
            raise DataError(f"{table.source}: no row lists a label, so there are no classes. Fill the labels column.")
    else:
        rows = _rows_within(rows, classes, table.source, options, log)

    index = {name: column for column, name in enumerate(classes)}
    labels = np.zeros((len(rows), len(classes)), dtype=np.int8)
    for position, row in enumerate(rows):
        labels[position, [index[name] for name in row.present if name in index]] = 1
        labels[position, [index[name] for name in row.absent if name in index]] = -1
    unlisted_absent, notes = _unlisted(table.source, rows, columns.absent is not None, options)
    return ListedRows(
        classes,
        [row.number for row in rows],
        [row.name for row in rows],
        [row.split for row in rows],
        labels,
        unlisted_absent,
        notes,
    )


def _names(cell: Any, delimiter: str) -> list[str]:
    """Class names in one cell, each once.

    Raises:
        ValueError: when the cell holds something else.
    """
    if isinstance(cell, list | tuple | np.ndarray):
        parts = list(cell)
        wrong = [part for part in parts if not isinstance(part, str)]
        if wrong:
            raise ValueError(f"the list of labels holds {wrong[0]!r}, which is no name")
    elif is_blank(cell):
        return []
    elif isinstance(cell, str):
        parts = cell.split(delimiter)
    else:
        raise ValueError(f"the labels are {cell!r}, which is no name")
    return [name for name in dict.fromkeys(map(clean_name, parts)) if name]


def _rows_within(
    rows: list[_Row], classes: Sequence[str], source: str, options: TableOptions, log: ProblemLog
) -> list[_Row]:
    """Rows without labels outside the classes; with other_labels="ignore" all rows."""
    if options.other_labels == "ignore":
        return rows
    known = set(classes)
    kept = []
    for row in rows:
        others = [label for label in (*row.present, *row.absent) if label not in known]
        if not others:
            kept.append(row)
            continue
        near = difflib.get_close_matches(others[0], classes, n=1)
        remedy = f"Write {near[0]!r} if that is meant" if near else "Correct it, or add it to the classes"
        reason = f"{quoted_list(others)} is none of the {len(classes)} classes"
        log.report(
            source,
            row.number,
            row.name,
            reason,
            f"{remedy}; other_labels='ignore' drops such labels and keeps the row",
        )
    return kept


def _unlisted(
    source: str, rows: list[_Row], has_absent_column: bool, options: TableOptions
) -> tuple[list[bool], list[str]]:
    """For each row, whether unlisted labels are absent; and what to tell about it."""
    if options.unlisted == "unknown":
        return [False] * len(rows), ["a label that is not listed counts as unknown"]
    if options.unlisted == "absent":
        return [True] * len(rows), ["a label that is not listed counts as absent"]
    if has_absent_column and any(row.present for row in rows) and not any(row.absent for row in rows):
        warnings.warn(
            f"{source}: its column of absent labels is empty, and a label that is not listed counts as "
            "unknown, so no label is known to be absent. If unlisted means absent, pass unlisted='absent'; "
            "to keep this reading without the warning, pass unlisted='unknown'.",
            DataWarning,
            stacklevel=2,
        )
    if has_absent_column:
        return [False] * len(rows), ["a label in neither the labels nor the absent column counts as unknown"]
    blank = sum(not row.annotated for row in rows)
    note = "a label that is not listed counts as absent"
    if blank:
        note += f", except in {counted(blank, 'row')} with an empty labels cell, where all are unknown"
    warnings.warn(
        f"{source}: it lists the labels that are present and none that are absent, so {note}. If only some "
        "labels were looked for, pass unlisted='unknown' or add an 'absent' column; if all were, pass "
        "unlisted='absent' (empty cells then mean that nothing is present).",
        DataWarning,
        stacklevel=2,
    )
    return [row.annotated for row in rows], [note]
