"""The demo in one image, for a slide or a README."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dualcoop.demo.gallery import Exhibit, ShownLabel
from dualcoop.demo.outcome import DemoResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"right": "#17753f", "wrong": "#b3261e", "missed": "#8a6100"}
OURS, OTHER = "#0b6e99", "#a9b4c0"
IMAGES = 3
LABELS = 6
LINE = 0.13


def write_overview(result: DemoResult, path: Path, exhibits: Sequence[Exhibit]) -> Path:
    """Draw the bars of all methods, and the first images with heat maps and labels before and after.

    Args:
        result: of `run_demo`.
        path: PNG; its folder exists.
        exhibits: drawn at random; the first are shown.
    """
    from matplotlib.figure import Figure

    chosen = exhibits[:IMAGES]
    figure = Figure(figsize=(12.5, 3.6 + 2.05 * len(chosen)), facecolor="white")
    grid = figure.add_gridspec(
        len(chosen) + 1,
        4,
        height_ratios=[1.1, *[1] * len(chosen)],
        width_ratios=[1.1, 1.1, 0.9, 0.9],
        hspace=0.3,
        wspace=0.06,
        left=0.02,
        right=0.98,
        top=0.93,
        bottom=0.03,
    )
    _bars(figure.add_subplot(grid[0, 1:]), result)
    for row, each in enumerate(chosen, start=1):
        image, heat, before, after = (figure.add_subplot(grid[row, column]) for column in range(4))
        image.imshow(each.image)
        if each.heated is not None and each.heat_map is not None:
            heat.imshow(each.heated)
            heat.set_title(f"where it looked for “{each.heat_map.label}”", fontsize=10)
        _labels(before, each.before, "before: no training")
        _labels(after, each.after, "after: DualCoOp")
        for axes in (image, heat, before, after):
            axes.set_axis_off()
    figure.savefig(path, dpi=110)
    return path


def _bars(axes: "Axes", result: DemoResult) -> None:
    """One bar a method, with the range over the rounds."""
    for place, outcome in enumerate(result.outcomes.values()):
        mean, low, high = outcome.mean(), min(outcome.values()), max(outcome.values())
        axes.barh(place, mean, color=OURS if outcome.ours else OTHER, height=0.66)
        axes.plot([low, high], [place, place], color="black", linewidth=1.2)
        weight = "bold" if outcome.ours else "normal"
        axes.text(high + 0.8, place, f"{mean:.1f}", va="center", fontsize=11, fontweight=weight)
    axes.set_yticks(range(len(result.outcomes)), [each.title for each in result.outcomes.values()], fontsize=11)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(
        f"{len(result.train)} photographs, {100 * result.options.known_fraction:.0f} % of their labels known: mAP "
        f"(classes without positives\nskipped) on {len(result.test)} others, mean and range of "
        f"{len(result.options.seeds)} rounds",
        fontsize=11,
        loc="left",
    )


def _labels(axes: "Axes", labels: Sequence[ShownLabel], title: str) -> None:
    """Labels below each other in the colour of their verdict."""
    axes.set_title(title, fontsize=10, loc="left")
    words = {"right": "", "wrong": " (wrong)", "missed": " (missed)"}
    for line, label in enumerate(labels[:LABELS]):
        axes.text(
            0,
            0.93 - LINE * line,
            f"{label.name} {label.score:.2f}{words[label.verdict]}",
            color=COLOURS[label.verdict],
            fontsize=10.5,
            fontweight="bold" if label.verdict == "right" else "normal",
            va="top",
            transform=axes.transAxes,
        )
    if len(labels) > LABELS:
        axes.text(0, 0.93 - LINE * LABELS, f"and {len(labels) - LABELS} more", fontsize=9, color="grey", va="top")
