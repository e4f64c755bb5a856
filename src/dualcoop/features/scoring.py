"""Logits and metrics of a model on images whose region features are at hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dualcoop.data.problems import Problem
from dualcoop.evaluation import EvaluationReport, evaluate
from dualcoop.features.encoding import RegionFeatures
from dualcoop.functional import DualLogits, probabilities
from dualcoop.network import DualCoOpNetwork

SCORE_BATCH = 64
SHOWN_PROBLEMS = 3


def region_logits(model: DualCoOpNetwork, features: RegionFeatures) -> DualLogits:
    """Logits of all n images, each (n, M), float32, on the CPU; the text features are computed once."""
    parts = []
    with torch.no_grad():
        text = model.text_features()
        for start in range(0, len(features), SCORE_BATCH):
            rows = np.arange(start, min(start + SCORE_BATCH, len(features)))
            parts.append(model.logits_from_regions(features.batch(rows).to(model.device), text=text))
    return DualLogits(*(torch.cat(each).float().cpu() for each in zip(*parts, strict=True)))


def region_scores(model: DualCoOpNetwork, features: RegionFeatures) -> np.ndarray:
    """Probabilities of all n images, (n, M), float32."""
    return probabilities(region_logits(model, features)).numpy()


def judge(
    model: DualCoOpNetwork,
    scores: np.ndarray,
    labels: np.ndarray,
    features: RegionFeatures,
    *,
    decision_rule: str | None = None,
) -> EvaluationReport:
    """Metrics of scores (n, M) of the readable images; the notes name those that were left out.

    Args:
        model: gives the thresholds.
        scores: probabilities, the rows of `features`.
        labels: (n, M), of the same images.
        features: of these images, and what is wrong with the unreadable ones.
        decision_rule: see `evaluate`.
    """
    report = evaluate(
        scores,
        labels,
        model.classes,
        threshold=model.thresholds.cpu().numpy(),
        decision_rule=decision_rule,
    )
    if not features.problems:
        return report
    return replace(report, notes=(_left_out(features.problems, features.images), *report.notes))


def _left_out(problems: Sequence[Problem], images: int) -> str:
    # Reports go into the saved model, where the folders of one machine are nobody's business.
    shown = " ".join(str(replace(problem, path=Path(str(problem.path)).name)) for problem in problems[:SHOWN_PROBLEMS])
    more = len(problems) - SHOWN_PROBLEMS
    count = f"{len(problems)} of {images} images cannot be read and count nowhere"
    return f"{count}: {shown}" + (f" And {more} more." if more > 0 else "")
