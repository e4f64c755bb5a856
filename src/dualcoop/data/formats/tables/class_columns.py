"""Tables with one column for each class: 1 present, 0 absent, empty unknown."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dualcoop.data.formats.options import IF_UNLISTED_IS_ABSENT, TableOptions, clean_name
from dualcoop.data.formats.tables.columns import Columns, ListedRows, TableRow, image_rows, is_blank
from dualcoop.data.formats.tables.files import Table
from dualcoop.data.problems import DataWarning, ProblemLog, quoted_list
from dualcoop.errors import AnyOf, DataError, Only, Option, Text

CODES = EMPTY, PRESENT, ZERO, MINUS, WRONG = range(5)
VALUES_REMEDY = "Write 1 for present, 0 for absent, or leave the cell empty for unknown"


class _CellCodes(dict[Any, int]):
    """Code of every cell value; values met for the first time are looked at once and remembered."""

    def __missing__(self, cell: Any) -> int:
        if is_blank(cell):
            return EMPTY
        text = str(cell).strip().lower()
        try:
            code = {1.0: PRESENT, 0.0: ZERO, -1.0: MINUS}.get(float(text), WRONG)
        except ValueError:
            code = {"true": PRESENT, "false": ZERO}.get(text, WRONG)
        self[cell] = code
        return code

    def of(self, cell: Any) -> int:
        """Code of a cell, which may be a list or another thing that cannot be looked up, and is no label value then."""
        try:
            return self[cell]
        except TypeError:
            return WRONG


def read_class_columns(table: Table, columns: Columns, options: TableOptions, log: ProblemLog) -> ListedRows:
    """Read the class columns.

    Without `classes`, every column other than the image and split columns is a class; one without a single valid value
    (notes, sizes, dates) is left out and reported. Rows with a value that is none of 1, 0, true, false and empty are
    reported and skipped.

    Raises:
        DataError: when a class has no column, there is no class column at all, or a -1 is found and no option says
            what it means.
    """
    positions = _class_positions(table, columns, options)
    titles = [table.columns[position] for position in positions]
    rows, codes, texts = _read_codes(table, columns, positions, options, log)
    wrong = codes == WRONG
    is_class = np.ones(len(titles), dtype=np.bool_)
    if options.classes is None:
        is_class = ~wrong.any(axis=0) | np.isin(codes, (PRESENT, ZERO, MINUS)).any(axis=0)
    for column in np.flatnonzero(~is_class).tolist():
        row = int(wrong[:, column].argmax())
        reason = f"column {titles[column]!r} is no class: it holds {texts[row, column]!r} and no 1 or 0"
        ways = AnyOf("Delete the column", Only("python", "name the classes with classes=[...]"))
        log.report(table.source, rows[row].number, None, reason, (ways, f". {VALUES_REMEDY}"))
    if not is_class.any():
        raise _no_class_column(table, log.first())
    wrong &= is_class
    for row in np.flatnonzero(wrong.any(axis=1)).tolist():
        column, *others = np.flatnonzero(wrong[row]).tolist()
        more = f" (and {len(others)} more cells are wrong)" if others else ""
        reason = f"column {titles[column]!r} holds {texts[row, column]!r}{more}"
        log.report(table.source, rows[row].number, rows[row].name, reason, VALUES_REMEDY)
    kept = np.flatnonzero(~wrong.any(axis=1))
    codes = codes[np.ix_(kept, is_class)]
    _warn_if_ambiguous(table.source, codes, options)
    empty = "absent" if options.unlisted == "absent" else "unknown"
    value = np.zeros(len(CODES), dtype=np.int8)
    value[PRESENT], value[ZERO], value[MINUS] = 1, -(options.zero == "absent"), -(options.minus_one == "absent")
    return ListedRows(
        options.classes or tuple(clean_name(title) for title, kept in zip(titles, is_class, strict=True) if kept),
        [rows[row] for row in kept],
        value[codes],
        [empty == "absent"] * len(kept),
        [f"an empty cell counts as {empty}"],
    )


def _read_codes(
    table: Table, columns: Columns, positions: Sequence[int], options: TableOptions, log: ProblemLog
) -> tuple[list[TableRow], npt.NDArray[np.int8], dict[tuple[int, int], str]]:
    """N rows, the codes of their cells (N, classes), and the texts of wrong cells by row and class."""
    lookup = _CellCodes()
    rows: list[TableRow] = []
    vectors = [np.zeros((0, len(positions)), dtype=np.int8)]
    texts: dict[tuple[int, int], str] = {}
    for row, cells in image_rows(table, columns, log):
        vector = np.fromiter((lookup.of(cells[position]) for position in positions), np.int8, len(positions))
        if options.minus_one is None and (vector == MINUS).any():
            column = table.columns[positions[int((vector == MINUS).argmax())]]
            raise options.minus_one_unclear(f"{table.source}, row {row.number} ({row.name})", f"column {column!r}")
        for index in np.flatnonzero(vector == WRONG).tolist():
            texts[len(rows), index] = str(cells[positions[index]])
        rows.append(row)
        vectors.append(vector[None])
    return rows, np.concatenate(vectors), texts


def _class_positions(table: Table, columns: Columns, options: TableOptions) -> list[int]:
    """Positions of the class columns, in the order of the classes."""
    taken = {columns.image, columns.split}
    free = [i for i, name in enumerate(table.columns) if name and i not in taken]
    if options.classes is None:
        if not free:
            raise _no_class_column(table)
        return free
    position = {clean_name(table.columns[index]): index for index in free}
    missing = [name for name in options.classes if name not in position]
    if missing:
        what = f"there is no column for {quoted_list(missing)}. The columns are {quoted_list(table.columns, 20)}"
        raise DataError(what, where=table.source, remedy="add a 'labels' column, or one column for each class")
    return [position[name] for name in options.classes]


def _no_class_column(table: Table, first_problem: Text = "") -> DataError:
    what = f"no column holds labels. The columns are {quoted_list(table.columns, 20)}"
    add = "add a column 'labels' (dog;beach), or one column for each class: 1 present, 0 absent, empty unknown"
    return DataError(what, where=table.source, remedy=(add, first_problem))


def _warn_if_ambiguous(source: str, codes: np.ndarray, options: TableOptions) -> None:
    has: Sequence[bool] = [bool((codes == code).any()) for code in CODES]
    if has[ZERO] and has[MINUS] and options.minus_one == options.zero:
        what = f"the class columns hold both 0 and -1, and both count as {options.zero}"
        ways = (Option("zero"), " and ", Option("minus_one"))
        paper = (Option("zero", "unknown"), ", ", Option("minus_one", "absent"))
        remedy = ("where they differ, say so with ", *ways, " (the paper's matrices: ", *paper, ")")
        warnings.warn(DataWarning(what, where=source, remedy=remedy), stacklevel=2)
    if has[PRESENT] and has[EMPTY] and not has[ZERO] and not has[MINUS] and options.unlisted == "auto":
        what = "the class columns hold 1 or nothing, never 0: empty cells count as unknown, and none as absent"
        warnings.warn(DataWarning(what, where=source, remedy=IF_UNLISTED_IS_ABSENT), stacklevel=2)
