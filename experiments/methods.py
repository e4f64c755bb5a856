"""The methods that are compared, on the same features and masks: each gives scores of the test images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualcoop import DualCoOp, PromptConfig, Trainer, TrainingArguments
from dualcoop.baselines import LinearProbe
from dualcoop.data.masks import LabelMask
from dualcoop.features.encoding import RegionFeatures
from dualcoop.functional import probabilities
from dualcoop.network import DualCoOpNetwork
from experiments.photographs import Photographs

CLASS_SPECIFIC = PromptConfig(class_specific=True)
CONTEXTS_ALONE = PromptConfig(class_specific=True, residual=False)
SHARED = PromptConfig(class_specific=False)
SCORE_BATCH = 64


def scores(model: DualCoOpNetwork, features: RegionFeatures) -> np.ndarray:
    """Probabilities of all images, (N, M)."""
    parts = []
    with torch.no_grad():
        for rows in np.split(np.arange(len(features)), range(SCORE_BATCH, len(features), SCORE_BATCH)):
            parts.append(probabilities(model.logits_from_regions(features.batch(rows))).numpy())
    return np.concatenate(parts)


def untrained(photographs: Photographs, classes: Sequence[str]) -> DualCoOp:
    """The backbone with hand-crafted prompts."""
    backbone = photographs.backbone
    return DualCoOp.zero_shot(backbone.name, classes, backbone=backbone, image_size=photographs.image_size)


def zero_shot(photographs: Photographs) -> np.ndarray:
    """Hand-crafted prompts, no training."""
    return scores(untrained(photographs, photographs.train.classes), photographs.test_features)


def linear(photographs: Photographs, mask: LabelMask, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Logistic regression per class on the mean region; C chosen on held-out training images."""
    labels = mask.apply(photographs.train).labels
    features = photographs.train_features.global_regions()
    fit, choose = photographs.validation_rows(seed)
    probe = LinearProbe(refit=True).fit(features[fit], labels[fit], features[choose], labels[choose])
    found = {"C": probe.C_, "validation_mAP": {str(c): value for c, value in probe.validation_map_.items()}}
    return probe.decision_function(photographs.test_features.global_regions()), found


def dualcoop(
    photographs: Photographs,
    mask: LabelMask,
    seed: int,
    prompts: PromptConfig,
    arguments: TrainingArguments,
    folder: Path | None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Prompts trained on all training images with the labels that the mask leaves, last epoch."""
    data = mask.apply(photographs.train)
    model = DualCoOp(
        photographs.backbone,
        data.classes,
        replace(prompts, seed=seed),
        image_size=photographs.image_size,
    )
    result = Trainer(
        model,
        replace(arguments, seed=seed, output_dir=folder),
        train=data,
        mask=mask,
        source={"data": photographs.name},
        train_features=photographs.train_features,
    ).train()
    return scores(model, photographs.test_features), {"training_seconds": result.seconds}
