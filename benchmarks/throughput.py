"""Tagging files against the image encoder alone on tensors that are ready: images per second, paired and repeated.

The encoder is measured twice: as the library that it comes from runs it (channels last, in the same precision, batches
of 32), and as this project runs it.

python -m benchmarks.throughput                     # the demo's photographs; lite, RN50 and ViT-B/16
python -m benchmarks.throughput --images FOLDER --labels 1000 --workers 2
"""

import argparse
import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle, islice
from math import inf
from pathlib import Path
from typing import Any

import open_clip
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from benchmarks.timing import Paired, Stages, paired, sample
from dualcoop.backbones.lite import load_lite
from dualcoop.backbones.loading.open_clip_models import build_open_clip, build_tokenizer, wrap_open_clip
from dualcoop.backbones.towers.two_towers import TwoTowerBackbone
from dualcoop.data.images import default_workers
from dualcoop.demo.content import FOLDER
from dualcoop.inference.images import image_batches
from dualcoop.inference.squash import DRAFT_OVERSAMPLING
from dualcoop.methods.base import Method
from dualcoop.methods.registry import METHODS, method_class

LABELS = (20, 1000)
PRECISIONS = ("float32", "bfloat16")
BATCH = 32
ROUNDS = 4
# Enough for a steady state, little enough that the ready tensors fit into memory.
SECONDS = 2.0
MOST_IMAGES = 640
TOWER, ENCODER, PIPELINE = "tower", "encoder", "pipeline"


def random_open_clip(name: str) -> TwoTowerBackbone:
    """A model of open_clip's with random weights: for timing, where none can be had."""
    config = open_clip.get_model_config(name)
    return wrap_open_clip(build_open_clip(config), name=name, tokenizer=build_tokenizer(config))


BACKBONES: dict[str, tuple[Callable[[], TwoTowerBackbone], int]] = {
    "lite": (load_lite, 320),
    "RN50": (lambda: random_open_clip("RN50"), 224),
    "ViT-B/16": (lambda: random_open_clip("ViT-B-16"), 224),
}


def measure(
    images: Path = FOLDER,
    *,
    method: str = "zero-shot",
    labels: Sequence[int] = LABELS,
    workers: int | None = None,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
) -> list[dict[str, Any]]:
    """A row for every backbone, precision and number of labels.

    Each round times the tower, our encoder and the whole way from files to predictions, so that what else the machine
    does meets all three; speeds and shares are medians over the rounds.

    Args:
        images: folder of JPEG files, gone through several times where it takes more.
        method: that tags, as new.
        labels: numbers of labels, M.
        workers: threads that read, None for the default.
        rounds: after one that is not counted.
        seconds: about as long as our encoder takes for the images of a round.
    """
    found = sorted(images.rglob("*.jpg"))
    rows = []
    for name, (build, size) in BACKBONES.items():
        backbone = build()
        for precision in PRECISIONS:
            for count in labels:
                names = [f"thing {n}" for n in range(count)]
                model = method_class(method)(backbone, names, image_size=size)
                with _autocast(precision):
                    done, measured = _measured(model, backbone, found, workers, rounds, seconds)
                lowest, highest = measured.ratio_range(ENCODER, PIPELINE)
                rows.append(
                    {
                        "backbone": f"{name}, {size} px",
                        "precision": precision,
                        "labels": count,
                        "encoder as it comes, images/s": done / measured.seconds(TOWER),
                        "our encoder, images/s": done / measured.seconds(ENCODER),
                        "files to predictions, images/s": done / measured.seconds(PIPELINE),
                        "share of the encoder as it comes": measured.ratio(TOWER, PIPELINE),
                        "share of our encoder": measured.ratio(ENCODER, PIPELINE),
                        "lowest share of our encoder": lowest,
                        "highest share of our encoder": highest,
                    }
                )
    return rows


def _measured(
    model: Method,
    backbone: TwoTowerBackbone,
    found: Sequence[Path],
    workers: int | None,
    rounds: int,
    seconds: float,
) -> tuple[int, Paired]:
    """How many images a round has, and the seconds of the tower as it comes, our encoder and the whole way."""
    preprocess = backbone.preprocess(model.image_size)

    def ready(paths: Sequence[Path]) -> list[torch.Tensor]:
        draft = DRAFT_OVERSAMPLING * model.image_size
        batches = image_batches(paths, preprocess, batch_size=BATCH, draft_size=draft)
        return [batch.pixels for batch in batches if batch.pixels is not None]

    first = ready(found[:BATCH])

    def encode(pixels: Sequence[torch.Tensor]) -> Stages:
        with torch.no_grad():
            for batch in pixels:
                model.encode_pixels(batch)
        return {}

    encode(first)
    once = sample(lambda: encode(first)).total
    batches = min(max(1, round(seconds / once)), MOST_IMAGES // BATCH)
    paths = list(islice(cycle(found), batches * BATCH))
    pixels = ready(paths)
    tower = copy.deepcopy(backbone.image).to(memory_format=torch.channels_last)

    def run_tower() -> Stages:
        with torch.no_grad():
            for batch in pixels:
                functional.normalize(tower.regions(batch, global_region=True).float(), dim=-1)
        return {}

    def predict() -> Stages:
        for _ in model.iter_predictions(paths, BATCH, workers=workers):
            pass
        return {}

    candidates = {TOWER: run_tower, ENCODER: lambda: encode(pixels), PIPELINE: predict}
    return len(paths), paired(candidates, rounds=rounds, budget=inf)


def _autocast(precision: str) -> AbstractContextManager[object]:
    return nullcontext() if precision == "float32" else torch.autocast("cpu", torch.bfloat16)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=FOLDER, help="folder of JPEG files")
    parser.add_argument("--method", choices=METHODS, default="zero-shot")
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS, help="numbers of labels")
    parser.add_argument("--workers", type=int, help=f"threads that read, {default_workers()} here")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of our encoder, about, in each round")
    options = parser.parse_args()
    rows = measure(
        options.images,
        method=options.method,
        labels=options.labels,
        workers=options.workers,
        rounds=options.rounds,
        seconds=options.seconds,
    )
    table = Table(title=f"{torch.get_num_threads()} threads of torch, torch {torch.__version__}")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
