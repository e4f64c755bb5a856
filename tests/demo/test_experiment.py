from dataclasses import replace

import numpy as np
import pytest
import torch

from demo.conftest import OPTIONS, tiny_zero_shot
from dualcoop.data.splits import hold_out_images
from dualcoop.demo import experiment
from dualcoop.demo.experiment import run_demo
from dualcoop.demo.outcome import LINEAR, SHARED, SPECIFIC, ZERO_SHOT
from dualcoop.evaluation import class_thresholds, mean_average_precision
from dualcoop.training import Callback


def test_every_method_is_measured_with_every_seed(result):
    assert list(result.outcomes) == [ZERO_SHOT, LINEAR, SPECIFIC, SHARED]
    for outcome in result.outcomes.values():
        assert len(outcome.runs) == 2
        assert outcome.mean() == pytest.approx(np.mean(outcome.values()))
        assert all(run.scores.shape == run.decisions.shape == (12, 18) for run in outcome.runs)


def test_zero_shot_scores_are_the_untrained_models(result):
    expected = tiny_zero_shot().predict_proba(result.test.paths)
    for run in result.outcomes[ZERO_SHOT].runs:
        np.testing.assert_allclose(run.scores, expected, atol=2e-3)


def test_figures_are_those_of_the_scores_on_the_test_images(result):
    for outcome in result.outcomes.values():
        for run in outcome.runs:
            assert run.report["mAP"] == pytest.approx(mean_average_precision(run.scores, result.test.labels))


def test_training_changed_the_prompts_and_not_the_backbone(result):
    fresh = tiny_zero_shot()
    assert result.model.backbone_fingerprint() == fresh.backbone_fingerprint()
    scores = [result.outcomes[key].runs[0].scores for key in (ZERO_SHOT, SPECIFIC, SHARED)]
    assert not np.allclose(scores[0], scores[1])
    assert not np.allclose(scores[1], scores[2])


def test_labels_are_hidden_in_training_and_validation_alike(result):
    assert len(result.shown) + len(result.valid) == 40
    for part in (result.shown, result.valid):
        assert 0.3 < part.known.mean() < 0.7
    assert result.test.known.all()
    assert not set(result.test.paths) & set(result.train.paths)


def test_thresholds_come_from_validation_images(result):
    held = [path.name for path in result.valid.paths]
    _, expected = hold_out_images(result.train, len(held), 0)
    assert held == [path.name for path in expected.paths]
    valid_scores = tiny_zero_shot().predict_proba(result.valid.paths)
    thresholds = class_thresholds(valid_scores, result.valid.labels)
    run = result.outcomes[ZERO_SHOT].runs[0]
    assert (run.decisions == (run.scores > thresholds)).mean() > 0.99


def test_test_labels_decide_nothing(result, monkeypatch):
    """With all test labels turned round, scores, decisions and trained tensors stay as they were."""
    original = experiment.demo_data

    def turned():
        data = original()
        return replace(data, test=data.test.with_labels(-data.test.labels))

    monkeypatch.setattr(experiment, "demo_data", turned)
    other = run_demo(tiny_zero_shot(), OPTIONS, lambda text: None, Callback())
    for key, outcome in result.outcomes.items():
        for first, second in zip(outcome.runs, other.outcomes[key].runs, strict=True):
            np.testing.assert_array_equal(first.scores, second.scores)
            np.testing.assert_array_equal(first.decisions, second.decisions)
    for first, second in zip(result.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(first, second)


def test_progress_is_heard(listener, result):
    assert listener.steps[0].startswith("looking at 52 photographs")
    assert sum(text.startswith("round") for text in listener.steps) == 2
    assert (12, 12) in listener.encoded
    assert (40, 40) in listener.encoded
    assert listener.epochs == [1, 2] * 4
