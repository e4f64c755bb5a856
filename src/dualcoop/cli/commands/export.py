"""`dualcoop export`: a model as one file that runs without torch."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dualcoop.cli.front_end import in_words
from dualcoop.cli.labels import read_labels
from dualcoop.cli.messages import say, storage
from dualcoop.cli.models import is_backbone, open_model
from dualcoop.cli.option_groups import grouped
from dualcoop.cli.options import LabelOptions
from dualcoop.cli.progress import waiting
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, Option


@grouped
def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A trained model (folder, or owner/name on the hub); or a backbone's name, with --labels, for a "
            "zero-shot one.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="ONNX file to write.")] = Path(
        "tagger.onnx"
    ),
    *,
    label: LabelOptions,
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the square input in pixels; by default the backbone's own, or as saved.",
            show_default=False,
        ),
    ] = None,
    quantize: Annotated[
        Literal["int8"] | None,
        typer.Option(help="int8: a quarter of the size and faster, scores move a little.", show_default=False),
    ] = None,
    calibration: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATHS",
            help="Images, folders and globs like what will be tagged, for int8; by default photographs that ship "
            "with dualcoop.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a model as one ONNX file: image tower and head, labels and thresholds.

    `dualcoop tag photos/ --model tagger.onnx` runs it without torch, and so does `dualcoop.export.OnnxTagger`.
    """
    if output.exists() and not overwrite:
        remedy = ("name another one, or replace it with ", Option("overwrite"))
        raise ConfigError("the file exists", where=str(output), remedy=remedy)
    names = read_labels(label.labels, label.labels_file)
    if quantize is None and calibration:
        raise ConfigError(("is for ", Option("quantize", "int8")), option="calibration")
    images = _found(calibration) if calibration else None
    if is_backbone(model):
        network = open_model(None, names, backbone=model, device="cpu", image_size=image_size)
    else:
        network = open_model(model, names, device="cpu", image_size=image_size)
    with waiting("writing the file"):
        exported = network.export_onnx(output, quantize=quantize, calibration=images)
    say(f"{counted(len(network.classes), 'class')} written to {output} ({storage(exported.size)})")
    if quantize is not None:
        say(
            f"scores of {counted(exported.compared, 'image')} differ from the model's by "
            f"{exported.mean_difference:.4f} on average, at most {exported.max_difference:.2f}"
        )


def _found(paths: list[str]) -> list[Path]:
    from dualcoop.data.discovery import find_images

    found = find_images(paths)
    if found.problems:
        raise ConfigError(" ".join(in_words(problem) for problem in found.problems))
    return found.paths
