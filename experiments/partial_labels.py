"""Partial labels: zero-shot, linear classifier and DualCoOp on the same features and masks.

    python -m experiments.partial_labels --data DATA --output results

Every run is one line of `results/partial_labels.jsonl`; lines that are there are not computed again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from dualcoop.data.masks import partial_label_mask
from dualcoop.features.scoring import evaluate_scores, region_scores
from dualcoop.training.provenance import versions
from experiments.methods import recipes
from experiments.photographs import DEFAULT_ROOT, IMAGE_SIZES, Photographs, console, load_photographs
from experiments.record import write_run

FRACTIONS = (0.1, 0.5, 1.0)
SEEDS = (0, 1, 2)
METHODS = tuple(recipes(0))
DETAILS = ("C", "validation_map", "chosen_epoch")


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder with coco663 and corel5k")
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--sets", nargs="+", choices=tuple(IMAGE_SIZES), default=tuple(IMAGE_SIZES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--fractions", nargs="+", type=float, default=FRACTIONS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    options = parser.parse_args()
    file = options.output / "partial_labels.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    done = {key(json.loads(line)) for line in file.read_text().splitlines()} if file.exists() else set()
    for name in options.sets:
        photographs = None
        for seed in options.seeds:
            for fraction in options.fractions:
                for method in options.methods:
                    run = describe(name, method, fraction, seed)
                    if key(run) in done:
                        continue
                    photographs = photographs or load_photographs(name, options.data)
                    row = run | measure(photographs, run, options.output)
                    done.add(key(run))
                    with file.open("a") as lines:
                        lines.write(json.dumps(row) + "\n")
                    console.print(f"{name} {method} {fraction:.0%} seed {seed}: mAP {row['mAP']:.1f}")


def describe(name: str, method: str, fraction: float, seed: int) -> dict[str, Any]:
    """What a run is; zero-shot knows neither fraction nor seed."""
    free = method == "zero-shot"
    return {
        "data": name,
        "method": method,
        "known_fraction": 0.0 if free else fraction,
        "seed": 0 if free else seed,
    }


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Identity of a run."""
    return row["data"], row["method"], row["known_fraction"], row["seed"]


def measure(photographs: Photographs, run: dict[str, Any], output: Path) -> dict[str, Any]:
    """Fit one method, and measure it once on the test images."""
    start = time.perf_counter()
    train, test = photographs.train, photographs.test
    # Zero-shot knows no label at all.
    shown, mask = train.with_labels(np.zeros_like(train.labels)), None
    if run["known_fraction"]:
        mask = partial_label_mask(train, run["known_fraction"], run["seed"])
        shown = mask.apply(train)
    recipe = recipes(run["seed"])[run["method"]]
    model = recipe.make(photographs, train.classes)
    recipe.fit(model, photographs.train_features, shown.labels, photographs.held_out(run["seed"]))
    training = model.training_record.get("training", {})
    details = {name: training[name] for name in DETAILS if name in training}
    details["training_seconds"] = time.perf_counter() - start
    write_run(output / "runs" / "-".join(str(part) for part in key(run)), run, model, shown, mask)
    scores = region_scores(model, photographs.test_features)
    report = evaluate_scores(model, scores, test.labels, photographs.test_features)
    return {
        "mAP": report["mAP"],
        "metrics": {metric.title: metric.value for metric in report.metrics},
        "details": details,
        "seconds": time.perf_counter() - start,
        "train_fingerprint": photographs.train.fingerprint(),
        "test_fingerprint": photographs.test.fingerprint(),
        "backbone_fingerprint": photographs.backbone.fingerprint(),
        "versions": versions(),
    }


if __name__ == "__main__":
    main()
