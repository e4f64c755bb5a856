"""Rows of CSV, TSV, JSONL and Parquet files and of data frames, numbered as a person would look for them."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from dualcoop.data.problems import ProblemLog, quoted_list
from dualcoop.errors import AnyOf, DataError, Option

FRAME = "the data frame"
SEPARATORS = (",", ";", "\t")
TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet", ".pq")
TABLE_SUFFIXES = TEXT_SUFFIXES + JSON_SUFFIXES + PARQUET_SUFFIXES
SAVE_AS = "Save it as CSV (UTF-8), JSONL or Parquet"

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
ZIP_MARK = b"PK\x03\x04"


@dataclass
class Table:
    """Columns, and rows that are read once: (row number, one cell for each column).

    Cells of text files are str; other formats give what they hold (str, int, float, bool, list or None).
    """

    source: str
    columns: list[str]
    rows: Iterator[tuple[int, Sequence[Any]]]


def read_table(path: Path, log: ProblemLog, *, encoding: str = "utf-8", key_columns: Sequence[str] = ()) -> Table:
    """Open a table by the ending of its name; the log takes the rows that cannot be read.

    Of `key_columns`, lower-case names, the header should have one, to tell which character separates the columns of a
    .csv file: comma, semicolon as European spreadsheets write, or tab. A UTF-8 byte order mark is passed over.

    Raises:
        DataError: when the file is missing, empty, of another kind, wrongly encoded or broken as a whole.
    """
    suffix = path.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise DataError(f"{path}: {suffix or 'a name without an ending'} is no table that can be read. {SAVE_AS}.")
    if not path.is_file():
        raise DataError(f"{path}: the label table is missing. Check the name.")
    if path.stat().st_size == 0:
        raise _empty(path, "0 bytes")
    if suffix in PARQUET_SUFFIXES:
        return _read_parquet(path)
    text = _read_text(path, encoding)
    if suffix in JSON_SUFFIXES:
        return _read_json_lines(path, text, log)
    return _read_separated(path, text, log, key_columns)


def read_frame(frame: Any) -> Table:
    """A pandas data frame as a table; the row number is the position from 1.

    Raises:
        DataError: when the frame has no rows.
    """
    columns = [str(name) for name in frame.columns]
    _check_columns(FRAME, columns)
    if not len(frame):
        raise _empty(FRAME, "it has no rows")
    return Table(FRAME, columns, enumerate(frame.itertuples(index=False, name=None), start=1))


def _empty(source: str | Path, why: str) -> DataError:
    remedy = "give it a header row and one row for each image"
    return DataError(f"the table is empty, {why}", where=str(source), remedy=remedy)


def _read_text(path: Path, encoding: str) -> str:
    content = path.read_bytes()
    if content.startswith(ZIP_MARK):
        raise DataError(f"{path}: this is an Excel workbook or a zip archive, not a text table. {SAVE_AS}.")
    name = "utf-8-sig" if encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else encoding
    if name == "utf-8-sig" and content.startswith(UTF16_MARKS):
        remedy = AnyOf("save it as CSV (UTF-8)", ("pass ", Option("encoding", "utf-16")))
        raise DataError("the file starts with a UTF-16 mark but is read as UTF-8", where=str(path), remedy=remedy)
    try:
        text = content.decode(name)
    except LookupError as error:
        what = f"is {encoding!r}, which is no encoding"
        raise DataError(what, option="encoding", remedy="use utf-8, cp1252 or utf-16") from error
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{content[error.start]:02x} is not valid {encoding}: the file was saved in another encoding"
        remedy = AnyOf("save it as CSV (UTF-8)", ("pass its encoding, often ", Option("encoding", "cp1252")))
        raise DataError(what, where=f"{path}, row {row}", remedy=remedy) from error
    if not text.strip():
        raise _empty(path, "it is blank")
    if "\0" in text:
        raise DataError(f"{path}: the file holds NUL characters, so it is no text table in {encoding}. {SAVE_AS}.")
    return text


def _read_separated(path: Path, text: str, log: ProblemLog, key_columns: Sequence[str]) -> Table:
    separator = "\t" if path.suffix.lower() in {".tsv", ".tab"} else _separator(text, key_columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    records = _records(path, reader)
    header_row, header = next(((row, cells) for row, cells in records if any(cells)), (0, []))
    # Spreadsheets write empty cells behind the last column.
    while header and not header[-1].strip():
        header.pop()
    columns = [name.strip() for name in header]
    _check_columns(str(path), columns)
    first = next(((row, cells) for row, cells in records if any(cell.strip() for cell in cells)), None)
    if first is None:
        raise _empty(path, f"it has a header (row {header_row}) but no rows")

    def rows() -> Iterator[tuple[int, Sequence[str]]]:
        for row, cells in chain([first], records):
            if not any(cell.strip() for cell in cells):
                continue
            while len(cells) > len(columns) and not cells[-1].strip():
                cells.pop()
            if len(cells) == len(columns):
                yield row, cells
                continue
            reason = f"the row has {len(cells)} cells, the header has {len(columns)}"
            remedy = "Fill the missing cells, or leave them empty between separators"
            if len(cells) > len(columns):
                remedy = f'Put cells that hold a {separator!r} between double quotes: "dog{separator}cat"'
            log.report(path, row, cells[0], reason, remedy)

    return Table(str(path), columns, rows())


def _records(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Records counted as a spreadsheet does: the header is row 1, and blank lines count."""
    row = 0
    try:
        for row, cells in enumerate(reader, start=1):
            yield row, cells
    except csv.Error as error:
        what = f"the quotes are wrong ({error}). Close every quote, and write a double quote inside a quoted cell twice"
        raise DataError(f'{path}, row {row + 1}: {what}: "12"" pipe".') from error


