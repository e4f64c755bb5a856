"""All options of a training run in one frozen record."""

import math
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from dualcoop.checks import check_whole
from dualcoop.errors import ConfigError, Option

OPTIMIZERS = ("adamw", "sgd")
LOSSES = ("asymmetric",)
REDUCTIONS = ("normalised", "published")
REPORT_TO = ("trackio", "tensorboard", "mlflow", "wandb")
AUGMENTATIONS = ("none", "flip", "crop", "published")
FINETUNE = ("none", "pooling", "backbone")
SELECT = ("last", "best")
PRECISIONS = ("float32", "bfloat16")
FEATURE_PRECISIONS = ("float16", "int8")
FOLDERS = ("output_dir", "cache_dir")
STEPS_PER_EPOCH, SMALLEST_BATCH, LARGEST_BATCH = 16, 32, 512
# 0.03 per known pair at the published setting of COCO: batch 32, 80 classes, half of the labels known.
PUBLISHED_LOSS_WEIGHT = 0.03
NORMALISED_LOSS_WEIGHT = PUBLISHED_LOSS_WEIGHT * 32 * 80 / 2


@dataclass(frozen=True)
class TrainingArguments:
    """Options of a training run; the defaults suit a few hundred to a few thousand images.

    Attributes:
        output_dir: where the run writes everything it knows; None keeps it in memory.
        epochs: passes over the training images.
        batch_size: images per step; None takes about 16 steps per epoch, with 32 to 512 images each. The text
            tower's cost, most of a step, does not depend on it.
        optimizer: "adamw", or "sgd" as published.
        learning_rate: of the contexts.
        residual_learning_rate: of the residuals, where the prompts have them.
        weight_decay: of all that is trained; decoupled with AdamW.
        momentum: of SGD, under 1.
        warmup_epochs: epochs at `warmup_learning_rate` before the cosine starts; the last epoch is none of
            them, so that a run of one epoch learns.
        warmup_learning_rate: see `warmup_epochs`.
        loss: "asymmetric" (Eq. 7 and 8).
        reduction: of the loss. "normalised" is the mean over the known labels, for which one setting serves every
            batch size and proportion; "published" is their sum over the batch.
        loss_weight: factor of the loss; None takes 0.03 for the "published" reduction and its equal at COCO's published
            setting for "normalised".
        gamma_positive, gamma_negative, margin: of the asymmetric loss (Eq. 7 and 8); the margin is under 1.
        anchor: strength of the pull of each text feature towards its start, in labels per class: the
            prior counts as much as this many labels, so it matters while few are known and fades with more.
        class_prior: where the backbone has a logit bias, replace that constant by the log-odds of each class
            among the known labels; no effect on CLIP, whose bias is 0.
        views: copies of each image that are encoded before the first epoch, each epoch taking one of them at
            random; the first is plain, the others are augmented. 0 encodes anew in every epoch, as published.
        augmentation: "none", "flip" (2 views: there is one other), "crop" (a random box of half of the image
            or more, squashed like the whole, then mirrored with probability 1/2), or "published" (Cutout of half
            the side, then RandAugment).
        finetune: "none"; "pooling" (Table 6) or "backbone" (appendix B) also train the image tower, so
            that images are encoded anew in every epoch whatever `views` is.
        backbone_learning_rate: of the image tower's tensors.
        class_sample: classes drawn for each step; None takes all (the paper draws 100 of NUS-WIDE's 925).
        select: "last" epoch, or "best" by mAP on the validation images. Test data has no part in it.
        patience: with "best" only, stop after this many epochs without a better one; None never stops early.
        fit_thresholds: choose per-class thresholds on the validation images where there are any.
        checkpoint_every: epochs between checkpoints, which allow an exact resume.
        resume: go on from the checkpoint in `output_dir` where there is one. Without it, a checkpoint that an
            earlier run left there is removed when training starts.
        strict: stop at the first image that cannot be read, instead of leaving it out with a report.
        seed: of shuffling, augmentation and class samples.
        precision: "float32", or "bfloat16" autocast for the encoders.
        feature_precision: in which region features that are encoded once are kept: "float16", or "int8" with a scale
            for each region, half the size.
        cache_dir: where they are kept from one run to the next, so that no image is encoded twice; None keeps them
            for this run. Runs, processes and data sets may share it.
        cache_size: limit on all of `cache_dir`, GiB; what was used longest ago goes first. Features that do not fit
            are kept for this run.
        report_to: experiment trackers that follow the run: "trackio", "tensorboard", "mlflow", "wandb".

    Raises:
        ConfigError: for a value that makes no sense, alone or together with another.
    """

    output_dir: Path | None = None
    epochs: int = 12
    batch_size: int | None = None
    optimizer: str = "adamw"
    learning_rate: float = 0.015
    residual_learning_rate: float = 0.015
    weight_decay: float = 0.0
    momentum: float = 0.9
    warmup_epochs: int = 0
    warmup_learning_rate: float = 1e-5
    loss: str = "asymmetric"
    reduction: str = "normalised"
    loss_weight: float | None = None
    gamma_positive: float = 1.0
    gamma_negative: float = 1.0
    margin: float = 0.05
    anchor: float = 5.0
    class_prior: bool = True
    views: int = 1
    augmentation: str = "none"
    finetune: str = "none"
    backbone_learning_rate: float = 1e-5
    class_sample: int | None = None
    select: str = "last"
    patience: int | None = None
    fit_thresholds: bool = True
    checkpoint_every: int = 1
    resume: bool = False
    strict: bool = False
    seed: int = 0
    precision: str = "float32"
    feature_precision: str = "float16"
    cache_dir: Path | None = None
    cache_size: float = 10.0
    report_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in FOLDERS:
            folder = getattr(self, name)
            if folder is not None:
                if not isinstance(folder, str | os.PathLike):
                    raise ConfigError(f"{name} is {folder!r}, expected a folder")
                object.__setattr__(self, name, Path(folder))
        if self.loss in REDUCTIONS:
            raise ConfigError(
                f"is {self.loss!r}, which is how it is summed up",
                option="loss",
                remedy=("give ", Option("reduction", self.loss)),
            )
        choices = {
            "optimizer": OPTIMIZERS,
            "loss": LOSSES,
            "reduction": REDUCTIONS,
            "augmentation": AUGMENTATIONS,
            "finetune": FINETUNE,
            "select": SELECT,
            "precision": PRECISIONS,
            "feature_precision": FEATURE_PRECISIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        if not isinstance(self.report_to, list | tuple) or not set(self.report_to) <= set(REPORT_TO):
            raise ConfigError(f"is {self.report_to!r}, expected some of {', '.join(REPORT_TO)}", option="report_to")
        object.__setattr__(self, "report_to", tuple(self.report_to))
        self._check_numbers()
        for name in ("class_prior", "fit_thresholds", "resume", "strict"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected True or False")
        self._check_views()
        if self.patience is not None and self.select != "best":
            raise ConfigError(
                f"patience is {self.patience}, but which epoch is better plays no part with select="
                f"{self.select!r}: give select='best' or leave patience out"
            )
        if self.resume and self.output_dir is None:
            raise ConfigError("resume needs the output_dir of the run to go on with")

    def _check_numbers(self) -> None:
        least_values = {"epochs": 0, "warmup_epochs": 0, "views": 0, "seed": 0, "checkpoint_every": 1}
        for name, least in least_values.items():
            check_whole(name, getattr(self, name), least)
        for name in ("batch_size", "class_sample", "patience"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        for name in ("learning_rate", "residual_learning_rate", "backbone_learning_rate", "cache_size"):
            _check_number(name, getattr(self, name), above=True)
        for name in ("weight_decay", "warmup_learning_rate", "gamma_positive", "gamma_negative", "anchor"):
            _check_number(name, getattr(self, name))
        for name in ("momentum", "margin"):
            _check_number(name, getattr(self, name), under=1)
        if self.loss_weight is not None:
            _check_number("loss_weight", self.loss_weight, above=True)

    def _check_views(self) -> None:
        if self.views > 1 and self.finetune != "none":
            raise ConfigError(
                f"views is {self.views}, but features that are encoded once do not follow an image tower in "
                "training: give views=0 with an augmentation, or views=1"
            )
        if self.views > 1 and self.augmentation == "none":
            mirrored = "'flip', " if self.views == 2 else ""
            raise ConfigError(
                f"views is {self.views}, but without augmentation all would be the same: "
                f"give augmentation={mirrored}'crop' or 'published', or views=1"
            )
        if self.views > 2 and self.augmentation == "flip":
            raise ConfigError(
                f"views is {self.views}, but an image and its mirror image are 2: "
                "give views=2, or augmentation='crop' or 'published'"
            )
        if self.views == 1 and self.augmentation != "none":
            raise ConfigError(
                f"augmentation is {self.augmentation!r}, but the only view is the plain image: "
                "give views=2 or more, or views=0 to encode anew in every epoch"
            )

    def images_per_step(self, images: int) -> int:
        """`batch_size`, or what suits a training set of this many images."""
        if self.batch_size is not None:
            return self.batch_size
        return min(max(-(-images // STEPS_PER_EPOCH), SMALLEST_BATCH), LARGEST_BATCH)

    @property
    def effective_loss_weight(self) -> float:
        """`loss_weight`, or the default that belongs to `reduction`."""
        if self.loss_weight is not None:
            return self.loss_weight
        return PUBLISHED_LOSS_WEIGHT if self.reduction == "published" else NORMALISED_LOSS_WEIGHT

    @classmethod
    def published(cls, *, voc: bool = False, zero_shot: bool = False, **changes: Any) -> "TrainingArguments":
        """The paper's schedule (section 4.1, 4.2) in the published scale of the loss.

        Args:
            voc: learning rate 0.001 and batch 8 instead of COCO's 0.002 and 32.
            zero_shot: loss weight 0.01 instead of 0.03, which belongs to 50 % of the labels.
            changes: fields to set otherwise.
        """
        recipe = cls(
            epochs=50,
            batch_size=8 if voc else 32,
            optimizer="sgd",
            learning_rate=0.001 if voc else 0.002,
            weight_decay=5e-4,
            warmup_epochs=1,
            gamma_negative=2.0,
            anchor=0.0,
            class_prior=False,
            reduction="published",
            loss_weight=0.01 if zero_shot else PUBLISHED_LOSS_WEIGHT,
            views=0,
            augmentation="published",
        )
        return replace(recipe, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values."""
        values = asdict(self)
        values |= {name: str(values[name]) for name in FOLDERS if values[name] is not None}
        return values | {"report_to": list(self.report_to)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingArguments":
        """The reverse of `to_dict`.

        Raises:
            ConfigError: for unknown fields, or values that make no sense.
        """
        values = renewed(values)
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(f"unknown training options: {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return cls(**values)


def renewed(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a record as they are called now: `loss` once named the reduction."""
    if options.get("loss") in REDUCTIONS:
        return {**options, "loss": "asymmetric", "reduction": options["loss"]}
    return options


def _check_number(name: str, value: object, *, above: bool = False, under: float = math.inf) -> None:
    valid = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < under
    if not valid or (above and value == 0):
        limit = "" if under == math.inf else f" and under {under:g}"
        raise ConfigError(f"{name} is {value!r}, expected a number {'above' if above else 'of at least'} 0{limit}")
