"""What the demo does: zero-shot, a linear classifier and DualCoOp on the same photographs and the same few labels."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from dualcoop.baselines import LinearProbe
from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask, partial_label_mask
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
from dualcoop.evaluation import class_thresholds, decide, evaluate
from dualcoop.functional import probabilities
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.prompts import PromptConfig
from dualcoop.training import Callback, RegionFeatures, Trainer, TrainingArguments, encode_images_once


@dataclass(frozen=True)
class _Part:
    """Images with the labels that may be seen, and their features."""

    data: LabelledImages
    features: RegionFeatures
    mask: LabelMask | None = None


def run_demo(zero_shot: DualCoOp, options: DemoOptions, say: Callable[[str], None], callback: Callback) -> DemoResult:
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
    train_data = data.train.subset(np.arange(len(data.train))[: options.train_limit])
    test_data = data.test.subset(np.arange(len(data.test))[: options.test_limit])
    say(f"looking at {len(test_data) + len(train_data)} photographs, once for all methods")
    test = _Part(test_data, _encoded(zero_shot, test_data, callback))
    everything = _Part(train_data, _encoded(zero_shot, train_data, callback))
    arguments = TrainingArguments() if options.epochs is None else TrainingArguments(epochs=options.epochs)

    runs: dict[str, list[Run]] = {key: [] for key in TITLES}
    models: list[DualCoOp] = []
    divided = [_divide(everything, options, seed) for seed in options.seeds]
    for number, (seed, (train, valid)) in enumerate(zip(options.seeds, divided, strict=True), start=1):
        say(f"round {number} of {len(options.seeds)}: {int(train.data.known.sum())} labels to learn from")
        runs[ZERO_SHOT].append(_judged(partial(_scores, zero_shot), valid, test, 0.0))
        begin = time.perf_counter()
        scorer = _fitted_probe(train, valid)
        runs[LINEAR].append(_judged(scorer, valid, test, time.perf_counter() - begin))
        for key in (SPECIFIC, SHARED):
            begin = time.perf_counter()
            model = _trained(zero_shot, key, train, valid, replace(arguments, seed=seed), callback)
            models.append(model)
            runs[key].append(_judged(partial(_scores, model), valid, test, time.perf_counter() - begin))
    return DemoResult(
        options,
        train_data,
        divided[0][0].data,
        divided[0][1].data,
        test_data,
        {key: Outcome(key, tuple(values)) for key, values in runs.items()},
        models[0],
        arguments,
        time.perf_counter() - start,
    )


Scorer = Callable[[_Part], NDArray[np.float32]]


def _encoded(model: DualCoOp, data: LabelledImages, callback: Callback) -> RegionFeatures:
    return encode_images_once(model, data, strict=True, progress=callback.encoding)


def _divide(everything: _Part, options: DemoOptions, seed: int) -> tuple[_Part, _Part]:
    """Training and validation images, most of their labels hidden."""
    data = everything.data
    place = {path: index for index, path in enumerate(data.paths)}
    held = max(1, round(options.valid_fraction * len(data)))
    parts = []
    for part in hold_out_images(data, held, seed):
        mask = partial_label_mask(part, options.known_fraction, seed)
        rows = np.array([place[path] for path in part.paths])
        parts.append(_Part(mask.apply(part), everything.features.subset(rows), mask))
    return parts[0], parts[1]


def _scores(model: DualCoOp, part: _Part) -> NDArray[np.float32]:
    with torch.no_grad():
        regions = part.features.batch(np.arange(len(part.features)))
        return probabilities(model.logits_from_regions(regions.to(model.device))).float().cpu().numpy()


def _fitted_probe(train: _Part, valid: _Part) -> Scorer:
    with warnings.catch_warnings():
        # With so few labels the best C is sometimes the last of the grid; there is nothing to do about it here.
        warnings.simplefilter("ignore")
        probe = LinearProbe().fit(
            train.features.global_regions(),
            train.data.labels,
            valid.features.global_regions(),
            valid.data.labels,
        )
    return lambda part: probe.predict_proba(part.features.global_regions())


def _trained(
    zero_shot: DualCoOp,
    key: str,
    train: _Part,
    valid: _Part,
    arguments: TrainingArguments,
    callback: Callback,
) -> DualCoOp:
    model = DualCoOp(
        zero_shot.backbone,
        zero_shot.classes,
        PromptConfig(class_specific=key == SPECIFIC, seed=arguments.seed),
        image_size=zero_shot.image_size,
    )
    Trainer(
        model,
        arguments,
        train=train.data,
        valid=valid.data,
        callbacks=[callback],
        mask=train.mask,
        train_features=train.features,
        valid_features=valid.features,
    ).train()
    return model


def _judged(scorer: Scorer, valid: _Part, test: _Part, seconds: float) -> Run:
    """Thresholds from the validation images, metrics from the test images."""
    scores = scorer(test)
    thresholds = class_thresholds(scorer(valid), valid.data.labels)
    report = evaluate(
        scores,
        test.data.labels,
        test.data.classes,
        threshold=thresholds,
        decision_rule="per-class thresholds chosen on the validation images",
    )
    return Run(scores, decide(scores, thresholds), report, seconds)
