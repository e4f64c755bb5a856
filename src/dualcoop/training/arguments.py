"""All options of a training run in one frozen record."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dualcoop.errors import AnyOf, ConfigError, Option, Text
from dualcoop.options import (
    AboveZero,
    Amount,
    Counted,
    FeaturePrecision,
    Precision,
    UnderOne,
    Whole,
    check_options,
    documented,
    option,
)

SCHEDULE, LOSS, IMAGES, CACHE = "Schedule", "Loss", "Images", "Cache of region features"
Augmentation: TypeAlias = Literal["none", "flip", "crop", "published"]
REDUCTIONS = ("normalised", "published")
STEPS_PER_EPOCH, SMALLEST_BATCH, LARGEST_BATCH = 16, 32, 512
# 0.03 per known pair at the published setting of COCO: batch 32, 80 classes, half of the labels known.
PUBLISHED_LOSS_WEIGHT = 0.03
NORMALISED_LOSS_WEIGHT = PUBLISHED_LOSS_WEIGHT * 32 * 80 / 2


@documented
@dataclass(frozen=True)
class TrainingArguments:
    """Options of a training run; the defaults suit a few hundred to a few thousand images.

    Raises:
        ConfigError: for a value that makes no sense, alone or together with another.
    """

    output_dir: Path | None = option(None, "Folder for everything that the run knows; without one it stays in memory.")
    epochs: Whole = option(12, "Passes over the training images.", panel=SCHEDULE)
    batch_size: Counted | None = option(
        None,
        "Images per step; by default 32 to 512, for about 16 steps per epoch. The text tower's cost, most of a step, "
        "does not depend on it.",
        panel=SCHEDULE,
    )
    optimizer: Literal["adamw", "sgd"] = option("adamw", "sgd as published.", panel=SCHEDULE)
    learning_rate: AboveZero = option(0.015, "Of the contexts.", panel=SCHEDULE)
    residual_learning_rate: AboveZero = option(0.015, "Of the residuals, where the prompts have them.", panel=SCHEDULE)
    weight_decay: Amount = option(0.0, "Of all that is trained; decoupled with adamw.", panel=SCHEDULE)
    momentum: UnderOne = option(0.9, "Of sgd.", panel=SCHEDULE)
    warmup_epochs: Whole = option(
        0,
        "Epochs at a tiny rate before the cosine starts; the last epoch is none of them, so that a run of one epoch "
        "learns.",
        panel=SCHEDULE,
    )
    warmup_learning_rate: Amount = option(1e-5, "Of the epochs of the warm-up.")
    loss: Literal["asymmetric"] = option("asymmetric", "What is minimised (Eq. 7 and 8).", panel=LOSS)
    reduction: Literal["normalised", "published"] = option(
        "normalised",
        "Mean of the loss over the known labels, for which one setting serves every batch size and proportion, or as "
        "published its sum over the batch.",
        panel=LOSS,
    )
    loss_weight: AboveZero | None = option(
        None,
        "Factor of the loss; by default 0.03 for the published reduction, and its equal at COCO's published setting "
        "for the normalised one.",
        panel=LOSS,
    )
    gamma_positive: Amount = option(1.0, "Focus on hard positives (Eq. 7).", panel=LOSS)
    gamma_negative: Amount = option(1.0, "Focus on hard negatives (Eq. 7).", panel=LOSS)
    margin: UnderOne = option(0.05, "Probability under which a negative costs nothing (Eq. 8).", panel=LOSS)
    anchor: Amount = option(
        5.0,
        "Pull of each text feature towards its start: it counts as much as this many labels per class, so it matters "
        "while few are known and fades with more.",
        panel=LOSS,
    )
    class_prior: bool = option(
        True,
        "Start from how frequent each class is among the known labels; only for backbones with a logit bias, which "
        "CLIP has not.",
        panel=LOSS,
        flags=("--class-prior/--constant-prior",),
    )
    views: Whole = option(
        1,
        "Copies of each image that are encoded before the first epoch, each epoch taking one of them at random; the "
        "first is plain, the others are augmented. 0 encodes anew in every epoch, as published.",
        panel=IMAGES,
    )
    augmentation: Augmentation = option(
        "none",
        "Of all views but the first. flip mirrors, which makes 2 views and no more; crop takes a random box of half of "
        "the image or more, squashed like the whole, and mirrors every other; published is Cutout of half the side, "
        "then RandAugment.",
        panel=IMAGES,
    )
    finetune: Literal["none", "pooling", "backbone"] = option(
        "none",
        "Train the image tower's pooling (Table 6), or all of it (appendix B), too; images are then encoded anew in "
        "every epoch.",
        panel=IMAGES,
    )
    backbone_learning_rate: AboveZero = option(1e-5, "Of the image tower's tensors.", panel=IMAGES)
    class_sample: Counted | None = option(
        None,
        "Classes drawn for each step, by default all; the paper draws 100 of NUS-WIDE's 925.",
        panel=SCHEDULE,
    )
    select: Literal["last", "best"] = option(
        "last",
        "Epoch to keep: the last, or the best by mAP on the validation images. Test data has no part in it.",
        panel=SCHEDULE,
    )
    patience: Counted | None = option(
        None,
        "Where the best epoch is kept: stop after this many without a better one; by default never.",
        panel=SCHEDULE,
    )
    fit_thresholds: bool = option(
        True,
        "Choose a threshold for each class on the validation images where there are any.",
        panel=SCHEDULE,
        flags=("--fit-thresholds/--keep-thresholds",),
    )
    checkpoint_every: Counted = option(
        1, "Epochs between checkpoints, from which a run resumes exactly.", panel=SCHEDULE
    )
    resume: bool = option(
        False,
        "Go on from the checkpoint in the output folder where there is one. Without it, a checkpoint that an earlier "
        "run left there is removed when training starts.",
    )
    strict: bool = option(
        False, "Stop at the first image that cannot be read, instead of leaving it out with a report."
    )
    seed: Whole = option(0, "Of shuffling, augmentation, class samples and random contexts.", panel=SCHEDULE)
    precision: Precision = option("float32", "Of the encoders; bfloat16 by autocast.")
    feature_precision: FeaturePrecision = option(
        "float16",
        "Of region features that are kept; int8, with a scale for each region, takes half the space, at some loss.",
    )
    cache_dir: Path | None = option(
        None,
        "Folder for region features, so that no image is encoded twice; without one they are kept for this run. Runs, "
        "processes and data sets may share it.",
    )
    cache_size: AboveZero = option(
        10.0,
        "Limit on that folder, GiB; what was used longest ago goes first. Features that do not fit are kept for this "
        "run.",
    )
    report_to: tuple[Literal["trackio", "tensorboard", "mlflow", "wandb"], ...] = option(
        (), "Experiment trackers that follow the run.", panel=SCHEDULE
    )

    def __post_init__(self) -> None:
        if self.loss in REDUCTIONS:
            raise ConfigError(
                f"is {self.loss!r}, which is how it is summed up",
                option="loss",
                remedy=("give ", Option("reduction", self.loss)),
            )
        check_options(self)
        self._check_views()
        if self.patience is not None and self.select != "best":
            what = (f"is {self.patience}, but which epoch is better plays no part with ", Option("select", self.select))
            remedy = ("give ", Option("select", "best"), " or leave ", Option("patience"), " out")
            raise ConfigError(what, option="patience", remedy=remedy)
        if self.resume and self.output_dir is None:
            raise ConfigError(("needs the ", Option("output_dir"), " of the run to go on with"), option="resume")

    def _check_views(self) -> None:
        one, two = Option("views", 1), Option("views", 2)
        random_ones = (Option("augmentation", "crop"), Option("augmentation", "published"))
        wrong, why = "views", ""
        ways: tuple[Text, ...] = ()
        if self.views > 1 and self.finetune != "none":
            why = "features that are encoded once do not follow an image tower in training"
            ways = ((Option("views", 0), " with an augmentation"), one)
        elif self.views > 1 and self.augmentation == "none":
            why = "without augmentation all would be the same"
            ways = (*((Option("augmentation", "flip"),) if self.views == 2 else ()), *random_ones, one)
        elif self.views > 2 and self.augmentation == "flip":
            why, ways = "an image and its mirror image are 2", (two, *random_ones)
        elif self.views == 1 and self.augmentation != "none":
            wrong, why = "augmentation", "the only view is the plain image"
            ways = ((two, " or more"), (Option("views", 0), " to encode anew in every epoch"))
        if why:
            what = f"is {getattr(self, wrong)!r}, but {why}"
            raise ConfigError(what, option=wrong, remedy=("give ", AnyOf(*ways)))

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
        values = asdict(self) | {"report_to": list(self.report_to)}
        return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

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
