"""Augmented views and int8: what they do to validation mAP and to time.

    python -m experiments.views --data DATA --output results

A fifth of the training images judges; test images have no part. Every run is one line of `results/views.jsonl`;
lines that are there are not computed again, and `python -m experiments.tables` puts them into docs/results.md. Region
features are kept in `--cache` meanwhile, so that 8 views use the 4 that are there already: `encoding_seconds` belongs
to the `encoded_views` that were new.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dualcoop import DualCoOp, Trainer, TrainingArguments
from dualcoop.backbones import create_backbone
from dualcoop.backbones.base import Backbone
from dualcoop.cache import FeatureCache, contents
from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import partial_label_mask
from dualcoop.data.splits import hold_out_images
from dualcoop.evaluation import mean_average_precision
from dualcoop.features import RegionFeatures, encode_images_once
from dualcoop.features.scoring import region_scores
from dualcoop.options import FeaturePrecision
from dualcoop.training.arguments import Augmentation
from dualcoop.training.provenance import machine, versions
from experiments.methods import ARGUMENTS, CLASS_SPECIFIC
from experiments.photographs import DEFAULT_ROOT, IMAGE_SIZES, VALID_SHARE, console, load_parts
from experiments.tables import views_table

SEEDS = (0, 1, 2)
FRACTIONS = (1.0,)
CACHE_GIB = 100.0


class Variant(NamedTuple):
    """How training images become region features.

    Attributes:
        views: 0 encodes anew in every epoch.
        augmentation: of all views but the first, or of every epoch.
        stored: "float16" or "int8".
    """

    views: int
    augmentation: Augmentation
    stored: FeaturePrecision = "float16"


VARIANTS = {
    "1": Variant(1, "none"),
    "1-int8": Variant(1, "none", "int8"),
    "2-flip": Variant(2, "flip"),
    "2": Variant(2, "published"),
    "4": Variant(4, "published"),
    "4-int8": Variant(4, "published", "int8"),
    "8": Variant(8, "published"),
    "2-crop": Variant(2, "crop"),
    "4-crop": Variant(4, "crop"),
    "8-crop": Variant(8, "crop"),
    "anew": Variant(0, "published"),
}


def main() -> None:
    """Run what is missing, and show what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder with coco663 and corel5k")
    parser.add_argument("--output", type=Path, default=Path("results"))
    parser.add_argument("--cache", type=Path, default=None, help="by default runs/features below --output")
    parser.add_argument("--sets", nargs="+", choices=tuple(IMAGE_SIZES), default=tuple(IMAGE_SIZES))
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=tuple(VARIANTS))
    parser.add_argument("--fractions", nargs="+", type=float, default=FRACTIONS)
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, default=ARGUMENTS.epochs)
    parser.add_argument("--images", type=int, default=None, help="only so many training images, to try it out")
    options = parser.parse_args()
    file = options.output / "views.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {key(row) for row in rows}
    cache = FeatureCache(options.cache or options.output / "runs" / "features", CACHE_GIB)
    backbone = create_backbone("lite")
    for name in options.sets:
        train, _ = load_parts(name, options.data)
        train = train.subset(np.arange(len(train))[: options.images])
        for seed in options.seeds:
            for fraction in options.fractions:
                for variant in options.variants:
                    run = {
                        "data": name,
                        "images": len(train),
                        "variant": variant,
                        "known_fraction": fraction,
                        "seed": seed,
                        "epochs": options.epochs,
                    }
                    if key(run) in done:
                        continue
                    rows.append(run | measure(backbone, train, run, cache))
                    with file.open("a") as lines:
                        lines.write(json.dumps(rows[-1]) + "\n")
                    console.print(f"{name} {variant} seed {seed}: validation mAP {rows[-1]['valid_mAP']:.2f}")
    print(views_table(rows))


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Identity of a run."""
    return tuple(row[name] for name in ("data", "images", "variant", "known_fraction", "seed", "epochs"))


def measure(backbone: Backbone, images: LabelledImages, run: dict[str, Any], cache: FeatureCache) -> dict[str, Any]:
    """Train on four fifths of the images with the labels that the mask leaves, and judge on the others with all."""
    variant, seed = VARIANTS[run["variant"]], run["seed"]
    fit, valid = hold_out_images(images, round(VALID_SHARE * len(images)), seed)
    mask = partial_label_mask(fit, run["known_fraction"], seed)
    model = DualCoOp(backbone, images.classes, replace(CLASS_SPECIFIC, seed=seed), image_size=IMAGE_SIZES[run["data"]])
    arguments = replace(
        ARGUMENTS,
        views=variant.views,
        augmentation=variant.augmentation,
        feature_precision=variant.stored,
        seed=seed,
        epochs=run["epochs"],
    )
    times: dict[str, Any] = {}
    features = None
    if variant.views:
        features, times = encoded(model, fit, arguments, cache)
    valid_arguments = replace(arguments, views=1, augmentation="none")
    valid_features, _ = encoded(model, valid, valid_arguments, cache)
    result = Trainer(model, arguments, train=mask.apply(fit), mask=mask, train_features=features).train()
    found = mean_average_precision(region_scores(model, valid_features), valid.labels)
    return {
        "valid_mAP": found,
        **times,
        "training_seconds": result.seconds,
        "train_fingerprint": fit.fingerprint(),
        "valid_fingerprint": valid.fingerprint(),
        "backbone_fingerprint": backbone.fingerprint(),
        "versions": versions(),
        "machine": machine(),
    }


def encoded(
    model: DualCoOp, data: LabelledImages, arguments: TrainingArguments, cache: FeatureCache
) -> tuple[RegionFeatures, dict[str, Any]]:
    """Features, and how long it took to encode what was missing and then to find all of it."""

    def once() -> tuple[RegionFeatures, float]:
        start = time.perf_counter()
        features = encode_images_once(
            model,
            data,
            views=arguments.views,
            augmentation=arguments.augmentation,
            seed=arguments.seed,
            strict=True,
            precision=arguments.precision,
            stored=arguments.feature_precision,
            cache=cache,
        )
        return features, time.perf_counter() - start

    with console.status(f"encoding {len(data)} photographs in {arguments.views} views"):
        before = views_in(cache)
        _, encoding_seconds = once()
        features, reading_seconds = once()
    return features, {
        "encoded_views": views_in(cache) - before,
        "encoding_seconds": encoding_seconds,
        "reading_seconds": reading_seconds,
    }


def views_in(cache: FeatureCache) -> int:
    """Number of encoded views that are kept."""
    return sum(each.rows for each in contents(cache.folder))


if __name__ == "__main__":
    main()
