"""Reports of metrics as tables, JSON and CSV."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rich.console import Console
from rich.table import Table

from dualcoop.counting import counted

if TYPE_CHECKING:
    from dualcoop.evaluation import EvaluationReport


ReportFormat: TypeAlias = Literal["table", "json", "csv"]
"""Forms of a report."""


def format_of(format: ReportFormat | None, output: Path | None) -> ReportFormat:
    """The format asked for, or what the file's ending says."""
    if format is not None:
        return format
    ending = "" if output is None else output.suffix.lower().lstrip(".")
    return "json" if ending == "json" else "csv" if ending == "csv" else "table"


def report_text(report: "EvaluationReport", format: ReportFormat, per_class: bool) -> str:
    """A report as the content of a file."""
    if format == "json":
        return json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"
    if format == "csv":
        rows = report.per_class_frame().to_dict("records") if per_class else report.to_rows()
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _rounded(value) for key, value in row.items()})
        return stream.getvalue()
    stream = io.StringIO()
    print_report(report, per_class, console=Console(file=stream, width=120))
    return stream.getvalue()


def print_report(
    report: "EvaluationReport", per_class: bool, *, title: str = "", console: Console | None = None
) -> None:
    """All metrics with their protocols, then the classes, then the notes."""
    print_metrics(report.to_dict(), title=title, console=console)
    if per_class:
        print_classes(report.to_dict()["per_class"], console=console)


def print_metrics(report: Mapping[str, Any], *, title: str = "", console: Console | None = None) -> None:
    """Metrics of `EvaluationReport.to_dict()`, as it stands in a saved model too."""
    console = console or Console()
    what = (
        f"{counted(report['images'], 'image')}, {counted(report['classes'], 'class')}; "
        f"{counted(report['known_positives'], 'label')} known present, {report['known_negatives']:,} known absent"
    )
    grid = Table(title=f"{title}: {what}" if title else what, title_justify="left")
    grid.add_column("metric", no_wrap=True)
    grid.add_column("%", justify="right", no_wrap=True)
    grid.add_column("how it is computed")
    for metric in report["metrics"].values():
        grid.add_row(metric["name"], _percent(metric["value"]), metric["protocol"])
    console.print(grid)
    for note in report["notes"]:
        console.print(f"Note: {note}", highlight=False, markup=False)


def print_classes(rows: Iterable[Mapping[str, Any]], *, console: Console | None = None) -> None:
    """The table of classes, hardest first by AP, those without a known positive last."""
    console = console or Console()
    grid = Table(title="per class, lowest AP first", title_justify="left")
    grid.add_column("class")
    for name in ("AP", "precision", "recall", "F1", "known present", "known absent"):
        grid.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: (row["average_precision"] is None, row["average_precision"] or 0)):
        grid.add_row(
            row["name"],
            *(_percent(row[key]) for key in ("average_precision", "precision", "recall", "f1")),
            str(row["known_positives"]),
            str(row["known_negatives"]),
        )
    console.print(grid)


def _percent(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.2f}"


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.4f}"