def _separator(text: str, key_columns: Sequence[str]) -> str:
    # Not splitlines(): a column name may hold the Unicode line separators that it splits at.
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]

    def fitness(separator: str) -> tuple[bool, int]:
        names = [name.strip().strip('"').strip().casefold() for name in header.split(separator)]
        return any(name in key_columns for name in names), len(names)

    return max(SEPARATORS, key=fitness)


def _check_columns(source: str, columns: list[str]) -> None:
    repeated = {name for name in columns if name and columns.count(name) > 1}
    if repeated:
        what = f"columns of the header come more than once: {quoted_list(sorted(repeated))}"
        raise DataError(what, where=source, remedy="name every column once")


def _read_json_lines(path: Path, text: str, log: ProblemLog) -> Table:
    records: list[tuple[int, dict[str, Any]]] = []
    columns: dict[str, None] = {}
    # Not splitlines(): JSON strings may hold the Unicode line separators that it splits at.
    for row, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            log.report(path, row, None, f"the line is not JSON ({error})", "Write one JSON object on each line")
            continue
        if not isinstance(record, dict):
            kind = type(record).__name__
            log.report(path, row, None, f"the line holds a {kind}, not an object", 'Write {"image": ..., ...}')
            continue
        records.append((row, record))
        columns.update(dict.fromkeys(record))
    if not records:
        what = ("no line holds a JSON object", log.first())
        raise DataError(what, where=str(path), remedy="write one object for each image")
    names = list(columns)
    rows = ((row, [record.get(name) for name in names]) for row, record in records)
    return Table(str(path), names, rows)


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = list(file.schema_arrow.names)
        count = file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: this is no readable Parquet file ({error}). Write it again.") from error
    _check_columns(str(path), columns)
    if count == 0:
        raise _empty(path, "it has no rows")

    def rows() -> Iterator[tuple[int, Sequence[Any]]]:
        row = 0
        try:
            for batch in file.iter_batches():
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    row += 1
                    yield row, cells
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}, row {row + 1}: the file is damaged ({error}). Write it again.") from error

    return Table(str(path), columns, rows())
