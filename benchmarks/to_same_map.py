"""A whole run on real photographs: seconds until the validation mAP is what the published procedure reaches."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn.functional import pad

from benchmarks import reference
from benchmarks.options import Options, Row
from dualcoop import DualCoOp, PromptConfig, Trainer, TrainingArguments
from dualcoop.backbones import create_backbone
from dualcoop.backbones.base import Backbone
from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask, partial_label_mask
from dualcoop.data.splits import hold_out_images
from dualcoop.evaluation import mean_average_precision
from dualcoop.features import RegionFeatures, encode_images_once
from dualcoop.features.scoring import region_scores
from dualcoop.prompts import PromptLearner, TextFeatures
from dualcoop.training import Callback
from experiments.photographs import IMAGE_SIZES, VALID_SHARE, load_parts

DATA = "coco663"
KNOWN_FRACTION = 0.5
SEED = 0
QUICK_IMAGES = 60
# 50 epochs over few photographs are few steps: where the published recipe ends with ten times as many.
LONGER: dict[str, dict[str, Any]] = {"": {}, ", 500 epochs, bfloat16": {"epochs": 500, "precision": "bfloat16"}}


class PublishedLearner(PromptLearner):
    """The library's contexts, run as published: all 77 tokens of every prompt through open_clip's own transformer."""

    def text_features(self, backbone: Any, class_subset: Tensor | None = None) -> TextFeatures:
        """The same features at the published cost."""
        return TextFeatures({name: self._all_tokens(backbone, name, class_subset) for name in self.table})

    def _all_tokens(self, backbone: Any, name: str, class_subset: Tensor | None) -> Tensor:
        embeddings, ends = self.embeddings(name, class_subset)
        missing = backbone.context_length - embeddings.shape[1]
        return reference.text_features(backbone.text, pad(embeddings, (0, 0, 0, missing)), ends)


class OutOfTime(Exception):  # noqa: N818 - the end of a run, not an error
    """The time budget is spent."""


@dataclass
class Curve(Callback):
    """Validation mAP over the seconds of a run; hears of the epochs as a callback.

    Attributes:
        budget: seconds after which the run is cut.
        seconds, valid_map: after every epoch, mAP in percent.
    """

    budget: float
    seconds: list[float] = field(default_factory=list)
    valid_map: list[float] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)

    def epoch(self, row: dict[str, Any]) -> None:
        """Take in an epoch; raises OutOfTime after the budget."""
        self.seconds.append(time.perf_counter() - self.start)
        self.valid_map.append(row["valid_map"])
        if self.seconds[-1] > self.budget:
            raise OutOfTime

    def time_to(self, target: float) -> float | None:
        """Seconds until the mAP is at least `target`; None where it never is."""
        for seconds, value in zip(self.seconds, self.valid_map, strict=True):
            if value >= target:
                return seconds
        return None


def skipped(options: Options) -> str | None:
    """Why there is nothing to train on."""
    folder = options.data / DATA
    return None if folder.is_dir() else f"there are no photographs in {folder} (--data)"


def measure(options: Options) -> list[Row]:
    """The published run, cut at its time budget; ours with what is published about it, and with its defaults."""
    fit, held = _photographs(options)
    mask = partial_label_mask(fit, KNOWN_FRACTION, SEED)
    backbone = create_backbone("lite", device=options.device)
    size = IMAGE_SIZES[DATA]
    # Scoring needs the held-out images encoded; that is not part of anybody's run.
    scorer = DualCoOp.zero_shot(backbone.name, held.classes, backbone=backbone, image_size=size)
    held_features = encode_images_once(scorer, held, strict=True)

    def follow(
        name: str, model: DualCoOp, arguments: TrainingArguments, budget: float
    ) -> tuple[str, int, Curve, float]:
        before = mean_average_precision(region_scores(model, held_features), held.labels)
        curve = train(model, arguments, fit, mask, held, held_features, budget)
        return name, arguments.epochs, curve, before

    unlimited = float("inf")
    learnable_tower = create_backbone("lite", device=options.device)
    published = published_model(learnable_tower, fit.classes, size)
    runs = [
        follow("published", published, TrainingArguments.published(), options.seconds(options.published_seconds)),
        *(
            follow(
                f"ours, published prompts and recipe, features encoded once{more}",
                DualCoOp(backbone, fit.classes, PromptConfig.paper_partial_labels(seed=SEED), image_size=size),
                TrainingArguments.published(views=1, augmentation="none", **changes),
                unlimited,
            )
            for more, changes in LONGER.items()
        ),
        *(
            follow(
                f"ours, defaults{', bfloat16' if precision == 'bfloat16' else ''}",
                DualCoOp(backbone, fit.classes, image_size=size),
                TrainingArguments(precision=precision),
                unlimited,
            )
            for precision in ("float32", "bfloat16")
        ),
    ]
    target = max(runs[0][2].valid_map)
    reference_time = runs[0][2].time_to(target)
    return [_row(*run, target, reference_time) for run in runs]


def published_model(backbone: Backbone, classes: tuple[str, ...], image_size: int) -> DualCoOp:
    """A model with the published prompts at the published cost; the text tower's weights get gradients."""
    tower: Any = backbone
    tower.text.requires_grad_(True)
    prompts = PublishedLearner(backbone, classes, PromptConfig.paper_partial_labels(seed=SEED))
    return DualCoOp(backbone, classes, prompts, image_size=image_size)


def train(
    model: DualCoOp,
    arguments: TrainingArguments,
    fit: LabelledImages,
    mask: LabelMask,
    held: LabelledImages,
    held_features: RegionFeatures,
    budget: float,
) -> Curve:
    """One run, from photographs on disk to contexts."""
    curve = Curve(budget)
    trainer = Trainer(
        model,
        arguments,
        train=mask.apply(fit),
        valid=held,
        callbacks=[curve],
        mask=mask,
        valid_features=held_features,
    )
    curve.start = time.perf_counter()
    with suppress(OutOfTime):
        trainer.train()
    return curve


def _photographs(options: Options) -> tuple[LabelledImages, LabelledImages]:
    """Training photographs to learn from, and those held out; the test photographs have no part in this."""
    train, _ = load_parts(DATA, options.data)
    if options.quick:
        train = train.subset(np.arange(QUICK_IMAGES))
    return hold_out_images(train, round(VALID_SHARE * len(train)), SEED)


def _row(name: str, epochs: int, curve: Curve, before: float, target: float, reference_time: float | None) -> Row:
    reached = curve.time_to(target)
    done = len(curve.seconds)
    return {
        "run": name if done == epochs else f"{name}, cut after {done} of {epochs} epochs",
        "mAP before": before,
        "best mAP": max(curve.valid_map),
        "last mAP": curve.valid_map[-1],
        "s in all": curve.seconds[-1],
        "s per epoch": curve.seconds[-1] / done,
        f"s to {target:.1f} mAP": reached,
        "times faster": None if reached is None or reference_time is None else reference_time / reached,
        "seconds": curve.seconds,
        "valid_map": curve.valid_map,
    }
