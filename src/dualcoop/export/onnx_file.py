"""Writing a model as one ONNX file: graph, constants, and everything that tagging images takes besides."""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualcoop.errors import BackboneError, ConfigError, ModelError, Only, Option
from dualcoop.export.description import INPUT, OUTPUT, TaggerDescription
from dualcoop.export.graph import TaggerGraph
from dualcoop.export.quantization import quantize_int8
from dualcoop.export.tagger import SUFFIX, OnnxTagger, is_exported
from dualcoop.inference.images import ImageInput, read_image
from dualcoop.inference.squash import DRAFT_OVERSAMPLING, squash
from dualcoop.network import RegionClassifier
from dualcoop.saving.card import shared_backbone_name

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
FIRST_TORCH = (2, 6)
"""The first whose exporter takes every tower here; the older, tracing one lacks some of their operations."""

FLOAT32, INT8 = "float32", "int8"
PARITY = 1e-3
"""Largest difference of a probability that the float32 file may have to the model."""

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes that one ONNX file can have; a larger graph keeps its constants in a file beside it."""

CALIBRATION_IMAGES = 96
COMPARED = 3
BATCH = 8


@dataclass(frozen=True)
class ExportedTagger:
    """What an export gave.

    Attributes:
        path: of the file.
        size: of it, bytes; constants in a second file included.
        max_difference: largest difference of a probability to the model's own, on the images compared.
        mean_difference: likewise the mean over images and classes.
        compared: number of these images: the calibration's with "int8", otherwise a few random ones.
    """

    path: Path
    size: int
    max_difference: float
    mean_difference: float
    compared: int


def export_onnx(
    model: RegionClassifier,
    path: str | os.PathLike[str],
    *,
    quantize: str | None = None,
    calibration: Iterable[ImageInput] | None = None,
) -> ExportedTagger:
    """Write image tower and head, with text features and the like folded in, as one ONNX file.

    Input `pixels` (B, S, S, 3), uint8, RGB images squashed to a square; output `probabilities` (B, M), float32; any
    B. Classes, thresholds, image size and the rest of `TaggerDescription` are properties inside the file. The file is
    complete or not there: it is written beside its place and compared with the model first.

    Args:
        model: of any method.
        path: of the file, *.onnx; its folder is made if need be.
        quantize: "int8" for 8-bit weights and activations of the image tower, about four times smaller and faster on
            most processors; the scores move a little, see the result.
        calibration: images that show the range of the activations for "int8", like those that will be tagged; at
            most 96 of them are used. By default the photographs that ship with the package.

    Returns:
        Size, and difference to the model.

    Raises:
        ConfigError: for options that make no sense, or a package that is missing or too old.
        BackboneError: when the image tower cannot be written as ONNX.
        ModelError: when the file cannot be written.
        DataError: for a calibration image that cannot be read.
    """
    path = Path(path).expanduser()
    _check_options(path, quantize, calibration)
    preprocess = model.backbone.preprocess(model.image_size)
    description = TaggerDescription(
        classes=model.classes,
        thresholds=tuple(model.thresholds.tolist()),
        image_size=model.image_size,
        interpolation=preprocess.interpolation,
        mean=preprocess.mean,
        std=preprocess.std,
        aggregation=model.aggregation,
        backbone=shared_backbone_name(model.backbone.name),
        backbone_fingerprint=model.backbone_fingerprint(),
        finetuned=bool(model.backbone_delta),
        precision=quantize or FLOAT32,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder, _quiet():
            draft = Path(folder) / path.name
            differences = _write_compared(model, draft, description, calibration)
            # The graph last: with its constants in a second file it is of no use without them.
            parts = sorted(Path(folder).glob(f"{path.name}*"), reverse=True)
            size = sum(part.stat().st_size for part in parts)
            for part in parts:
                part.replace(path.parent / part.name)
    except OSError as error:
        what = f"the file cannot be written ({error.strerror or error})"
        raise ModelError(what, where=str(path), remedy="name another place") from error
    return ExportedTagger(path, size, float(differences.max()), float(differences.mean()), len(differences))


def _check_options(path: Path, quantize: str | None, calibration: Iterable[ImageInput] | None) -> None:
    if not is_exported(path):
        raise ConfigError(f"{path}: the name of the file has to end in {SUFFIX}")
    if quantize not in (None, INT8):
        what = (f"is {quantize!r}, expected {INT8!r}", Only("python", " or None"))
        raise ConfigError(what, option="quantize")
    if calibration is not None and quantize is None:
        raise ConfigError(("is for ", Option("quantize", INT8)), option="calibration", remedy="leave it out")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"writing ONNX files needs {' and '.join(missing)}. Install: pip install 'dualcoop[export]'")
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < FIRST_TORCH:
        needed = ".".join(map(str, FIRST_TORCH))
        raise ConfigError(f"writing ONNX files needs torch {needed} or newer, this is {torch.__version__}. Update it")


def _write_compared(
    model: RegionClassifier, draft: Path, description: TaggerDescription, calibration: Iterable[ImageInput] | None
) -> NDArray[np.float32]:
    """Write the file, and give the differences of its probabilities to the model's, (B, M), on B images."""
    graph = TaggerGraph(model).eval()
    # Not as many as in the example that is traced, to see that any number will do.
    pixels = np.random.default_rng(0).integers(0, 256, (COMPARED, *(model.image_size,) * 2, 3), dtype=np.uint8)
    _write(_traced(graph, model), draft, description)
    differences = _differences(graph, model.device, draft, pixels)
    if not differences.max() <= PARITY:
        what = f"gives other probabilities as ONNX, by up to {differences.max():.2g}; nothing was written"
        remedy = "try other versions of torch and onnxruntime"
        raise BackboneError(f"{model.backbone.name} {what}", remedy=remedy)
    if description.precision != INT8:
        return differences
    pixels = _calibration_pixels(calibration, description)
    _write(quantize_int8(draft, pixels), draft, description)
    return _differences(graph, model.device, draft, pixels)


