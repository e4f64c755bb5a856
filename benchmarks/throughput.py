"""Tagging files against the bare encoder on tensors that are ready: images per second, paired and repeated.

python -m benchmarks.throughput                     # the demo's photographs; lite at 320 px, RN50 at 224 px
python -m benchmarks.throughput --pictures FOLDER --labels 1000 --workers 2
"""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import open_clip
import torch
from rich.console import Console
from rich.table import Table

from dualcoop import DualCoOp, create_backbone
from dualcoop.backbones.base import Backbone
from dualcoop.backbones.open_clip_models import build_open_clip, build_tokenizer, wrap_open_clip
from dualcoop.data.images import default_workers
from dualcoop.demo.content import FOLDER
from dualcoop.model import DRAFT_OVERSAMPLING
from dualcoop.pictures import picture_batches

LABELS = (20, 1000)
PRECISIONS = ("float32", "bfloat16")
BATCH = 32
ROUNDS = 5
# Enough for a steady state, little enough that the ready tensors fit into memory.
MOST_PICTURES = 160


def random_rn50() -> Backbone:
    """CLIP's RN50 with random weights: for timing, where none can be had."""
    config = open_clip.get_model_config("RN50")
    return wrap_open_clip(build_open_clip(config), name="RN50", tokenizer=build_tokenizer(config))


BACKBONES: dict[str, tuple[Callable[[], Backbone], int]] = {
    "lite": (lambda: create_backbone("lite"), 320),
    "RN50": (random_rn50, 224),
}


def measure(
    pictures: Path = FOLDER,
    *,
    labels: Sequence[int] = LABELS,
    workers: int | None = None,
    rounds: int = ROUNDS,
    most_pictures: int = MOST_PICTURES,
) -> list[dict[str, Any]]:
    """A row for every backbone, precision and number of labels.

    Each round times the bare encoder, then the whole way from files to predictions, so that what else the machine
    does meets both; speeds and the share are medians over the rounds.

    Args:
        pictures: folder of JPEG files.
        labels: numbers of labels, M.
        workers: threads that read, None for the default.
        rounds: after one that is not counted.
        most_pictures: of the folder, in the order of their names.
    """
    paths = sorted(pictures.rglob("*.jpg"))[:most_pictures]
    rows = []
    for name, (build, size) in BACKBONES.items():
        backbone = build()
        for precision in PRECISIONS:
            for count in labels:
                names = [f"thing {n}" for n in range(count)]
                model = DualCoOp.zero_shot(name, names, backbone=backbone, image_size=size)
                bare, pipeline = _sampled(model, paths, precision, workers, rounds)
                shares = [one / other for one, other in zip(bare, pipeline, strict=True)]
                rows.append(
                    {
                        "backbone": f"{name}, {size} px",
                        "precision": precision,
                        "labels": count,
                        "bare encoder, images/s": len(paths) / median(bare),
                        "files to predictions, images/s": len(paths) / median(pipeline),
                        "share of the bare encoder": median(shares),
                        "lowest share": min(shares),
                        "highest share": max(shares),
                    }
                )
    return rows


def _sampled(
    model: DualCoOp, paths: Sequence[Path], precision: str, workers: int | None, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of the bare encoder and of the whole way, one of each a round."""
    preprocess = model.backbone.preprocess(model.image_size)
    draft = DRAFT_OVERSAMPLING * model.image_size
    ready = [
        batch.pixels
        for batch in picture_batches(paths, preprocess, batch_size=BATCH, draft_size=draft)
        if batch.pixels is not None
    ]

    def encode() -> None:
        with torch.no_grad(), _autocast(precision):
            for pixels in ready:
                model.encode_pixels(pixels)

    def predict() -> None:
        with _autocast(precision):
            for _ in model.iter_predictions(paths, BATCH, workers=workers):
                pass

    samples: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for run, seconds in zip((encode, predict), samples, strict=True):
            start = time.perf_counter()
            run()
            if number:
                seconds.append(time.perf_counter() - start)
    return samples


def _autocast(precision: str) -> AbstractContextManager[object]:
    return nullcontext() if precision == "float32" else torch.autocast("cpu", torch.bfloat16)


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, default=FOLDER, help="folder of JPEG files")
    parser.add_argument("--labels", type=int, nargs="+", default=LABELS, help="numbers of labels")
    parser.add_argument("--workers", type=int, help=f"threads that read, {default_workers()} here")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--most-pictures", type=int, default=MOST_PICTURES)
    options = parser.parse_args()
    rows = measure(
        options.pictures,
        labels=options.labels,
        workers=options.workers,
        rounds=options.rounds,
        most_pictures=options.most_pictures,
    )
    table = Table(title=f"{torch.get_num_threads()} threads of torch, torch {torch.__version__}")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
