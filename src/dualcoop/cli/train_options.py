"""Options of `dualcoop train`; names and defaults are those of `TrainingArguments` and `PromptConfig`."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dualcoop.training.arguments import TrainingArguments

DEFAULTS = TrainingArguments()
PROMPTS = "Prompts"
SCHEDULE = "Schedule"
LOSS = "Loss"
IMAGES = "Images"
HOLD_OUT = "Labels and parts"


class Recipe(str, Enum):
    """Sets of defaults."""

    default = "default"
    published = "published"
    published_voc = "published-voc"
    published_zero_shot = "published-zero-shot"


class Absence(str, Enum):
    """How dual prompts say that a class is absent."""

    words = "words"
    opposite = "opposite"


class Mode(str, Enum):
    """Prompts that are learned."""

    dual = "dual"
    positive = "positive"
    negative = "negative"


class Aggregation(str, Enum):
    """How regions become one score."""

    softmax = "softmax"
    average = "average"
    maximum = "maximum"
    attention = "attention"


class Optimizer(str, Enum):
    """Optimizers."""

    adamw = "adamw"
    sgd = "sgd"


class Loss(str, Enum):
    """Losses."""

    asymmetric = "asymmetric"


class Reduction(str, Enum):
    """Scales of the loss."""

    normalised = "normalised"
    published = "published"


class Augmentation(str, Enum):
    """What happens to training images."""

    none = "none"
    flip = "flip"
    crop = "crop"
    published = "published"


class Finetune(str, Enum):
    """Parts of the image tower that are trained too."""

    none = "none"
    pooling = "pooling"
    backbone = "backbone"


class Select(str, Enum):
    """Which epoch is kept."""

    last = "last"
    best = "best"


@dataclass(frozen=True)
class OutputOptions:
    """What happens to the output folder."""

    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for the model and its records.", show_default=False),
    ] = None
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in the output folder.")] = (
        False
    )
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model or the interrupted run in the output folder.")
    ] = False


@dataclass(frozen=True)
class HoldOutOptions:
    """Which labels may be seen, and which images judge."""

    known_fraction: Annotated[
        float | None,
        typer.Option(
            help="Hide labels at random and train on this share of them, to see what few labels do; validation "
            "labels are hidden alike.",
            rich_help_panel=HOLD_OUT,
            show_default=False,
        ),
    ] = None
    mask_seed: Annotated[int, typer.Option(min=0, help="Which labels are hidden.", rich_help_panel=HOLD_OUT)] = 0
    valid_fraction: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9,
            help="Share of the training images held out to choose thresholds and to report on. By default 0.2 "
            "where the table has no valid part, otherwise none.",
            rich_help_panel=HOLD_OUT,
            show_default=False,
        ),
    ] = None
    split_seed: Annotated[int, typer.Option(min=0, help="Which images are held out.", rich_help_panel=HOLD_OUT)] = 0


@dataclass(frozen=True)
class PromptOptions:
    """What the prompts look like; fields of `PromptConfig` but `shared`, which is its `class_specific` reversed."""

    shared: Annotated[
        bool,
        typer.Option(
            "--shared/--class-specific",
            help="One pair of contexts for all classes, which carries over to new names, or a pair for each class.",
            rich_help_panel=PROMPTS,
        ),
    ] = False
    mode: Annotated[Mode, typer.Option(help="Which prompts are learned.", rich_help_panel=PROMPTS)] = Mode.dual
    positive_tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="N+, by default as many as the phrase has.",
            rich_help_panel=PROMPTS,
            show_default=False,
        ),
    ] = None
    negative_tokens: Annotated[
        int | None, typer.Option(min=1, help="N-, likewise.", rich_help_panel=PROMPTS, show_default=False)
    ] = None
    positive_init: Annotated[
        str, typer.Option(help='Phrase to start from; "random" for random vectors.', rich_help_panel=PROMPTS)
    ] = "a photo of a"
    negative_init: Annotated[
        str,
        typer.Option(help="The same for the negative prompt, which then speaks in words.", rich_help_panel=PROMPTS),
    ] = "a photo without a"
    residual: Annotated[
        bool | None,
        typer.Option(
            "--residual/--no-residual",
            help="Also learn a vector per class that is added to its text feature; by default with class-specific "
            "contexts. The paper has none.",
            rich_help_panel=PROMPTS,
            show_default=False,
        ),
    ] = None
    absence: Annotated[
        Absence | None,
        typer.Option(
            help="How a prompt says that a class is absent: in words, as published, or by the opposite text feature; "
            "by default what suits the backbone.",
            rich_help_panel=PROMPTS,
            show_default=False,
        ),
    ] = None
    aggregation: Annotated[Aggregation, typer.Option(help="How regions become one score.", rich_help_panel=PROMPTS)] = (
        Aggregation.softmax
    )


@dataclass(frozen=True)
class TrainingOptions:
    """Fields of `TrainingArguments` under its names, with its defaults."""

    epochs: Annotated[int, typer.Option(min=0, help="Passes over the images.", rich_help_panel=SCHEDULE)] = (
        DEFAULTS.epochs
    )
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images per step; by default 32 to 512, for about 16 steps per epoch.",
            rich_help_panel=SCHEDULE,
            show_default=False,
        ),
    ] = DEFAULTS.batch_size
    optimizer: Annotated[Optimizer, typer.Option(help="sgd as published.", rich_help_panel=SCHEDULE)] = Optimizer[
        DEFAULTS.optimizer
    ]
    learning_rate: Annotated[float, typer.Option(help="Of the contexts.", rich_help_panel=SCHEDULE)] = (
        DEFAULTS.learning_rate
    )
    residual_learning_rate: Annotated[float, typer.Option(help="Of the residuals.", rich_help_panel=SCHEDULE)] = (
        DEFAULTS.residual_learning_rate
    )
    weight_decay: Annotated[float, typer.Option(help="Of the contexts.", rich_help_panel=SCHEDULE)] = (
        DEFAULTS.weight_decay
    )
    momentum: Annotated[float, typer.Option(help="Of sgd.", rich_help_panel=SCHEDULE)] = DEFAULTS.momentum
    warmup_epochs: Annotated[int, typer.Option(min=0, help="At a tiny rate.", rich_help_panel=SCHEDULE)] = (
        DEFAULTS.warmup_epochs
    )
    class_sample: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Classes drawn for each step, by default all.",
            rich_help_panel=SCHEDULE,
            show_default=False,
        ),
    ] = DEFAULTS.class_sample
    select: Annotated[
        Select,
        typer.Option(help="Epoch to keep: the last, or the best by validation mAP.", rich_help_panel=SCHEDULE),
    ] = Select[DEFAULTS.select]
    patience: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --select best: stop after this many epochs without a better one.",
            rich_help_panel=SCHEDULE,
            show_default=False,
        ),
    ] = DEFAULTS.patience
    fit_thresholds: Annotated[
        bool,
        typer.Option(
            "--fit-thresholds/--keep-thresholds",
            help="Choose a threshold for each class on the validation images.",
            rich_help_panel=SCHEDULE,
        ),
    ] = DEFAULTS.fit_thresholds
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Epochs between checkpoints.", rich_help_panel=SCHEDULE)
    ] = DEFAULTS.checkpoint_every
    seed: Annotated[
        int,
        typer.Option(min=0, help="Of shuffling, augmentation and random contexts.", rich_help_panel=SCHEDULE),
    ] = DEFAULTS.seed
    loss: Annotated[Loss, typer.Option(help="What is minimised.", rich_help_panel=LOSS)] = Loss[DEFAULTS.loss]
    reduction: Annotated[
        Reduction,
        typer.Option(help="Mean over the known labels, or as published their sum over a batch.", rich_help_panel=LOSS),
    ] = Reduction[DEFAULTS.reduction]
    loss_weight: Annotated[
        float | None, typer.Option(help="Factor of the loss.", rich_help_panel=LOSS, show_default=False)
    ] = DEFAULTS.loss_weight
    gamma_positive: Annotated[float, typer.Option(help="Focus on hard positives.", rich_help_panel=LOSS)] = (
        DEFAULTS.gamma_positive
    )
    gamma_negative: Annotated[float, typer.Option(help="Focus on hard negatives.", rich_help_panel=LOSS)] = (
        DEFAULTS.gamma_negative
    )
    margin: Annotated[
        float, typer.Option(help="Probability under which a negative costs nothing.", rich_help_panel=LOSS)
    ] = DEFAULTS.margin
    anchor: Annotated[
        float, typer.Option(help="Pull towards the start, in labels per class.", rich_help_panel=LOSS)
    ] = DEFAULTS.anchor
    class_prior: Annotated[
        bool,
        typer.Option(
            "--class-prior/--constant-prior",
            help="Start from how frequent each class is among the known labels; only for backbones with a logit bias.",
            rich_help_panel=LOSS,
        ),
    ] = DEFAULTS.class_prior
    views: Annotated[
        int,
        typer.Option(
            min=0,
            help="Encoded copies of each image, the first plain, the others augmented; 0 encodes anew in every epoch.",
            rich_help_panel=IMAGES,
        ),
    ] = DEFAULTS.views
    augmentation: Annotated[
        Augmentation,
        typer.Option(
            help="Of all views but the first: mirrored, random crops that may be mirrored, or as published.",
            rich_help_panel=IMAGES,
        ),
    ] = Augmentation[DEFAULTS.augmentation]
    finetune: Annotated[
        Finetune,
        typer.Option(help="Train the image tower's pooling, or all of it, too.", rich_help_panel=IMAGES),
    ] = Finetune[DEFAULTS.finetune]
    backbone_learning_rate: Annotated[float, typer.Option(help="With --finetune.", rich_help_panel=IMAGES)] = (
        DEFAULTS.backbone_learning_rate
    )
