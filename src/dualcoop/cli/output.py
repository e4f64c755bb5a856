"""Predictions as rows: a table to look at, JSONL or CSV to go on with; each row is out as soon as it is made."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, Protocol, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from dualcoop.errors import AnyOf, ConfigError, DataError, Option

if TYPE_CHECKING:
    from dualcoop.inference.prediction import Prediction

PATH_WIDTH = 44
MARK = "*"
LABEL_SEPARATOR = ";"
DECIMALS = 4


Format: TypeAlias = Literal["table", "jsonl", "csv"]
"""Forms in which predictions are written."""


class RowWriter(Protocol):
    """Takes predictions one after the other."""

    def write(self, prediction: "Prediction") -> None:
        """Write one prediction so that nothing of it stays in a buffer."""


def chosen_format(format: Format | None, output: Path | None) -> Format:
    """The format asked for, or what the file's ending says; a table on the terminal, JSONL in other files."""
    if format is not None:
        return format
    if output is None:
        return "table"
    return "csv" if output.suffix.lower() == ".csv" else "jsonl"


class TableWriter:
    """Lines for people: the image, then its best labels with their scores, those decided present marked.

    Args:
        console: where the lines go; a terminal gets colours and lines cut at its width.
        paths: all images, which decide the width of the first column.
        top: labels a line.
    """

    def __init__(self, console: Console, paths: Sequence[Path], top: int | None) -> None:
        self.console = console
        self.top = top
        widest = max((cell_len(str(path)) for path in paths), default=0)
        self.width = min(widest, PATH_WIDTH) if console.is_terminal else widest

    def write(self, prediction: "Prediction") -> None:
        """Print one line."""
        name = str(prediction.path)
        if cell_len(name) > self.width:
            name = "..." + name[len(name) - self.width + 3 :]
        line = Text(name + " " * (self.width - cell_len(name)))
        scores = prediction.top(len(prediction.scores) if self.top is None else self.top)
        for label, score in scores:
            present = prediction.decisions[label]
            line.append("  ")
            line.append(f"{MARK if present else ''}{label} {score:.2f}", style="bold green" if present else "dim")
        cut = self.console.is_terminal
        self.console.print(
            line,
            no_wrap=cut,
            overflow="ellipsis" if cut else None,
            crop=cut,
            soft_wrap=not cut,
            highlight=False,
        )
        self.console.file.flush()


class JsonlWriter:
    """One JSON object a line: path, labels (decided present, best first), scores (best first).

    Args:
        stream: text stream.
        top: scores in an object, None for all.
    """

    def __init__(self, stream: IO[str], top: int | None) -> None:
        self.stream = stream
        self.top = top

    def write(self, prediction: "Prediction") -> None:
        """Write and flush one line."""
        scores = prediction.top(len(prediction.scores) if self.top is None else self.top)
        row = {
            "path": str(prediction.path),
            "labels": list(prediction.labels),
            "scores": {name: round(score, DECIMALS) for name, score in scores},
        }
        self.stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.stream.flush()


class CsvWriter:
    """Columns image, labels (`dog;beach`, decided present) and scores; or, with all scores, one for each class.

    Args:
        stream: text stream.
        top: entries of the column of scores; None for a column of each class instead.
        classes: names of these columns.
        header: write the first line; not when an existing file is continued.
    """

    def __init__(self, stream: IO[str], top: int | None, classes: Sequence[str], *, header: bool = True) -> None:
        self.stream = stream
        self.top = top
        self.classes = classes
        self._rows = csv.writer(stream, lineterminator="\n")
        if header:
            self._rows.writerow(csv_header(top, classes))
            stream.flush()

    def write(self, prediction: "Prediction") -> None:
        """Write and flush one line."""
        row = [str(prediction.path), LABEL_SEPARATOR.join(prediction.labels)]
        if self.top is None:
            row += [f"{prediction.scores[name]:.{DECIMALS}f}" for name in self.classes]
        else:
            best = prediction.top(self.top)
            row.append(LABEL_SEPARATOR.join(f"{name}:{score:.{DECIMALS}f}" for name, score in best))
        self._rows.writerow(row)
        self.stream.flush()


