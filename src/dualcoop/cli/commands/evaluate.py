"""`dualcoop evaluate`: every metric of a model on labelled images, each with its protocol."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dualcoop.cli.caching import open_cache
from dualcoop.cli.compute import autocast, resolved
from dualcoop.cli.data import load_data
from dualcoop.cli.messages import count, say, warn
from dualcoop.cli.metrics import ReportFormat, format_of, print_report, report_text
from dualcoop.cli.models import is_backbone, open_model
from dualcoop.cli.option_groups import grouped
from dualcoop.cli.options import BatchSize, CacheOptions, ComputeOptions, DataOptions, Table, Workers
from dualcoop.cli.progress import progress_bar
from dualcoop.cli.wording import reworded
from dualcoop.errors import DataError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dualcoop.data.labels import DatasetSplits, LabelledImages
    from dualcoop.evaluation import EvaluationReport
    from dualcoop.methods.dualcoop import DualCoOp


class Split(str, Enum):
    """Parts of a data set."""

    train = "train"
    valid = "valid"
    test = "test"
    all = "all"


class Classes(str, Enum):
    """What to do about classes that only the model or only the data has."""

    same = "same"
    common = "common"
    table = "table"


@grouped
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="A trained model (folder, or owner/name on the hub), or a backbone's name for its zero-shot figures.",
            show_default=False,
        ),
    ],
    table: Table,
    split: Annotated[
        Split | None,
        typer.Option(help="Part of the data; by default test, or the only part there is.", show_default=False),
    ] = None,
    classes: Annotated[
        Classes,
        typer.Option(
            help="same refuses other classes than the model's; common takes those that both have; table carries "
            "shared prompts over to the table's.",
        ),
    ] = Classes.same,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Score above which a label counts as present; by default the model's own.",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Show the table of classes too.")] = False,
    format: Annotated[ReportFormat | None, typer.Option("--format", "-f", show_default=False)] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write to a file; .json and .csv say the format.",
            show_default=False,
        ),
    ] = None,
    *,
    data: DataOptions,
    compute: ComputeOptions,
    caching: CacheOptions,
    batch_size: BatchSize = 32,
    workers: Workers = None,
) -> None:
    """Measure a model on labelled images: mAP, precision, recall and F1, each named with its protocol.

    Unknown labels count in no metric. In JSON the table of classes is always included; as CSV, --per-class writes
    it instead of the metrics.
    """
    cache = open_cache(caching)
    loaded = load_data(table, data)
    name, part = _part(loaded, split)
    network = _open(model, part, classes, compute)
    part, columns = _matched(network, part, classes)
    if threshold is not None:
        network.set_thresholds(threshold)
    # Says so where the device cannot compute in this precision, before anything is encoded.
    autocast(network.device, compute.precision)
    encoding = {
        "strict": data.strict,
        "precision": resolved(network.device, compute.precision).value,
        "stored": caching.feature_precision.value,
        "cache": cache,
        "batch_size": batch_size,
        "workers": workers,
    }
    report = _report(network, part, columns, encoding)
    kind = format_of(format, output)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(report_text(report, kind, per_class), encoding="utf-8")
        say(f"metrics of {count(report.images, 'image')} ({name}) written to {output}")
    elif kind is ReportFormat.table:
        print_report(report, per_class, title=f"{table}, {name}")
    else:
        typer.echo(report_text(report, kind, per_class), nl=False)


def _part(data: "DatasetSplits", split: Split | None) -> tuple[str, "LabelledImages"]:
    """The part asked for; the test part, or the only one, when none is."""
    parts = dict(data.parts())
    if split is None:
        split = Split.test if "test" in parts or len(parts) != 1 else Split(next(iter(parts)))
    if split is Split.all:
        return "all parts", _joined(list(parts.values()))
    if split.value not in parts:
        there = " and ".join(parts) or "nothing"
        raise DataError(f"{data.source}: there is no {split.value} part, only {there}. Choose with --split.")
    return split.value, parts[split.value]


def _joined(parts: list["LabelledImages"]) -> "LabelledImages":
    import numpy as np

    from dualcoop.data.labels import LabelledImages

    paths = tuple(path for part in parts for path in part.paths)
    return LabelledImages(paths, np.concatenate([part.labels for part in parts]), parts[0].classes, parts[0].root)


def _open(model: str, part: "LabelledImages", classes: Classes, compute: ComputeOptions) -> "DualCoOp":
    """The trained model, or a zero-shot one for the data's classes when a backbone is named."""
    if is_backbone(model):
        say(f"zero-shot: hand-crafted prompts over {model}, nothing is trained")
        return open_model(None, part.classes, backbone=model, device=compute.device, image_size=compute.image_size)
    labels = part.classes if classes is Classes.table else None
    return open_model(model, labels, device=compute.device, image_size=compute.image_size)


def _matched(
    network: "DualCoOp", part: "LabelledImages", classes: Classes
) -> tuple["LabelledImages", "NDArray[np.int64]"]:
    """The data with those of the model's classes that it has, in the model's order and spelling, and where they are.

    Raises:
        ModelError: when the classes differ, saying how, unless that was allowed.
    """
    import numpy as np

    from dualcoop.class_names import ClassDifferences, normalise_name, some_names
    from dualcoop.data.labels import LabelledImages

    place = {normalise_name(name): index for index, name in enumerate(part.classes)}
    wanted = [normalise_name(name) for name in network.classes]
    differences = ClassDifferences.between(network.classes, part.classes)
    if differences and classes is Classes.same:
        raise ModelError(
            f"the model is for {count(len(network.classes), 'class')}, the table has {len(part.classes)}, and they "
            f"differ. {differences} --classes common measures those that both have; --classes table carries shared "
            "prompts over to the table's."
        )
    if len(differences.model) == len(wanted):
        raise ModelError("the model and the table have no class in common.")
    for side, names in (("model", differences.model), ("table", differences.data)):
        if names:
            warn(f"{count(len(names), 'class')} of the {side} left out: {some_names(names)}.")
    columns = np.array([index for index, key in enumerate(wanted) if key in place])
    labels = part.labels[:, [place[wanted[index]] for index in columns]]
    names = tuple(network.classes[index] for index in columns)
    return LabelledImages(part.paths, labels, names, part.root), columns


def _report(
    network: "DualCoOp", part: "LabelledImages", columns: "NDArray[np.int64]", encoding: dict[str, Any]
) -> "EvaluationReport":
    """Metrics over the images that can be read; the others are named, or stop the command when strict."""
    from dualcoop.evaluation import evaluate as measure
    from dualcoop.features.encoding import encode_images_once
    from dualcoop.features.scoring import region_scores

    with progress_bar("evaluating", len(part)) as update:
        features = encode_images_once(network, part, progress=update, **encoding)
    for problem in features.problems:
        warn(f"left out: {reworded(problem)}")
    if not len(features):
        raise DataError("no image could be read.")
    return measure(
        region_scores(network, features)[:, columns],
        part.labels[features.kept],
        part.classes,
        threshold=network.thresholds.cpu().numpy()[columns],
    )
