"""The results as one image."""

from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.options import Row
from benchmarks.results import Results

COLUMNS = 2
OURS, PUBLISHED = "#dd8452", "#4c72b0"


def draw(results: Results, path: Path) -> None:
    """Write a PNG with a panel for every part that has one and was run; none, no file."""
    panels = [(draw_panel, results.rows(name)) for name, draw_panel in PANELS.items() if results.rows(name)]
    if not panels:
        return
    lines = ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(7 * COLUMNS, 4.5 * lines), layout="constrained")
    for place, (draw_panel, rows) in enumerate(panels, start=1):
        draw_panel(figure.add_subplot(lines, COLUMNS, place), rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _steps(axes: Any, rows: list[Row]) -> None:
    labels = [f"{row['setting'].partition(':')[0]}, {row['procedure']}" for row in rows]
    colours = [PUBLISHED if row["procedure"] == "published" else OURS for row in rows]
    axes.bar_label(axes.barh(labels, [row["s per step"] for row in rows], color=colours), fmt="%.3g", padding=2)
    axes.invert_yaxis()
    axes.set_xscale("log")
    # Room for the longest bar's figure.
    axes.set_xlim(right=2 * max(row["s per step"] for row in rows))
    axes.set_xlabel("seconds per step")
    axes.set_title("A training step")


def _to_same_map(axes: Any, rows: list[Row]) -> None:
    for row in rows:
        axes.plot(row["seconds"], row["valid_map"], marker=".", label=row["run"])
    axes.set_xscale("log")
    axes.set_xlabel("seconds")
    axes.set_ylabel("validation mAP, %")
    axes.set_title("Photographs")
    # Below the axes: the curves leave no room for it.
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.13))


def _growth(size: str, title: str, how: tuple[str, str]) -> Callable[[Any, list[Row]], None]:
    """Log-log panel; what is computed is hollow."""

    def panel(axes: Any, rows: list[Row]) -> None:
        for name, colour, column in (("published", PUBLISHED, how[0]), ("ours", OURS, how[1])):
            axes.plot([row[size] for row in rows], [row[f"{name}, s"] for row in rows], color=colour, label=name)
            for row in rows:
                face = colour if row[column] == "measured" else "white"
                axes.plot(row[size], row[f"{name}, s"], "o", color=colour, markerfacecolor=face)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"{size} (hollow: computed from measured rates)")
        axes.set_ylabel("seconds")
        axes.set_title(title)
        axes.legend(fontsize="small")

    return panel


PANELS: dict[str, Callable[[Any, list[Row]], None]] = {
    "steps": _steps,
    "to_same_map": _to_same_map,
    "classes": _growth("classes", "A step of text path and head", ("published", "ours")),
    "images": _growth("images", "A run of 50 epochs", ("50 epochs", "50 epochs")),
}
