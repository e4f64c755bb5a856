"""`dualcoop export`: a model as one file that runs without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from dualcoop.cli.data import images_at
from dualcoop.cli.labels import read_labels
from dualcoop.cli.messages import say, storage
from dualcoop.cli.models import open_named
from dualcoop.cli.option_groups import grouped
from dualcoop.cli.options import ComputeOptions, LabelOptions
from dualcoop.cli.progress import waiting
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, Option
from dualcoop.options import Counted, option, option_of


@dataclass(frozen=True)
class FileOptions:
    """What is written, and where."""

    output: Path = option(Path("tagger.onnx"), "ONNX file to write.", flags=("--output", "-o"), metavar="FILE")
    quantize: Literal["int8"] | None = option(None, "int8: a quarter of the size and faster, scores move a little.")
    calibration: list[str] | None = option(
        None,
        "Images, folders and globs like what will be tagged, for int8; by default photographs that ship with dualcoop.",
        metavar="PATHS",
    )
    overwrite: bool = option(False, "Replace the file if it exists.")
    image_size: Counted | None = option_of(ComputeOptions, "image_size", panel=None)


@grouped
def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A trained model (folder, or owner/name on the hub); or a backbone's name, with --labels, for a "
            "zero-shot one.",
        ),
    ],
    label: LabelOptions,
    file: FileOptions,
) -> None:
    """Write a model as one ONNX file: image tower and head, labels and thresholds.

    `dualcoop tag photos/ --model tagger.onnx` runs it without torch, and so does `dualcoop.export.OnnxTagger`.
    """
    if file.output.exists() and not file.overwrite:
        remedy = ("name another one, or replace it with ", Option("overwrite"))
        raise ConfigError("the file exists", where=str(file.output), remedy=remedy)
    names = read_labels(label.labels, label.labels_file)
    if file.quantize is None and file.calibration:
        raise ConfigError(("is for ", Option("quantize", "int8")), option="calibration")
    images = images_at(file.calibration, strict=True) if file.calibration else None
    network = open_named(model, names, ComputeOptions(device="cpu", image_size=file.image_size))
    with waiting("writing the file"):
        exported = network.export_onnx(file.output, quantize=file.quantize, calibration=images)
    say(f"{counted(len(network.classes), 'class')} written to {file.output} ({storage(exported.size)})")
    if file.quantize is not None:
        say(
            f"scores of {counted(exported.compared, 'image')} differ from the model's by "
            f"{exported.mean_difference:.4f} on average, at most {exported.max_difference:.2f}"
        )
