"""Scores and metrics of a model on images whose region features are at hand, and on images that are still to encode."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import Problem
from dualcoop.features.checks import check_any_read
from dualcoop.features.encoding import encode_images_once
from dualcoop.features.regions import RegionFeatures
from dualcoop.functional import DualLogits
from dualcoop.inference.prediction import Thresholds, updated_thresholds
from dualcoop.network import DualCoOpNetwork, RegionClassifier

if TYPE_CHECKING:
    from dualcoop.evaluation import EvaluationReport

SCORE_BATCH = 64
SHOWN_PROBLEMS = 3


def region_scores(model: RegionClassifier, features: RegionFeatures) -> np.ndarray:
    """Probabilities of all n images, (n, M), float32."""
    with torch.no_grad():
        score = model.ready()
        return torch.cat([score(regions).float().cpu() for regions in _batches(model, features)]).numpy()


def region_logits(model: DualCoOpNetwork, features: RegionFeatures) -> DualLogits:
    """Logits of all n images, each (n, M), float32, on the CPU; the text features are computed once."""
    with torch.no_grad():
        text = model.text_features()
        parts = [model.logits_from_regions(regions, text=text) for regions in _batches(model, features)]
    return DualLogits(*(torch.cat(each).float().cpu() for each in zip(*parts, strict=True)))


def evaluate_images(
    model: RegionClassifier,
    data: LabelledImages,
    *,
    columns: np.ndarray | None = None,
    thresholds: Thresholds | None = None,
    **encoding: Any,
) -> tuple["EvaluationReport", tuple[Problem, ...]]:
    """Encode images and measure the model on them; decisions by its thresholds.

    Args:
        model, data: any, and N images.
        columns: indices of the model's classes that the labels are of; None for all.
        thresholds: in the place of the model's.
        encoding: see `encode_images_once`.

    Returns:
        The metrics, and what is wrong with images that cannot be read and count nowhere.

    Raises:
        DataError: when none can be read; with `strict`, for the first that cannot.
    """
    features = encode_images_once(model, data, **encoding)
    check_any_read(features.kept, data, features.problems)
    scores = region_scores(model, features)[:, slice(None) if columns is None else columns]
    labels = data.labels[features.kept]
    report = evaluate_scores(model, scores, labels, features, columns=columns, thresholds=thresholds)
    return report, features.problems


def evaluate_scores(
    model: RegionClassifier,
    scores: np.ndarray,
    labels: np.ndarray,
    features: RegionFeatures,
    *,
    columns: np.ndarray | None = None,
    thresholds: Thresholds | None = None,
    decision_rule: str | None = None,
) -> "EvaluationReport":
    """Metrics of scores of the readable images; the notes name those that were left out.

    Args:
        model: gives classes and thresholds.
        scores, labels: (n, M), probabilities and what is known of them, the rows of `features`.
        features: of these images, and what is wrong with the unreadable ones.
        columns, thresholds: see `evaluate_images`.
        decision_rule: see `evaluate`.
    """
    chosen = np.arange(len(model.classes)) if columns is None else columns
    limits = updated_thresholds(model.classes, model.thresholds.cpu().numpy(), thresholds)[chosen]
    # Here, since tagging needs no metrics, nor what they are computed with.
    from dualcoop.evaluation import evaluate

    names = [model.classes[index] for index in chosen]
    report = evaluate(scores, labels, names, threshold=limits, decision_rule=decision_rule)
    if not features.problems:
        return report
    return replace(report, notes=(_left_out(features.problems, features.images), *report.notes))


def _batches(model: RegionClassifier, features: RegionFeatures) -> Iterator[Tensor]:
    for start in range(0, len(features), SCORE_BATCH):
        yield features.batch(np.arange(start, min(start + SCORE_BATCH, len(features)))).to(model.device)


def _left_out(problems: Sequence[Problem], images: int) -> str:
    # Reports go into the saved model, where the folders of one machine are nobody's business.
    shown = " ".join(str(replace(problem, path=Path(str(problem.path)).name)) for problem in problems[:SHOWN_PROBLEMS])
    more = len(problems) - SHOWN_PROBLEMS
    count = f"{len(problems)} of {images} images cannot be read and count nowhere"
    return f"{count}: {shown}" + (f" And {more} more." if more > 0 else "")
