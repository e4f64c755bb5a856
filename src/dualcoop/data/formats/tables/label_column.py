"""Tables with a `labels` column (dog;beach), and often an `absent` column beside it."""

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualcoop.counting import counted
from dualcoop.data.formats.options import IF_UNLISTED_IS_ABSENT, TableOptions, clean_name
from dualcoop.data.formats.tables.columns import Columns, ListedRows, TableRow, image_rows, is_blank
from dualcoop.data.formats.tables.files import Table
from dualcoop.data.problems import DataWarning, ProblemLog, quoted_list
from dualcoop.errors import AnyOf, DataError, Option

OTHER_DELIMITERS = ";,|/\t"


@dataclass
class _Labels:
    row: TableRow
    present: Sequence[str]
    absent: Sequence[str]
    annotated: bool


def read_label_column(table: Table, columns: Columns, options: TableOptions, log: ProblemLog) -> ListedRows:
    """Read the columns of present and absent labels.

    Rows that list one label as present and absent, or a label that is none of `classes`, are reported and skipped. With
    `unlisted="auto"` a label that is not listed is unknown when the table has an `absent` column. Without one it is
    absent, with a warning, except in rows whose cell is empty: nobody has looked at those yet.

    Raises:
        DataError: when no row lists any label.
    """
    assert columns.labels is not None
    listed: list[_Labels] = []
    holds_delimiter = False
    other_delimiters: set[str] = set()
    for row, cells in image_rows(table, columns, log):
        present_cell = cells[columns.labels]
        absent_cell = None if columns.absent is None else cells[columns.absent]
        try:
            present = _names(present_cell, options.delimiter)
            absent = _names(absent_cell, options.delimiter)
        except ValueError as error:
            remedy = f"Write names with {options.delimiter!r} between them, or a list of names"
            log.report(table.source, row.number, row.name, str(error), remedy)
            continue
        if isinstance(present_cell, str):
            holds_delimiter |= options.delimiter in present_cell
            other_delimiters.update(mark for mark in OTHER_DELIMITERS if mark in present_cell)
        both = sorted(set(present) & set(absent))
        if both:
            reason = f"{quoted_list(both)} stands among the labels and among the absent ones"
            log.report(table.source, row.number, row.name, reason, "Keep it in one of the two")
            continue
        # An empty list says "none of them"; an empty cell says nothing.
        listed.append(_Labels(row, present, absent, annotated=not is_blank(present_cell)))
    if not holds_delimiter and other_delimiters:
        marks = " or ".join(map(repr, sorted(other_delimiters)))
        what = f"no labels cell holds {options.delimiter!r}, which separates labels, but some hold {marks}"
        say_so = ("if that separates them, say so with ", Option("delimiter"))
        warnings.warn(DataWarning(what, where=table.source, remedy=say_so), stacklevel=2)
    classes = options.classes
    if classes is None:
        classes = tuple(sorted({label for each in listed for label in (*each.present, *each.absent)}))
        if listed and not classes:
            raise DataError(f"{table.source}: no row lists a label, so there are no classes. Fill the labels column.")
    elif options.other_labels != "ignore":
        listed = _within(listed, classes, table.source, log)

    index = {name: column for column, name in enumerate(classes)}
    labels = np.zeros((len(listed), len(classes)), dtype=np.int8)
    for position, each in enumerate(listed):
        labels[position, [index[name] for name in each.present if name in index]] = 1
        labels[position, [index[name] for name in each.absent if name in index]] = -1
    unlisted_absent, notes = _unlisted(table.source, listed, columns.absent is not None, options)
    return ListedRows(classes, [each.row for each in listed], labels, unlisted_absent, notes)


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


def _within(listed: list[_Labels], classes: Sequence[str], source: str, log: ProblemLog) -> list[_Labels]:
    """Rows without labels outside the classes; the others are reported."""
    known = set(classes)
    kept = []
    for each in listed:
        others = [label for label in (*each.present, *each.absent) if label not in known]
        if not others:
            kept.append(each)
            continue
        near = difflib.get_close_matches(others[0], classes, n=1)
        remedy = f"Write {near[0]!r} if that is meant" if near else "Correct it, or add it to the classes"
        ways = AnyOf(remedy, ("drop such labels and keep the row with ", Option("other_labels", "ignore")))
        reason = f"{quoted_list(others)} is none of the {len(classes)} classes"
        log.report(source, each.row.number, each.row.name, reason, ways)
    return kept


def _unlisted(
    source: str, listed: list[_Labels], has_absent_column: bool, options: TableOptions
) -> tuple[list[bool], list[str]]:
    """For each row, whether unlisted labels are absent; and what to tell about it."""
    if options.unlisted != "auto":
        return [options.unlisted == "absent"] * len(listed), [
            f"a label that is not listed counts as {options.unlisted}"
        ]
    if has_absent_column:
        if any(each.present for each in listed) and not any(each.absent for each in listed):
            what = "its absent column is empty and unlisted labels count as unknown: no label is known to be absent"
            warnings.warn(DataWarning(what, where=source, remedy=IF_UNLISTED_IS_ABSENT), stacklevel=2)
        return [False] * len(listed), ["a label in neither the labels nor the absent column counts as unknown"]
    blank = sum(not each.annotated for each in listed)
    note = "a label that is not listed counts as absent"
    if blank:
        note += f", except in {counted(blank, 'row')} with an empty labels cell, where all are unknown"
    some = AnyOf(("pass ", Option("unlisted", "unknown")), "add an 'absent' column")
    every = ("pass ", Option("unlisted", "absent"), " (empty cells then mean that nothing is present)")
    remedy = ("if only some labels were looked for, ", some, "; if all were, ", every)
    what = f"it lists the labels that are present and none that are absent, so {note}"
    warnings.warn(DataWarning(what, where=source, remedy=remedy), stacklevel=2)
    return [each.annotated for each in listed], [note]
