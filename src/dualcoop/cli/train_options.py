"""Options of `dualcoop train` that are the command line's own; the others are those of the library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Le

from dualcoop.options import Aggregation, Amount, Whole, option
from dualcoop.prompts.config import PROMPTS

Recipe: TypeAlias = Literal["default", "published", "published-voc", "published-zero-shot"]


@dataclass(frozen=True)
class OutputOptions:
    """What happens to the output folder."""

    output_dir: Path | None = option(
        None, "Folder for the model and its records.", flags=("--output", "-o"), metavar="DIR"
    )
    resume: bool = option(False, "Go on with an interrupted run in the output folder.")
    overwrite: bool = option(False, "Replace the model or the interrupted run in the output folder.")


@dataclass(frozen=True)
class HoldOutOptions:
    """Which labels may be seen, and which images judge."""

    PANEL: ClassVar = "Labels and parts"

    known_fraction: float | None = option(
        None,
        "Hide labels at random and train on this share of them, to see what few labels do; validation labels are "
        "hidden alike.",
    )
    mask_seed: Whole = option(0, "Which labels are hidden.")
    valid_fraction: Annotated[Amount, Le(0.9)] | None = option(
        None,
        "Share of the training images held out to choose thresholds and to report on. By default 0.2 where the table "
        "has no valid part, otherwise none.",
    )
    split_seed: Whole = option(0, "Which images are held out.")


@dataclass(frozen=True)
class HeadOptions:
    """What is done with the scores of the regions."""

    aggregation: Aggregation = option("softmax", "How regions become one score.", panel=PROMPTS)
