"""What the demo does: zero-shot, a linear classifier and DualCoOp on the same photographs and the same few labels."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import partial_label_mask
from dualcoop.data.splits import hold_out_images
from dualcoop.demo.content import demo_data
from dualcoop.demo.outcome import (
    LINEAR,
    SHARED,
    SPECIFIC,
    TITLES,
    ZERO_SHOT,
    DemoOptions,
    DemoResult,
    Outcome,
    Run,
)
from dualcoop.evaluation import decide
from dualcoop.features import RegionFeatures, encode_images_once
from dualcoop.features.scoring import evaluate_scores, region_scores
from dualcoop.methods.base import Method
from dualcoop.methods.registry import method_class
from dualcoop.prompts import PromptConfig
from dualcoop.training import Callback, TrainingArguments

DECISIONS = "per-class thresholds chosen on the validation images"


@dataclass(frozen=True)
class _Part:
    """Images with the labels that may be seen, and their features."""

    data: LabelledImages
    features: RegionFeatures


def run_demo(zero_shot: Method, options: DemoOptions, say: Callable[[str], None], callback: Callback) -> DemoResult:
    """Run all methods with all seeds.

    Args:
        zero_shot: the untrained model for `demo_classes()`; the others are over its backbone.
        options: of the run.
        say: called with what comes next, in words.
        callback: hears of encoding and of all trainings.

    Raises:
        DualCoOpError: when the options make no sense.
    """
    start = time.perf_counter()
    data = demo_data()
    assert data.train is not None
    assert data.test is not None
    limits = ((data.test, options.test_limit), (data.train, options.train_limit))
    limited = [part.subset(range(len(part))[:limit]) for part, limit in limits]
    say(f"looking at {sum(map(len, limited))} photographs, once for all methods")
    test, everything = (
        _Part(part, encode_images_once(zero_shot, part, strict=True, progress=callback.encoding)) for part in limited
    )
    arguments = TrainingArguments() if options.epochs is None else TrainingArguments(epochs=options.epochs)

    runs: dict[str, list[Run]] = {key: [] for key in TITLES}
    shown: Method | None = None
    divided = [_divide(everything, options, seed) for seed in options.seeds]
    for number, (seed, (train, valid)) in enumerate(zip(options.seeds, divided, strict=True), start=1):
        say(f"round {number} of {len(options.seeds)}: {int(train.data.known.sum())} labels to learn from")
        learning = {"arguments": replace(arguments, seed=seed), "callbacks": [callback]}
        for key, (name, making, fitting) in _methods(seed, learning).items():
            model = method_class(name)(zero_shot.backbone, zero_shot.classes, image_size=zero_shot.image_size, **making)
            runs[key].append(_fitted(model, train, valid, test, fitting))
            shown = model if shown is None and key == SPECIFIC else shown
    assert shown is not None
    return DemoResult(
        options,
        everything.data,
        divided[0][0].data,
        divided[0][1].data,
        test.data,
        {key: Outcome(key, tuple(values)) for key, values in runs.items()},
        shown,
        arguments,
        time.perf_counter() - start,
    )


def _methods(seed: int, learning: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """Of each column the method, options to make it, and options to fit it."""
    specific, shared = (PromptConfig(class_specific=each, seed=seed) for each in (True, False))
    return {
        ZERO_SHOT: ("zero-shot", {}, {}),
        LINEAR: ("linear", {}, {}),
        SPECIFIC: ("dualcoop", {"prompts": specific}, learning),
        SHARED: ("dualcoop", {"prompts": shared}, learning),
    }


def _divide(everything: _Part, options: DemoOptions, seed: int) -> list[_Part]:
    """Training and validation images, most of their labels hidden."""
    names = everything.data.names
    held = max(1, round(options.valid_fraction * len(names)))
    return [
        _Part(
            partial_label_mask(part, options.known_fraction, seed).apply(part),
            everything.features.subset(np.flatnonzero(np.isin(names, part.names))),
        )
        for part in hold_out_images(everything.data, held, seed)
    ]


def _fitted(model: Method, train: _Part, valid: _Part, test: _Part, options: dict[str, Any]) -> Run:
    """Fit on the training images, with thresholds from the validation images; metrics from the test images."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        # With so few labels the best C is sometimes the last of the grid; there is nothing to do about it here.
        warnings.simplefilter("ignore")
        model.fit(train.features, train.data.labels, (valid.features, valid.data.labels), **options)
    seconds = time.perf_counter() - begin
    scores = region_scores(model, test.features)
    report = evaluate_scores(model, scores, test.data.labels, test.features, decision_rule=DECISIONS)
    return Run(scores, decide(scores, model.threshold_values()), report, seconds)
