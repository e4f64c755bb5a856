"""Partial labels: zero-shot, linear classifier and DualCoOp on the same features and masks.

    python -m experiments.partial_labels --data DATA --output results

Every run is one line of `results/partial_labels.jsonl`; lines that are there are not computed again.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dualcoop import TrainingArguments
from dualcoop.data.masks import partial_label_mask
from dualcoop.evaluation import evaluate
from dualcoop.training.provenance import versions
from experiments import methods
from experiments.photographs import DEFAULT_ROOT, IMAGE_SIZES, Photographs, console, load_photographs

FRACTIONS = (0.1, 0.5, 1.0)
SEEDS = (0, 1, 2)
ARGUMENTS = TrainingArguments(precision="bfloat16")
METHODS = ("zero-shot", "linear", "class-specific", "class-specific-contexts", "shared")


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
    """Scores of one method on the test images, judged once."""
    start = time.perf_counter()
    details: dict[str, Any] = {}
    if run["method"] == "zero-shot":
        scores = methods.zero_shot(photographs)
    else:
        mask = partial_label_mask(photographs.train, run["known_fraction"], run["seed"])
        learn: dict[str, Callable[[], tuple[np.ndarray, dict[str, Any]]]] = {
            "linear": lambda: methods.linear(photographs, mask, run["seed"]),
            "class-specific": lambda: prompts(methods.CLASS_SPECIFIC),
            "class-specific-contexts": lambda: prompts(methods.CONTEXTS_ALONE),
            "shared": lambda: prompts(methods.SHARED),
        }

        def prompts(config: methods.PromptConfig) -> tuple[np.ndarray, dict[str, Any]]:
            folder = output / "runs" / "-".join(str(part) for part in key(run))
            return methods.dualcoop(photographs, mask, run["seed"], config, ARGUMENTS, folder)

        scores, details = learn[run["method"]]()
    report = evaluate(scores, photographs.test.labels, photographs.test.classes)
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
