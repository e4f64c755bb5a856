"""What the columns of a label table mean, and the options with which a reader may say so."""

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dualcoop.data.formats.table_files import Table
from dualcoop.data.labels import LabelMatrix
from dualcoop.data.problems import ProblemLog, quoted_list
from dualcoop.errors import ConfigError, DataError

IMAGE_COLUMNS = (
    *("image", "path", "file", "filename", "file_name", "image_path", "image_file", "file_path", "filepath"),
    *("photo", "image", "img"),
)
LABEL_COLUMNS = ("labels", "label", "tags")
ABSENT_COLUMNS = ("absent",)
SPLIT_COLUMNS = ("split",)

Unlisted = Literal["auto", "absent", "unknown"]
Meaning = Literal["absent", "unknown"]


@dataclass(frozen=True)
class TableOptions:
    """How to read a label table; `load_dataset` documents every field.

    Raises:
        ConfigError: for a value that an option does not have.
    """

    classes: tuple[str, ...] | None = None
    unlisted: Unlisted = "auto"
    minus_one: Meaning | None = None
    zero: Meaning = "absent"
    delimiter: str = ";"
    duplicates: Literal["skip", "merge"] = "skip"
    other_labels: Literal["report", "ignore"] = "report"
    image_column: str | None = None
    labels_column: str | None = None
    absent_column: str | None = None
    split_column: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        choices: dict[str, tuple[str | None, ...]] = {
            "unlisted": ("auto", "absent", "unknown"),
            "minus_one": (None, "absent", "unknown"),
            "zero": ("absent", "unknown"),
            "duplicates": ("skip", "merge"),
            "other_labels": ("report", "ignore"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(map(repr, allowed))}."
                )
        if not self.delimiter.strip(" "):
            raise ConfigError(
                f"delimiter is {self.delimiter!r}, expected a character that separates labels, such as ';'."
            )
        if self.classes is not None:
            names = tuple(clean_name(name) for name in self.classes)
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated or not names or "" in names:
                what = f"come more than once: {quoted_list(repeated)}" if repeated else "are missing or empty"
                raise ConfigError(f"classes: names {what}. Give every class one name.")
            object.__setattr__(self, "classes", names)


@dataclass(frozen=True)
class Columns:
    """Positions of the columns with a fixed meaning; None where the table has no such column."""

    image: int
    labels: int | None
    absent: int | None
    split: int | None


@dataclass
class ListedRows:
    """What the rows of a table say, before duplicates and unlisted labels are settled.

    Attributes:
        classes: M class names.
        numbers: N row numbers.
        names: N image names as written.
        splits: N cells of the split column as written, all empty when there is none.
        labels: int8 (N, M), +1 present, -1 absent, 0 not listed.
        unlisted_absent: for each of the N rows, whether what is not listed counts as absent.
        notes: what was decided about the whole table.
    """

    classes: tuple[str, ...]
    numbers: list[int]
    names: list[str]
    splits: list[str]
    labels: LabelMatrix
    unlisted_absent: list[bool]
    notes: list[str]


def clean_name(name: str) -> str:
    """A class name without outer blanks, its accents composed (NFC), so that equal names compare equal."""
    return unicodedata.normalize("NFC", name).strip()


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
    image = _find(table, options.image_column, "image_column", IMAGE_COLUMNS)
    if image is None:
        found = quoted_list(table.columns, 20)
        raise DataError(
            f"{table.source}: no column names the images. The columns are {found}; expected one called "
            "'image' (or 'path', 'file', 'filename'). Rename it, add a header row if there is none, or pass "
            "image_column='...'."
        )
    labels = _find(table, options.labels_column, "labels_column", LABEL_COLUMNS)
    absent = _find(table, options.absent_column, "absent_column", ABSENT_COLUMNS if labels is not None else ())
    if absent is not None and labels is None:
        raise DataError(
            f"{table.source}: there is a column {table.columns[absent]!r} of absent labels but none of "
            "present ones. Add a column 'labels', or pass labels_column='...'."
        )
    return Columns(image, labels, absent, _find(table, options.split_column, "split_column", SPLIT_COLUMNS))


def _find(table: Table, asked: str | None, option: str, usual: Sequence[str]) -> int | None:
    if asked is not None:
        if asked not in table.columns:
            raise DataError(
                f"{table.source}: there is no column {asked!r} ({option}). The columns are "
                f"{quoted_list(table.columns, 20)}."
            )
        return table.columns.index(asked)
    lower = [name.casefold() for name in table.columns]
    return next((lower.index(name) for name in usual if name in lower), None)


def image_rows(table: Table, columns: Columns, log: ProblemLog) -> Iterator[tuple[int, str, str, Sequence[Any]]]:
    """Rows that name an image: (row number, image name, cell of the split column, all cells)."""
    for row, cells in table.rows:
        name = cells[columns.image]
        split = "" if columns.split is None else cells[columns.split]
        if is_blank(name):
            # A row without anything in it is the empty end of a spreadsheet.
            if not all(is_blank(cell) for cell in cells):
                log.report(
                    table.source,
                    row,
                    None,
                    "the row names no image",
                    "Write the image's file name, or delete it",
                )
        elif not isinstance(name, str):
            log.report(table.source, row, None, f"the image is {name!r}, not a file name", "Write its file name")
        elif isinstance(split, str) or is_blank(split):
            yield row, name.strip(), "" if is_blank(split) else split.strip(), cells
        else:
            log.report(table.source, row, name, f"the split is {split!r}, not a name", "Write train, valid or test")
