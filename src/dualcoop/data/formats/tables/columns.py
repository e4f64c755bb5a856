"""What the columns of a label table mean."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dualcoop.data.formats.options import TableOptions
from dualcoop.data.formats.tables.files import Table
from dualcoop.data.labels import LabelMatrix
from dualcoop.data.problems import ProblemLog, quoted_list
from dualcoop.errors import AnyOf, DataError, Option

IMAGE_COLUMNS = (
    *("image", "path", "file", "filename", "file_name", "image_path", "image_file", "file_path", "filepath"),
    *("photo", "image", "img"),
)
LABEL_COLUMNS = ("labels", "label", "tags")
ABSENT_COLUMNS = ("absent",)
SPLIT_COLUMNS = ("split",)


@dataclass(frozen=True)
class Columns:
    """Positions of the columns with a fixed meaning; None where the table has no such column."""

    image: int
    labels: int | None
    absent: int | None
    split: int | None


class TableRow(NamedTuple):
    """Where a row stands, the image that it names, and its cell of the split column, empty when there is none."""

    number: int
    name: str
    split: str


@dataclass
class ListedRows:
    """What the rows of a table say, before duplicates and unlisted labels are settled.

    Attributes:
        classes: M class names.
        rows: N rows.
        labels: int8 (N, M), +1 present, -1 absent, 0 not listed.
        unlisted_absent: for each of the N rows, whether what is not listed counts as absent.
        notes: what was decided about the whole table.
    """

    classes: tuple[str, ...]
    rows: list[TableRow]
    labels: LabelMatrix
    unlisted_absent: list[bool]
    notes: list[str]


def is_blank(cell: Any) -> bool:
    """Whether a cell says nothing: empty text, None or NaN."""
    if isinstance(cell, str):
        return not cell.strip()
    # pandas writes a missing value as NaN or as its NA, whose comparison with itself is no bool.
    return cell is None or (isinstance(cell, float) and math.isnan(cell)) or type(cell).__name__ == "NAType"


def find_columns(table: Table, options: TableOptions) -> Columns:
    """Tell the columns by their names (in any case), or by what the options say.

    Raises:
        DataError: when a column that an option names, or the image column, is missing.
    """
    image = _find(table, options, "image_column", IMAGE_COLUMNS)
    if image is None:
        what = f"no column names the images. The columns are {quoted_list(table.columns, 20)}"
        expected = "expected one called 'image' (or 'path', 'file', 'filename')"
        ways = AnyOf("rename it", "add a header row if there is none", ("name it with ", Option("image_column")))
        raise DataError(f"{what}; {expected}", where=table.source, remedy=ways)
    labels = _find(table, options, "labels_column", LABEL_COLUMNS)
    absent = _find(table, options, "absent_column", ABSENT_COLUMNS if labels is not None else ())
    if absent is not None and labels is None:
        what = f"there is a column {table.columns[absent]!r} of absent labels but none of present ones"
        ways = AnyOf("add a column 'labels'", ("name it with ", Option("labels_column")))
        raise DataError(what, where=table.source, remedy=ways)
    return Columns(image, labels, absent, _find(table, options, "split_column", SPLIT_COLUMNS))


def _find(table: Table, options: TableOptions, option: str, usual: Sequence[str]) -> int | None:
    asked = getattr(options, option)
    if asked is not None:
        if asked not in table.columns:
            what = f"is {asked!r}, and there is no such column. The columns are {quoted_list(table.columns, 20)}"
            raise DataError(what, where=table.source, option=option)
        return table.columns.index(asked)
    lower = [name.casefold() for name in table.columns]
    return next((lower.index(name) for name in usual if name in lower), None)


def image_rows(table: Table, columns: Columns, log: ProblemLog) -> Iterator[tuple[TableRow, Sequence[Any]]]:
    """Rows that name an image, with all their cells; others are reported."""
    for row, cells in table.rows:
        name = cells[columns.image]
        split = "" if columns.split is None else cells[columns.split]
        if is_blank(name):
            # A row without anything in it is the empty end of a spreadsheet.
            if not all(map(is_blank, cells)):
                remedy = "Write the image's file name, or delete it"
                log.report(table.source, row, None, "the row names no image", remedy)
        elif not isinstance(name, str):
            log.report(table.source, row, None, f"the image is {name!r}, not a file name", "Write its file name")
        elif isinstance(split, str) or is_blank(split):
            yield TableRow(row, name.strip(), "" if is_blank(split) else split.strip()), cells
        else:
            log.report(table.source, row, name, f"the split is {split!r}, not a name", "Write train, valid or test")