def csv_header(top: int | None, classes: Sequence[str]) -> list[str]:
    """First line of a CSV file of predictions."""
    return ["image", "labels", *(classes if top is None else ["scores"])]


def check_output(output: Path | None, format: Format, *, resume: bool, overwrite: bool) -> None:
    """Refuse what would lose or mix results, before anything is computed.

    Raises:
        ConfigError: for options that do not go together, or a file that holds something already.
    """
    if resume and overwrite:
        what = ("keeps what is in the output file and ", Option("overwrite"), " drops it")
        raise ConfigError(what, option="resume", remedy="choose one")
    if resume and output is None:
        raise ConfigError(("needs the ", Option("output"), " FILE that is to be continued"), option="resume")
    if output is None:
        return
    if output.is_dir():
        raise ConfigError("this is a folder", where=str(output), remedy=f"name a file, such as {output / 'tags.jsonl'}")
    if resume and format == "table":
        remedy = ("use ", AnyOf(Option("format", "jsonl"), Option("format", "csv")), " with ", Option("resume"))
        raise ConfigError("a table cannot be continued", remedy=remedy)
    if not (resume or overwrite) and output.exists() and output.stat().st_size:
        ways = (Option("resume"), " goes on with it, ", Option("overwrite"), " starts it anew")
        raise ConfigError("the file exists", where=str(output), remedy=ways)


def finished_paths(output: Path, format: Format, top: int | None, classes: Sequence[str]) -> set[str]:
    """Images that an earlier run has written; a last line that was cut off is removed from the file.

    Raises:
        DataError: when the file is something else, or of other labels.
    """
    if not output.exists():
        return set()
    _drop_cut_line(output)
    remedy = ("name another file, or start it anew with ", Option("overwrite"))
    try:
        with output.open(encoding="utf-8", newline="") as stream:
            if format == "csv":
                rows = csv.reader(stream)
                header = next(rows, None)
                if header is not None and header != csv_header(top, classes):
                    raise DataError("the columns are not those of this run", where=str(output), remedy=remedy)
                return {row[0] for row in rows if row}
            records = [json.loads(line) for line in stream if line.strip()]
            names = {name for record in records for name in record["scores"]}
            if not names <= set(classes):
                other = min(names - set(classes))
                what = f"it holds scores of other labels, such as {other!r}"
                raise DataError(what, where=str(output), remedy=remedy)
            return {record["path"] for record in records}
    except (ValueError, KeyError, TypeError) as error:
        what = f"these are not predictions in {format} ({error!r})"
        raise DataError(what, where=str(output), remedy=remedy) from error


def _drop_cut_line(output: Path) -> None:
    content = output.read_bytes()
    if content and not content.endswith(b"\n"):
        with output.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


@contextmanager
def open_writer(
    output: Path | None,
    format: Format,
    *,
    console: Console,
    paths: Sequence[Path],
    classes: Sequence[str],
    top: int | None,
    resume: bool = False,
) -> Iterator[RowWriter]:
    """A writer of rows to a file, or to stdout.

    Args:
        output: None for stdout.
        format: see `Format`.
        console: on stdout, for a table there.
        paths: of the images to come.
        classes: names of the model.
        top: scores a row, None for all.
        resume: append to the file.
    """
    if output is None:
        yield _writer(console.file, format, lambda: console, paths, classes, top, header=True)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    header = not (resume and output.exists() and output.stat().st_size)
    with output.open("a" if resume else "w", encoding="utf-8", newline="") as stream:
        yield _writer(stream, format, lambda: Console(file=stream, width=10_000), paths, classes, top, header=header)


def _writer(
    stream: IO[str],
    format: Format,
    console: Callable[[], Console],
    paths: Sequence[Path],
    classes: Sequence[str],
    top: int | None,
    *,
    header: bool,
) -> RowWriter:
    if format == "jsonl":
        return JsonlWriter(stream, top)
    if format == "csv":
        return CsvWriter(stream, top, classes, header=header)
    return TableWriter(console(), paths, top)
