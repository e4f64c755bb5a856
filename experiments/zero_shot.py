"""Zero-shot and generalised zero-shot recognition on COCO's 48 seen and 17 unseen classes.

    python -m experiments.zero_shot --data DATA --output results

Shared prompts are trained on the seen classes (training images with at least one of them) and tested on the
unseen ones (ZSL) and on all 65 (GZSL), beside the untrained backbone.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from dualcoop.data.labels import LabelledImages
from dualcoop.data.splits import (
    generalized_test_images,
    seen_unseen_split,
    zero_shot_test_images,
    zero_shot_training_images,
)
from dualcoop.evaluation import evaluate
from dualcoop.features import RegionFeatures
from dualcoop.features.scoring import region_scores
from dualcoop.methods.base import Method
from dualcoop.training.provenance import versions
from experiments.methods import recipes
from experiments.photographs import DEFAULT_ROOT, Photographs, console, load_photographs
from experiments.record import write_run

SEEDS = (0, 1, 2)


def main() -> None:
    """Train and test with every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder with coco663")
    parser.add_argument("--output", type=Path, default=Path("results"))
    options = parser.parse_args()
    photographs = load_photographs("coco663", options.data)
    split = seen_unseen_split("coco-48-17")
    train = zero_shot_training_images(photographs.train, split)
    parts = {
        "ZSL": zero_shot_test_images(photographs.test, split),
        "GZSL": generalized_test_images(photographs.test, split),
    }
    rows = []
    zero_shot = recipes(0)["zero-shot"].make(photographs, split.classes)
    rows += [_measured(zero_shot, photographs, data, protocol, "zero-shot", 0) for protocol, data in parts.items()]
    for seed in SEEDS:
        recipe = recipes(seed)["shared"]
        features = _rows(photographs.train, photographs.train_features, train)
        model = recipe.fit(recipe.make(photographs, split.seen), features, train.labels)
        run = {"data": photographs.name, "split": split.name, "method": "shared", "seed": seed}
        write_run(options.output / "runs" / f"coco-48-17-{seed}", run, model, train, None)
        rows += [
            _measured(model.with_classes(split.classes), photographs, data, protocol, "shared", seed)
            for protocol, data in parts.items()
        ]
    options.output.mkdir(parents=True, exist_ok=True)
    content = {"split": split.name, "rows": rows, "versions": versions()}
    (options.output / "zero_shot.json").write_text(json.dumps(content, indent=2) + "\n")


def _rows(whole: LabelledImages, features: RegionFeatures, part: LabelledImages) -> RegionFeatures:
    position = {path: index for index, path in enumerate(whole.paths)}
    return features.subset(np.array([position[path] for path in part.paths]))


def _measured(
    model: Method, photographs: Photographs, data: LabelledImages, protocol: str, method: str, seed: int
) -> dict[str, object]:
    model = model.with_classes(data.classes)
    found = region_scores(model, _rows(photographs.test, photographs.test_features, data))
    report = evaluate(found, data.labels, data.classes, top_k=(3,))
    row = {key: report[key] for key in ("P@3", "R@3", "F1@3", "mAP")}
    console.print(f"{protocol} {method} seed {seed}: " + ", ".join(f"{k} {v:.1f}" for k, v in row.items()))
    return {"protocol": protocol, "method": method, "seed": seed, "images": len(data), **row}


if __name__ == "__main__":
    main()
