"""Loss and metric curves of a run, as CSV to compute with and PNG to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dualcoop.files import replacing, write_file
from dualcoop.training.callbacks import Callback
from dualcoop.training.result import TrainingResult

HISTORY_FILE = "history.csv"
CURVES_FILE = "curves.png"


@dataclass(eq=False)
class HistoryFiles(Callback):
    """Writes the history of a run, which grows, into its folder: after every epoch as CSV, at the end as curves too."""

    folder: Path
    history: Sequence[dict[str, Any]]

    def epoch(self, row: dict[str, Any]) -> None:
        """Write the CSV."""
        write_history(self.history, self.folder / HISTORY_FILE)

    def end(self, result: TrainingResult) -> None:
        """Write both, if there was an epoch at all."""
        if result.history:
            write_history(result.history, self.folder / HISTORY_FILE)
            plot_history(result.history, self.folder / CURVES_FILE)


def write_history(history: Sequence[dict[str, Any]], path: Path) -> None:
    """One CSV row per epoch, replaced as a whole; values that are not defined are empty."""
    write_file(path, pd.DataFrame(list(history)).to_csv(index=False))


def plot_history(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Loss on the left and, where there are validation images, their mAP on the right, over epochs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frame = pd.DataFrame(list(history))
    scored = "valid_map" in frame
    figure = Figure(figsize=(9 if scored else 5, 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    axes[0].plot(frame["epoch"], frame["loss"], marker=".", label="training")
    if "valid_loss" in frame:
        axes[0].plot(frame["epoch"], frame["valid_loss"], marker=".", label="validation")
        axes[0].legend()
    axes[0].set(xlabel="epoch", ylabel="asymmetric loss, mean over known labels")
    if scored:
        axes[1].plot(frame["epoch"], frame["valid_map"], marker=".", color="tab:green")
        axes[1].set(xlabel="epoch", ylabel="validation mAP, % (classes without positives skipped)")
    with replacing(path) as file:
        figure.savefig(file, dpi=120, format="png")
