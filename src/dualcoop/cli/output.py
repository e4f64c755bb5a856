"""Predictions as rows: a table to look at, JSONL or CSV to go on with; each row is out as soon as it is made."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, TypeAlias

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
Writer: TypeAlias = "Callable[[Prediction], None]"
"""Writes one prediction so that nothing of it stays in a buffer."""


def chosen_format(format: Format | None, output: Path | None) -> Format:
    """The format asked for, or what the file's ending says; a table on the terminal, JSONL in other files."""
    if format is not None or output is None:
        return format or "table"
    return "csv" if output.suffix.lower() == ".csv" else "jsonl"


def table_writer(console: Console, paths: Sequence[Path], top: int | None) -> Writer:
    """Lines for people: the image, then its `top` best labels with their scores, those decided present marked.

    All `paths` decide the width of the first column; on a terminal it has a limit, and lines are cut.
    """
    cut = console.is_terminal
    width = max((cell_len(str(path)) for path in paths), default=0)
    width = min(width, PATH_WIDTH) if cut else width

    def write(prediction: "Prediction") -> None:
        name = str(prediction.path)
        if cell_len(name) > width:
            name = "..." + name[len(name) - width + 3 :]
        line = Text(name + " " * (width - cell_len(name)))
        for label, score in _best(prediction, top):
            present = prediction.decisions[label]
            line.append("  ")
            line.append(f"{MARK if present else ''}{label} {score:.2f}", style="bold green" if present else "dim")
        overflow: Literal["ellipsis"] | None = "ellipsis" if cut else None
        console.print(line, no_wrap=cut, overflow=overflow, crop=cut, soft_wrap=not cut, highlight=False)
        console.file.flush()

    return write


def jsonl_writer(stream: IO[str], top: int | None) -> Writer:
    """One JSON object a line: path, labels (decided present, best first), the `top` best scores (best first)."""

    def write(prediction: "Prediction") -> None:
        scores = {name: round(score, DECIMALS) for name, score in _best(prediction, top)}
        row = {"path": str(prediction.path), "labels": list(prediction.labels), "scores": scores}
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        stream.flush()

    return write


def csv_writer(stream: IO[str], top: int | None, classes: Sequence[str], *, header: bool) -> Writer:
    """Columns image, labels (`dog;beach`, decided present) and the `top` best scores; or all, one for each class."""
    rows = csv.writer(stream, lineterminator="\n")
    if header:
        rows.writerow(csv_header(top, classes))
        stream.flush()

    def write(prediction: "Prediction") -> None:
        if top is None:
            scores = [f"{prediction.scores[name]:.{DECIMALS}f}" for name in classes]
        else:
            scores = [LABEL_SEPARATOR.join(f"{name}:{score:.{DECIMALS}f}" for name, score in prediction.top(top))]
        rows.writerow([str(prediction.path), LABEL_SEPARATOR.join(prediction.labels), *scores])
        stream.flush()

    return write


def csv_header(top: int | None, classes: Sequence[str]) -> list[str]:
    """First line of a CSV file of predictions."""
    return ["image", "labels", *(classes if top is None else ["scores"])]


def _best(prediction: "Prediction", top: int | None) -> list[tuple[str, float]]:
    return prediction.top(len(prediction.scores) if top is None else top)


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
    content = output.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(output, content.rfind(b"\n") + 1)
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
) -> Iterator[Writer]:
    """What writes rows to a file, at its end to `resume`; without one, to stdout through `console`.

    It needs the `paths` of all images to come, the model's `classes`, and the number of scores a row, None for all.
    """

    def writer(stream: IO[str], console: Console | None = None, *, header: bool = True) -> Writer:
        if format == "jsonl":
            return jsonl_writer(stream, top)
        if format == "csv":
            return csv_writer(stream, top, classes, header=header)
        return table_writer(console or Console(file=stream, width=10_000), paths, top)

    if output is None:
        yield writer(console.file, console)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    header = not (resume and output.exists() and output.stat().st_size)
    with output.open("a" if resume else "w", encoding="utf-8", newline="") as stream:
        yield writer(stream, header=header)
