"""Tagging ready pixels: every way to run a model, side by side, against the image encoder alone."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.options import Options, Row
from benchmarks.timing import Candidate, paired
from dualcoop import load_dataset
from dualcoop.data import open_image
from dualcoop.evaluation import mean_average_precision
from dualcoop.export import OnnxTagger
from dualcoop.export.graph import TaggerGraph
from dualcoop.inference.squash import DRAFT_OVERSAMPLING, squash
from dualcoop.methods.base import Method
from dualcoop.methods.registry import method_class

BATCH_SIZE = 16
ROUNDS = 9
BUDGET = 600.0
QUICK_IMAGES = 32
ENCODER = "our image encoder alone, float32"
FLOAT32 = "eager float32"

Scorer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def measure(options: Options, method: str = "zero-shot") -> list[Row]:
    """Images per second of `lite` for COCO's 80 classes, and what each way does to scores and mAP.

    Scores of the method, as new, are compared on training photographs of coco663. The ranges of the 8-bit file were
    chosen on these photographs too, so that its figures flatter it a little.
    """
    data = load_dataset(options.data / "coco663").train
    assert data is not None
    count = QUICK_IMAGES if options.quick else len(data)
    model = method_class(method).from_pretrained("lite", data.classes, device=options.device)
    pixels = _squashed(data.paths[:count], model)
    with tempfile.TemporaryDirectory() as folder:
        scorers = _scorers(model, Path(folder), pixels[:BATCH_SIZE])
        batch = pixels[:BATCH_SIZE]
        candidates = {ENCODER: _encoder(model, batch), **{name: _timed(run, batch) for name, run in scorers.items()}}
        rounds = 1 if options.quick else ROUNDS
        found = paired(candidates, rounds=rounds, budget=options.seconds(BUDGET))
        scores = {name: _in_batches(run, pixels) for name, run in scorers.items()}
    rows: list[Row] = []
    for name in candidates:
        low, high = found.ratio_range(ENCODER, name)
        row: Row = {
            "way": name,
            "images/s": BATCH_SIZE / found.seconds(name),
            "times the encoder's speed": found.ratio(ENCODER, name),
            "range": f"{low:.2f}-{high:.2f}",
            "rounds": found.rounds,
            "largest change of a score": None,
            "mean change of a score": None,
            "mAP": None,
        }
        if name in scores:
            change = np.abs(scores[name] - scores[FLOAT32])
            row["largest change of a score"] = float(change.max())
            row["mean change of a score"] = float(change.mean())
            row["mAP"] = mean_average_precision(scores[name], data.labels[:count])
        rows.append(row)
    return rows


def _scorers(model: Method, folder: Path, example: NDArray[np.uint8]) -> dict[str, Scorer]:
    """From squashed images to probabilities; what is not installed or does not compile here is left out."""
    graph = TaggerGraph(model).eval()

    def eager(pixels: NDArray[np.uint8], run: Callable[[torch.Tensor], torch.Tensor] = graph) -> NDArray[np.float32]:
        with torch.no_grad():
            return run(torch.from_numpy(pixels).to(model.device)).float().cpu().numpy()

    def bfloat16(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.autocast(model.device.type, torch.bfloat16):
            return eager(pixels)

    scorers: dict[str, Scorer] = {FLOAT32: eager, "eager bfloat16": bfloat16}
    compiled = torch.compile(graph, dynamic=False)

    def torch_compiled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return eager(pixels, compiled)

    if _works(torch_compiled, example):
        scorers["torch.compile float32"] = torch_compiled
    for numbers in ("float32", "int8"):
        path = folder / f"{numbers}.onnx"
        model.export_onnx(path, quantize=None if numbers == "float32" else numbers)
        device = model.device.type
        scorers[f"ONNX Runtime, {numbers} file"] = OnnxTagger(path, device=device).probabilities_of
        if device == "cpu":
            scorers[f"OpenVINO bfloat16, {numbers} file"] = OnnxTagger(path, precision="bfloat16").probabilities_of
    return scorers


def _works(run: Scorer, example: NDArray[np.uint8]) -> bool:
    """Whether a compiler is there that torch.compile can use."""
    try:
        run(example)
    # Inductor's errors have no base of their own.
    except Exception:
        return False
    return True


def _encoder(model: Method, pixels: NDArray[np.uint8]) -> Candidate:
    """The image tower alone, on tensors that are ready."""
    graph = TaggerGraph(model)
    ready = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(model.device, torch.float32)
    images = (ready * graph.pixel_scale - graph.pixel_shift).contiguous(memory_format=torch.channels_last)

    def run() -> dict[str, float]:
        with torch.no_grad():
            model.encode_pixels(images).cpu()
        return {}

    return run


def _timed(run: Scorer, pixels: NDArray[np.uint8]) -> Candidate:
    def candidate() -> dict[str, float]:
        run(pixels)
        return {}

    return candidate


def _in_batches(run: Scorer, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scores of all images; the last batch is filled up, so that nothing is compiled for another size."""
    scores = []
    for start in range(0, len(pixels), BATCH_SIZE):
        batch = pixels[start : start + BATCH_SIZE]
        filled = np.concatenate([batch, np.zeros((BATCH_SIZE - len(batch), *batch.shape[1:]), np.uint8)])
        scores.append(run(filled)[: len(batch)])
    return np.concatenate(scores)


def _squashed(paths: Any, model: Method) -> NDArray[np.uint8]:
    """(n, S, S, 3): the photographs as the model takes them."""
    side = model.image_size
    preprocess = model.backbone.preprocess(side)
    opened = (open_image(path, draft_size=DRAFT_OVERSAMPLING * side) for path in paths)
    return np.stack([squash(image, side, preprocess.interpolation) for image in opened])
