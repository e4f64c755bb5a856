"""`dualcoop evaluate`: every metric of a model on labelled images, each with its protocol."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, cast

import typer

from dualcoop.cli.compute import autocast, open_cache, resolved
from dualcoop.cli.data import load_data
from dualcoop.cli.front_end import in_words
from dualcoop.cli.messages import say, warn
from dualcoop.cli.metrics import ReportFormat, format_of, print_report, report_text
from dualcoop.cli.models import is_backbone, open_named
from dualcoop.cli.option_groups import grouped
from dualcoop.cli.options import TABLE, THRESHOLD, CacheOptions, DataOptions, PassOptions, ReadingOptions, Share
from dualcoop.cli.progress import progress_bar
from dualcoop.counting import counted
from dualcoop.errors import DataError, ModelError, Option
from dualcoop.options import option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dualcoop.data.labels import DatasetSplits, LabelledImages
    from dualcoop.methods.base import Method


Split: TypeAlias = Literal["train", "valid", "test", "all"]
Classes: TypeAlias = Literal["same", "common", "table"]


@dataclass(frozen=True)
class MeasuringOptions:
    """What is measured, and where the figures go."""

    split: Split | None = option(None, "Part of the data; by default test, or the only part there is.")
    which_classes: Classes = option(
        "same",
        "same refuses other classes than the model's; common takes those that both have; table carries shared prompts "
        "over to the table's.",
        flags=("--classes",),
    )
    threshold: Share | None = option(None, THRESHOLD)
    per_class: bool = option(False, "Show the table of classes too.")
    report_format: ReportFormat | None = option(None, flags=("--format", "-f"))
    output: Path | None = option(
        None, "Write to a file; .json and .csv say the format.", flags=("--output", "-o"), metavar="FILE"
    )


@grouped
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A trained model (folder, or owner/name on the hub), or a backbone's name for its zero-shot figures."
        ),
    ],
    table: Annotated[Path, typer.Argument(help=TABLE)],
    measuring: MeasuringOptions,
    *,
    data: DataOptions,
    reading: ReadingOptions,
    compute: PassOptions,
    caching: CacheOptions,
) -> None:
    """Measure a model on labelled images: mAP, precision, recall and F1, each named with its protocol.

    Unknown labels count in no metric. In JSON the table of classes is always included; as CSV, --per-class writes
    it instead of the metrics.
    """
    cache = open_cache(caching)
    loaded = load_data(table, data, reading)
    name, part = _part(loaded, measuring.split)
    untrained = is_backbone(model)
    if untrained:
        say(f"zero-shot: hand-crafted prompts over {model}, nothing is trained")
    network = open_named(model, part.classes if untrained or measuring.which_classes == "table" else None, compute)
    part, columns = _matched(network, part, measuring.which_classes)
    # Says so where the device cannot compute in this precision, before anything is encoded.
    autocast(network.device, compute.precision)
    from dualcoop.features.scoring import evaluate_images

    with progress_bar("evaluating", len(part)) as update:
        report, problems = evaluate_images(
            network,
            part,
            columns=columns,
            thresholds=measuring.threshold,
            progress=update,
            strict=data.strict,
            precision=resolved(network.device, compute.precision),
            stored=caching.feature_precision,
            cache=cache,
            batch_size=compute.batch_size,
            workers=compute.workers,
        )
    for problem in problems:
        warn(f"left out: {in_words(problem)}")
    kind = format_of(measuring.report_format, measuring.output)
    if measuring.output is not None:
        measuring.output.parent.mkdir(parents=True, exist_ok=True)
        measuring.output.write_text(report_text(report, kind, measuring.per_class), encoding="utf-8")
        say(f"metrics of {counted(report.images, 'image')} ({name}) written to {measuring.output}")
    elif kind == "table":
        print_report(report, measuring.per_class, title=f"{table}, {name}")
    else:
        typer.echo(report_text(report, kind, measuring.per_class), nl=False)


def _part(data: "DatasetSplits", split: Split | None) -> tuple[str, "LabelledImages"]:
    """The part asked for; the test part, or the only one, when none is."""
    parts = dict(data.parts())
    if split is None:
        split = "test" if "test" in parts or len(parts) != 1 else cast(Split, next(iter(parts)))
    if split == "all":
        import numpy as np

        several = list(parts.values())
        paths = tuple(path for part in several for path in part.paths)
        return "all parts", replace(several[0], paths=paths, labels=np.concatenate([part.labels for part in several]))
    if split not in parts:
        there = " and ".join(parts) or "nothing"
        what = f"there is no {split} part, only {there}"
        raise DataError(what, where=str(data.source), remedy=("choose with ", Option("split")))
    return split, parts[split]


def _matched(
    network: "Method", part: "LabelledImages", classes: Classes
) -> tuple["LabelledImages", "NDArray[np.int64]"]:
    """The data with those of the model's classes that it has, in the model's order and spelling, and where they are.

    Raises:
        ModelError: when the classes differ, saying how, unless that was allowed.
    """
    import numpy as np

    from dualcoop.class_names import ClassDifferences, normalise_name, some_names

    place = {normalise_name(name): index for index, name in enumerate(part.classes)}
    wanted = [normalise_name(name) for name in network.classes]
    differences = ClassDifferences.between(network.classes, part.classes)
    if differences and classes == "same":
        raise ModelError(
            f"the model is for {counted(len(network.classes), 'class')}, the table has {len(part.classes)}, and they "
            f"differ. {differences}",
            remedy=(
                *(Option("which_classes", "common"), " measures those that both have; "),
                *(Option("which_classes", "table"), " carries shared prompts over to the table's"),
            ),
        )
    if len(differences.model) == len(wanted):
        raise ModelError("the model and the table have no class in common.")
    for side, names in (("model", differences.model), ("table", differences.data)):
        if names:
            warn(f"{counted(len(names), 'class')} of the {side} left out: {some_names(names)}.")
    columns = np.array([index for index, key in enumerate(wanted) if key in place])
    labels = part.labels[:, [place[wanted[index]] for index in columns]]
    names = tuple(network.classes[index] for index in columns)
    return replace(part, labels=labels, classes=names), columns
