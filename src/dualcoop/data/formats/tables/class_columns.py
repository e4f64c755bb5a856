"""Tables with one column for each class: 1 present, 0 absent, empty unknown."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from dualcoop.data.formats.options import TableOptions, clean_name
from dualcoop.data.formats.tables.columns import (
    IF_UNLISTED_IS_ABSENT,
    Columns,
    ListedRows,
    TableRow,
    image_rows,
    is_blank,
)
from dualcoop.data.formats.tables.files import Table
from dualcoop.data.problems import DataWarning, ProblemLog, quoted_list
from dualcoop.errors import AnyOf, DataError, Option, Text

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


@dataclass
class _CodedRows:
    """Rows as read; `wrong` holds the texts of wrong cells by row index and column index."""

    codes: npt.NDArray[np.int8]
    rows: list[TableRow] = field(default_factory=list)
    wrong: dict[int, dict[int, str]] = field(default_factory=dict)


def read_class_columns(table: Table, columns: Columns, options: TableOptions, log: ProblemLog) -> ListedRows:
    """Read the class columns.

    Without `classes`, every column other than the image and split columns is a class; one without a single
    valid value (notes, sizes, dates) is left out and reported. Rows with a value that is none of 1, 0, true,
    false and empty are reported and skipped.

    Raises:
        DataError: when a class has no column, there is no class column at all, or a -1 is found and no option
            says what it means.
    """
    positions = _class_positions(table, columns, options)
    coded = _read_codes(table, columns, positions, options, log)
    kept_columns = list(range(len(positions)))
    if options.classes is None:
        kept_columns = _columns_with_values(table, positions, coded, log)
    titles = [table.columns[position] for position in positions]
    kept_rows = _valid_rows(table.source, titles, coded, kept_columns, log)
    matrix = coded.codes[np.ix_(kept_rows, kept_columns)]
    _warn_if_ambiguous(table.source, matrix, options)
    empty = "absent" if options.unlisted == "absent" else "unknown"
    value = np.zeros(len(CODES), dtype=np.int8)
    value[PRESENT], value[ZERO], value[MINUS] = 1, -(options.zero == "absent"), -(options.minus_one == "absent")
    return ListedRows(
        options.classes or tuple(clean_name(titles[column]) for column in kept_columns),
        [coded.rows[row] for row in kept_rows],
        value[matrix],
        [empty == "absent"] * len(kept_rows),
        [f"an empty cell counts as {empty}"],
    )


def _read_codes(
    table: Table, columns: Columns, positions: Sequence[int], options: TableOptions, log: ProblemLog
) -> _CodedRows:
    lookup = _CellCodes()
    coded = _CodedRows(np.zeros((0, len(positions)), dtype=np.int8))
    vectors: list[npt.NDArray[np.int8]] = []
    for row, cells in image_rows(table, columns, log):
        values = (_code(lookup, cells[position]) for position in positions)
        vector = np.fromiter(values, np.int8, len(positions))
        if options.minus_one is None and (vector == MINUS).any():
            column = table.columns[positions[int((vector == MINUS).argmax())]]
            raise options.minus_one_unclear(f"{table.source}, row {row.number} ({row.name})", f"column {column!r}")
        if (vector == WRONG).any():
            wrong = np.flatnonzero(vector == WRONG).tolist()
            coded.wrong[len(vectors)] = {column: str(cells[positions[column]]) for column in wrong}
        coded.rows.append(row)
        vectors.append(vector)
    if vectors:
        coded.codes = np.stack(vectors)
    return coded


def _columns_with_values(table: Table, positions: Sequence[int], coded: _CodedRows, log: ProblemLog) -> list[int]:
    """Columns that are classes; the others are reported."""
    has_wrong = np.any(coded.codes == WRONG, axis=0).tolist()
    has_value = np.any(np.isin(coded.codes, (PRESENT, ZERO, MINUS)), axis=0).tolist()
    kept = []
    for column, position in enumerate(positions):
        if has_value[column] or not has_wrong[column]:
            kept.append(column)
            continue
        row = next(row for row, cells in coded.wrong.items() if column in cells)
        log.report(
            table.source,
            coded.rows[row].number,
            None,
            f"column {table.columns[position]!r} is no class: it holds {coded.wrong[row][column]!r} and no 1 or 0",
            (AnyOf("Delete the column", ("name the classes with ", Option("classes"))), f". {VALUES_REMEDY}"),
        )
    if not kept:
        raise _no_class_column(table, log.first())
    return kept


def _valid_rows(
    source: str, titles: Sequence[str], coded: _CodedRows, kept_columns: Sequence[int], log: ProblemLog
) -> list[int]:
    """Rows without a wrong value in the class columns; the others are reported."""
    is_class = set(kept_columns)
    kept = []
    for index, row in enumerate(coded.rows):
        wrong = [(column, text) for column, text in coded.wrong.get(index, {}).items() if column in is_class]
        if wrong:
            column, text = wrong[0]
            more = f" (and {len(wrong) - 1} more cells are wrong)" if len(wrong) > 1 else ""
            reason = f"column {titles[column]!r} holds {text!r}{more}"
            log.report(source, row.number, row.name, reason, VALUES_REMEDY)
        else:
            kept.append(index)
    return kept


def _code(codes: _CellCodes, cell: Any) -> int:
    try:
        return codes[cell]
    except TypeError:
        # Lists and other things that cannot be looked up are no label values.
        return WRONG


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
    return DataError(
        f"no column holds labels. The columns are {quoted_list(table.columns, 20)}",
        where=table.source,
        remedy=(
            "add a column 'labels' (dog;beach), or one column for each class with 1 for present, 0 for absent, empty "
            "for unknown. ",
            first_problem,
        ),
    )


def _warn_if_ambiguous(source: str, codes: np.ndarray, options: TableOptions) -> None:
    has: Sequence[bool] = [bool((codes == code).any()) for code in CODES]
    if has[ZERO] and has[MINUS] and options.minus_one == options.zero:
        what = f"the class columns hold both 0 and -1, and both count as {options.zero}"
        ways = (Option("zero"), " and ", Option("minus_one"))
        paper = (Option("zero", "unknown"), ", ", Option("minus_one", "absent"))
        remedy = ("where they differ, say so with ", *ways, " (the paper's matrices: ", *paper, ")")
        warnings.warn(DataWarning(what, where=source, remedy=remedy), stacklevel=2)
    if has[PRESENT] and has[EMPTY] and not has[ZERO] and not has[MINUS] and options.unlisted == "auto":
        what = (
            "the class columns hold 1 or nothing, never 0. Empty cells count as unknown, so no label is known to be "
            "absent"
        )
        warnings.warn(DataWarning(what, where=source, remedy=IF_UNLISTED_IS_ABSENT), stacklevel=2)
