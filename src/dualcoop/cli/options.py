"""Options that several commands share, and what they mean."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dualcoop.training.arguments import TrainingArguments

COMPUTING = "Computing"
CACHE = "Cache of region features"
DATA = "Data"


class Precision(str, Enum):
    """Numbers in which the encoders compute."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class FeaturePrecision(str, Enum):
    """Numbers in which region features are kept."""

    float16 = "float16"
    int8 = "int8"


class DataFormat(str, Enum):
    """Kinds of data sets."""

    auto = "auto"
    table = "table"
    coco = "coco"
    voc = "voc"
    nuswide = "nuswide"


class Unlisted(str, Enum):
    """Meaning of labels that are not listed."""

    auto = "auto"
    absent = "absent"
    unknown = "unknown"


class Meaning(str, Enum):
    """Meaning of -1 and 0 in class columns."""

    absent = "absent"
    unknown = "unknown"


class Duplicates(str, Enum):
    """What to do with several rows of one image."""

    skip = "skip"
    merge = "merge"


class Vocabulary(str, Enum):
    """Classes of NUS-WIDE."""

    concepts = "concepts"
    tags = "tags"
    all = "all"


Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A trained model: its folder, or owner/name on the hub.", show_default=False),
]
BACKBONE_HELP = (
    "Vision-language model: lite (ships with dualcoop), an open_clip name such as RN101 or ViT-B-16, "
    "hf-hub:owner/name, or a checkpoint file."
)
Backbone = Annotated[str, typer.Option(help=BACKBONE_HELP)]
ZeroShotBackbone = Annotated[
    str | None, typer.Option(help=f"{BACKBONE_HELP} A trained model has its own.", show_default="lite")
]
BatchSize = Annotated[int, typer.Option(min=1, help="Images encoded at once.", rich_help_panel=COMPUTING)]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads that read images while others are encoded; by default one for each core, at most 8.",
        rich_help_panel=COMPUTING,
        show_default=False,
    ),
]
PRECISION_HELP = "Of the encoders; bfloat16 is faster on recent hardware, auto takes it where it is."
Table = Annotated[
    Path,
    typer.Argument(
        help="Label table (.csv, .tsv, .jsonl, .parquet), COCO .json, or a COCO, VOC or NUS-WIDE folder.",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class LabelOptions:
    """What to look for."""

    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            "-l",
            help='What to look for: "dog, beach, surfboard", or @words.txt with one label a line.',
            show_default=False,
        ),
    ] = None
    labels_file: Annotated[
        Path | None, typer.Option(help="The same as --labels @FILE.", metavar="FILE", show_default=False)
    ] = None


@dataclass(frozen=True)
class ComputeOptions:
    """Where and how to compute."""

    device: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda, cuda:1 or mps; auto takes the fastest.", rich_help_panel=COMPUTING),
    ] = "auto"
    precision: Annotated[
        Precision,
        typer.Option(help=PRECISION_HELP, rich_help_panel=COMPUTING),
    ] = Precision.float32
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the square input in pixels; by default the backbone's own, or as saved.",
            rich_help_panel=COMPUTING,
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class TaggingOptions(ComputeOptions):
    """Where and how to compute when nothing is measured or learned: as fast as the hardware allows."""

    precision: Annotated[Precision, typer.Option(help=PRECISION_HELP, rich_help_panel=COMPUTING)] = Precision.auto


@dataclass(frozen=True)
class CacheOptions:
    """Where region features are kept from one run to the next."""

    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for region features, so that no image is encoded twice; by default $DUALCOOP_CACHE or the "
            "user's own (`dualcoop cache list` names it).",
            rich_help_panel=CACHE,
            show_default=False,
        ),
    ] = None
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep them for this run only.", rich_help_panel=CACHE)
    ] = False
    cache_size: Annotated[
        float,
        typer.Option(
            min=0.001, help="Limit on the folder, GiB; what was used longest ago goes first.", rich_help_panel=CACHE
        ),
    ] = TrainingArguments.cache_size
    feature_precision: Annotated[
        FeaturePrecision,
        typer.Option(help="int8 takes half the space, at some loss.", rich_help_panel=CACHE),
    ] = FeaturePrecision[TrainingArguments.feature_precision]


@dataclass(frozen=True)
class DataOptions:
    """How to read a data set; the fields are `load_dataset`'s, but `data_format`, which it calls `format`."""

    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that the image names start from; by default the table's own, or the data set's usual one.",
            rich_help_panel=DATA,
            show_default=False,
        ),
    ] = None
    data_format: Annotated[DataFormat, typer.Option(help="What TABLE is.", rich_help_panel=DATA)] = DataFormat.auto
    unlisted: Annotated[
        Unlisted,
        typer.Option(
            help="Meaning of a label that a row does not list; auto: unknown where there is an absent column or one "
            "column for each class, otherwise absent.",
            rich_help_panel=DATA,
        ),
    ] = Unlisted.auto
    minus_one: Annotated[
        Meaning | None,
        typer.Option(help="Meaning of -1 in class columns; refused without it.", rich_help_panel=DATA),
    ] = None
    zero: Annotated[Meaning, typer.Option(help="Meaning of 0 in class columns.", rich_help_panel=DATA)] = Meaning.absent
    delimiter: Annotated[str, typer.Option(help="Separates the labels in a cell.", rich_help_panel=DATA)] = ";"
    duplicates: Annotated[
        Duplicates,
        typer.Option(help="Several rows of one image: skip all but the first, or merge them.", rich_help_panel=DATA),
    ] = Duplicates.skip
    image_column: Annotated[
        str | None, typer.Option(help="Column of the image names.", rich_help_panel=DATA, show_default=False)
    ] = None
    labels_column: Annotated[
        str | None, typer.Option(help="Column of the labels.", rich_help_panel=DATA, show_default=False)
    ] = None
    absent_column: Annotated[
        str | None, typer.Option(help="Column of absent labels.", rich_help_panel=DATA, show_default=False)
    ] = None
    split_column: Annotated[
        str | None,
        typer.Option(help="Column that says train, valid or test.", rich_help_panel=DATA, show_default=False),
    ] = None
    encoding: Annotated[str, typer.Option(help="Of text tables.", rich_help_panel=DATA)] = "utf-8"
    year: Annotated[
        int | None,
        typer.Option(help="2007, 2012, 2014 or 2017, for a folder with several.", rich_help_panel=DATA),
    ] = None
    vocabulary: Annotated[Vocabulary, typer.Option(help="Classes of NUS-WIDE.", rich_help_panel=DATA)] = (
        Vocabulary.concepts
    )
    check_images: Annotated[
        bool,
        typer.Option("--check-images", help="Decode every image first to find broken ones.", rich_help_panel=DATA),
    ] = False
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop at the first row or image that cannot be used.", rich_help_panel=DATA),
    ] = False
