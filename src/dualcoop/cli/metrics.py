"""Reports of metrics as tables, JSON and CSV."""

import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rich.console import Console
from rich.table import Column, Table

from dualcoop.counting import counted

if TYPE_CHECKING:
    from dualcoop.evaluation import EvaluationReport


ReportFormat: TypeAlias = Literal["table", "json", "csv"]
"""Forms of a report."""


def format_of(format: ReportFormat | None, output: Path | None) -> ReportFormat:
    """The format asked for, or what the file's ending says."""
    if format is not None:
        return format
    endings: dict[str, ReportFormat] = {".json": "json", ".csv": "csv"}
    return "table" if output is None else endings.get(output.suffix.lower(), "table")


def report_text(report: "EvaluationReport", format: ReportFormat, per_class: bool) -> str:
    """A report as the content of a file."""
    if format == "json":
        return json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n"
    if format == "csv":
        import pandas as pd

        frame = report.per_class_frame() if per_class else pd.DataFrame(report.to_rows())
        return frame.to_csv(index=False, float_format="%.4f", lineterminator="\n")
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
    headers = (Column("metric", no_wrap=True), Column("%", justify="right", no_wrap=True), "how it is computed")
    grid = Table(*headers, title=f"{title}: {what}" if title else what, title_justify="left")
    for metric in report["metrics"].values():
        grid.add_row(metric["name"], _percent(metric["value"]), metric["protocol"])
    console.print(grid)
    for note in report["notes"]:
        console.print(f"Note: {note}", highlight=False, markup=False)


def print_classes(rows: Iterable[Mapping[str, Any]], *, console: Console | None = None) -> None:
    """The table of classes, hardest first by AP, those without a known positive last."""
    console = console or Console()
    names = ("AP", "precision", "recall", "F1", "known present", "known absent")
    columns = (Column(name, justify="right") for name in names)
    grid = Table("class", *columns, title="per class, lowest AP first", title_justify="left")
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
