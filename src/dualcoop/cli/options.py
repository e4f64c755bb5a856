"""Options that several commands share, and what they mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

import typer
from annotated_types import Ge, Le

from dualcoop.cli.option_groups import FieldsOf
from dualcoop.data.formats.options import PANEL as DATA
from dualcoop.data.formats.registry import AUTO, FORMATS
from dualcoop.options import AboveZero, Counted, FeaturePrecision, Precision, option, option_of
from dualcoop.training.arguments import CACHE, TrainingArguments

if TYPE_CHECKING:
    FormatName: TypeAlias = str
else:
    FormatName = Literal[(AUTO, *FORMATS)]
AutoPrecision: TypeAlias = Literal["auto", Precision]

BACKBONE_HELP = (
    "Vision-language model: lite (ships with dualcoop), an open_clip name such as RN101 or ViT-B-16, "
    "hf-hub:owner/name, or a checkpoint file."
)
Backbone = Annotated[str, typer.Option(help=BACKBONE_HELP)]
TABLE = "Label table (.csv, .tsv, .jsonl, .parquet), COCO .json, or a COCO, VOC or NUS-WIDE folder."
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
THRESHOLD = "Score above which a label counts as present; by default the model's own, or 0.5."


@dataclass(frozen=True)
class LabelOptions:
    """What to look for."""

    labels: str | None = option(
        None,
        'What to look for: "dog, beach, surfboard", or @words.txt with one label a line.',
        flags=("--labels", "-l"),
    )
    labels_file: Path | None = option(None, "The same as --labels @FILE.", metavar="FILE")


@dataclass(frozen=True)
class ModelOptions:
    """What looks for labels."""

    model: str | None = option(
        None,
        "A trained model: its folder, or owner/name on the hub; to tag, also an .onnx file that `export` wrote.",
        flags=("--model", "-m"),
    )
    backbone: str | None = option(None, f"{BACKBONE_HELP} A trained model has its own.", shown_default="lite")


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how to compute."""

    PANEL: ClassVar = "Computing"

    device: str = option("auto", "auto, cpu, cuda, cuda:1 or mps; auto takes the fastest.")
    precision: AutoPrecision = option(
        "float32", "Of the encoders; bfloat16 is faster on recent hardware, auto takes it where it is."
    )
    image_size: Counted | None = option(
        None, "Side of the square input in pixels; by default the backbone's own, or as saved."
    )


@dataclass(frozen=True)
class PassOptions(ComputeOptions):
    """Where and how to compute one pass over images."""

    batch_size: Counted = option(32, "Images encoded at once.")
    workers: Counted | None = option(
        None, "Threads that read images while others are encoded; by default one for each core, at most 8."
    )


@dataclass(frozen=True)
class TaggingOptions(PassOptions):
    """Where and how to compute when nothing is measured or learned: as fast as the hardware allows."""

    precision: AutoPrecision = option("auto", "Of the encoders; auto takes bfloat16 where it is fast.")


@dataclass(frozen=True)
class CacheOptions:
    """Where region features are kept from one run to the next."""

    PANEL: ClassVar = CACHE

    cache_dir: Path | None = option(
        None,
        "Folder for region features, so that no image is encoded twice; by default $DUALCOOP_CACHE or the user's own "
        "(`dualcoop cache list` names it).",
        flags=("--cache",),
        metavar="DIR",
    )
    no_cache: bool = option(False, "Keep them for this run only.")
    cache_size: AboveZero = option_of(TrainingArguments, "cache_size")
    feature_precision: FeaturePrecision = option_of(TrainingArguments, "feature_precision")


@dataclass(frozen=True)
class DataOptions:
    """Where a data set is and how its images are; what each format takes besides stands with the formats."""

    PANEL: ClassVar = DATA

    images: Path | None = option(
        None,
        "Folder that the image names start from; by default the table's own, or the data set's usual one.",
        metavar="DIR",
    )
    format: FormatName = option(AUTO, "What TABLE is.", flags=("--data-format",))
    check_images: bool = option(False, "Decode every image first to find broken ones.")
    strict: bool = option(False, "Stop at the first row or image that cannot be used.")


ReadingOptions = Annotated[dict[str, Any], FieldsOf(*(each.options for each in FORMATS.values()))]
"""How to read a data set, by the names of `load_dataset`."""
