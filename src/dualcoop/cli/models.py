"""Models as the commands open them: trained ones, and zero-shot ones made from a list of labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dualcoop.cli.labels import EXAMPLE
from dualcoop.cli.options import ComputeOptions
from dualcoop.cli.progress import waiting
from dualcoop.errors import AnyOf, ConfigError, Option

if TYPE_CHECKING:
    from dualcoop.export.tagger import OnnxTagger
    from dualcoop.methods.base import Method

DEFAULT_BACKBONE = "lite"


def open_model(
    model: str | None, labels: Sequence[str] | None, compute: ComputeOptions, *, backbone: str | None = None
) -> "Method":
    """A trained model of any method, for its own labels or carried over to others; without one, zero-shot.

    `labels` None takes the trained model's own; `backbone` is of the zero-shot model, None for the default one.

    Raises:
        ConfigError: when there is neither a model nor a label, or a backbone beside a trained model.
        ModelError, BackboneError: when the model or its backbone cannot be loaded.
    """
    refuse_backbone(model, backbone)
    from dualcoop.export.tagger import is_exported

    if model is not None and is_exported(model):
        what = "this is an exported file, which only `dualcoop tag` takes"
        raise ConfigError(what, where=model, remedy="give the model that it was made of")
    if model is None and not labels:
        words = AnyOf(EXAMPLE, (Option("labels", "@words.txt"), " with one label a line"), Option("label", "dog"))
        raise ConfigError(("say what to look for: ", AnyOf(words, (Option("model"), " of a trained model"))))
    backbone = backbone or DEFAULT_BACKBONE
    with waiting(f"loading {model or backbone}"):
        from dualcoop.methods.dualcoop import DualCoOp
        from dualcoop.methods.registry import load_method

        if model is None:
            assert labels
            return DualCoOp.zero_shot(backbone, labels, device=compute.device, image_size=compute.image_size)
        try:
            trained = load_method(model, device=compute.device, image_size=compute.image_size)
        except ConfigError as error:
            untrained = ("leave ", Option("model"), " out and give ", Option("labels"), " (and ", Option("backbone"))
            folder = "give the folder that `dualcoop train` wrote, or owner/name on the hub"
            remedy = (folder, AnyOf(("; for any labels without training, ", *untrained, ")")))
            raise ConfigError(f"{model!r} is no trained model", remedy=remedy) from error
        return trained.with_classes(labels) if labels else trained


def open_named(name: str, labels: Sequence[str] | None, compute: ComputeOptions) -> "Method":
    """A trained model, or a zero-shot one where a backbone is named; arguments and errors as `open_model`'s."""
    if is_backbone(name):
        return open_model(None, labels, compute, backbone=name)
    return open_model(name, labels, compute)


def refuse_backbone(model: str | None, backbone: str | None) -> None:
    """Say that a trained model keeps the backbone that it was trained with.

    Raises:
        ConfigError: when both are given.
    """
    if model is not None and backbone is not None:
        idle = Option("backbone", backbone)
        what = (Option("model", model), " has a backbone of its own, so ", idle, " does nothing")
        remedy = ("leave one of the two out: ", Option("backbone"), " is for labels without training")
        raise ConfigError(what, remedy=remedy)


def is_backbone(name: str) -> bool:
    """Whether this names a backbone rather than a trained model."""
    from dualcoop.backbones.loading.names import names_backbone

    return not Path(name).expanduser().is_dir() and names_backbone(name)


def open_exported(file: str, labels: Sequence[str] | None, compute: ComputeOptions) -> "OnnxTagger":
    """A file that `dualcoop export` wrote, without torch.

    Raises:
        ConfigError: for labels or an image size, which were settled when it was written, or a missing package.
        ModelError: when the file cannot be used.
    """
    if labels:
        what, anew = "the labels of an exported file are settled", "`dualcoop export MODEL --labels ...`"
        raise ConfigError(what, where=file, remedy=("leave ", Option("labels"), " out, or write another with ", anew))
    with waiting(f"loading {file}"):
        from dualcoop.export.tagger import OnnxTagger

        # What the file computes in unless asked otherwise is float32, or its own 8 bits.
        precision = "bfloat16" if compute.precision == "bfloat16" else "float32"
        tagger = OnnxTagger(file, device=compute.device, precision=precision)
    if compute.image_size not in (None, tagger.image_size):
        what, anew = f"{file} takes images of {tagger.image_size} pixels", "`dualcoop export MODEL --image-size ...`"
        raise ConfigError(what, remedy=("leave ", Option("image_size"), " out, or write another file with ", anew))
    return tagger
