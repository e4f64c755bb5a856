"""What the demo was asked for and what came out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualcoop.data.labels import LabelledImages
from dualcoop.evaluation import EvaluationReport
from dualcoop.methods.base import Method
from dualcoop.training import TrainingArguments

ZERO_SHOT, LINEAR, SPECIFIC, SHARED = "zero-shot", "linear", "class-specific", "shared"
TITLES = {
    ZERO_SHOT: (
        "no training (zero-shot)",
        "each image is compared with the words “a photo of a dog” and so on",
    ),
    LINEAR: (
        "linear classifier",
        "a logistic regression for each class, on the same image features and the same labels; it knows no words",
    ),
    SPECIFIC: (
        "DualCoOp, class-specific",
        "starts from the words and learns two prompts for each class: one for “it is there”, one for “it is not”",
    ),
    SHARED: (
        "DualCoOp, shared",
        "learns one such pair of prompts for all classes together, which works with any further word too",
    ),
}


@dataclass(frozen=True)
class DemoOptions:
    """Everything that decides the demo's numbers; nothing was chosen by looking at the test images.

    Attributes:
        known_fraction: share of the labels of the training images that may be seen.
        valid_fraction: share of the training images held out to choose thresholds and the classifier's C.
        seeds: of hidden labels, held-out images and training, one run each; the images shown are from the
            first.
        epochs: of training; None for the default of `TrainingArguments`.
        train_limit, test_limit: use the first so many images only; None for all.
    """

    known_fraction: float = 0.25
    valid_fraction: float = 0.2
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int | None = None
    train_limit: int | None = None
    test_limit: int | None = None


@dataclass(frozen=True)
class Run:
    """One method with one seed on the test images.

    Attributes:
        scores: (N, M), in [0, 1].
        decisions: (N, M), by per-class thresholds chosen on the validation images.
        report: all metrics.
        seconds: of training.
    """

    scores: NDArray[np.float32]
    decisions: NDArray[np.bool_]
    report: EvaluationReport
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """One method with every seed; `runs` has one entry a seed."""

    key: str
    runs: tuple[Run, ...]

    @property
    def title(self) -> str:
        """For people."""
        return TITLES[self.key][0]

    @property
    def explanation(self) -> str:
        """What the method does, half a sentence."""
        return TITLES[self.key][1]

    @property
    def ours(self) -> bool:
        """Whether it is what the paper proposes, and so drawn in colour."""
        return self.key in (SPECIFIC, SHARED)

    def values(self, metric: str = "mAP") -> list[float]:
        """One metric of every run, percent."""
        return [run.report[metric] for run in self.runs]

    def mean(self, metric: str = "mAP") -> float:
        """Mean of one metric over the runs, percent."""
        return float(np.mean(self.values(metric)))


@dataclass(frozen=True)
class DemoResult:
    """All that the report shows.

    Attributes:
        options: of the demo.
        train: all training images with all labels.
        shown: those of the first seed that are trained on, labels hidden.
        valid: those of the first seed that were held out, labels hidden.
        test: N images with all labels.
        outcomes: by key, zero-shot first.
        model: class-specific prompts of the first seed, trained.
        arguments: of the training.
        seconds: of everything.
    """

    options: DemoOptions
    train: LabelledImages
    shown: LabelledImages
    valid: LabelledImages
    test: LabelledImages
    outcomes: dict[str, Outcome]
    model: Method
    arguments: TrainingArguments
    seconds: float