def _traced(graph: TaggerGraph, model: RegionClassifier) -> Any:
    """The graph as an onnx.ModelProto."""
    # The exporter takes a size of 1 for a constant.
    example = torch.zeros(2, model.image_size, model.image_size, 3, dtype=torch.uint8, device=model.device)
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                graph,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    # The exporter raises its own errors, those of tracing and those of the traced code.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackboneError(f"the image tower of {model.backbone.name} cannot be written as ONNX ({reason})") from error
    assert program is not None
    return program.model_proto


def _write(proto: Any, path: Path, description: TaggerDescription) -> None:
    """Save a graph with the description and without notes on the source files, which name folders of this machine."""
    import onnx

    del proto.metadata_props[:]
    for part in (proto.graph, *proto.graph.node, *proto.graph.initializer, *proto.graph.value_info):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    for name, value in description.to_properties().items():
        proto.metadata_props.add(key=name, value=value)
    if proto.ByteSize() > PROTOBUF_LIMIT:
        onnx.save_model(proto, path, save_as_external_data=True, location=f"{path.name}.data")
    else:
        onnx.save_model(proto, path)


def _differences(
    graph: TaggerGraph, device: torch.device, path: Path, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """|file - model|, (B, M), of squashed images (B, S, S, 3)."""
    tagger = OnnxTagger(path, device="cpu")
    found = []
    for start in range(0, len(pixels), BATCH):
        batch = pixels[start : start + BATCH]
        with torch.no_grad():
            expected = graph(torch.from_numpy(batch).to(device)).float().cpu().numpy()
        found.append(np.abs(tagger.probabilities_of(batch) - expected))
    return np.concatenate(found)


def _calibration_pixels(images: Iterable[ImageInput] | None, description: TaggerDescription) -> NDArray[np.uint8]:
    """(n, S, S, 3): the images given, evenly thinned out when they are many, or those of the package."""
    chosen = _package_images() if images is None else list(images)
    if not chosen:
        raise ConfigError("holds no image", option="calibration", remedy="give some like those that will be tagged")
    step = max(1, len(chosen) / CALIBRATION_IMAGES)
    chosen = [chosen[int(position)] for position in np.arange(0, len(chosen), step)]
    size = description.image_size
    opened = (read_image(image, draft_size=DRAFT_OVERSAMPLING * size) for image in chosen)
    return np.stack([squash(image, size, description.interpolation) for image in opened])


def _package_images() -> list[ImageInput]:
    return [*sorted(Path(str(files("dualcoop") / "demo" / "images")).glob("*.jpg"))]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter and the quantizer tell developers how they proceed, by warnings and on every logger."""
    previous = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
