"""Logits and reports from features at hand."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from coloured import make_model, with_unreadable
from dualcoop.features import encode_images_once, scoring
from dualcoop.features.scoring import evaluate_scores, region_logits, region_scores
from dualcoop.functional import probabilities


@pytest.fixture
def model():
    return make_model()


@pytest.fixture
def text_calls(model, monkeypatch):
    calls = []
    encode = model.backbone.encode_prompts
    monkeypatch.setattr(model.backbone, "encode_prompts", lambda *inputs: calls.append(inputs) or encode(*inputs))
    return calls


def test_scores_are_the_models_in_batches_of_any_size(model, valid_data, monkeypatch):
    features = encode_images_once(model, valid_data)
    expected = model.predict_proba(valid_data.paths)
    for size in (64, 3):
        monkeypatch.setattr(scoring, "SCORE_BATCH", size)
        np.testing.assert_allclose(region_scores(model, features), expected, atol=5e-3)
    logits = region_logits(model, features)
    assert not logits.positive.requires_grad
    np.testing.assert_array_equal(probabilities(logits).numpy(), region_scores(model, features))


@pytest.mark.parametrize("learnable", [False, True], ids=["frozen", "while the tower learns"])
def test_text_features_are_computed_once_for_all_batches(model, valid_data, text_calls, monkeypatch, learnable):
    monkeypatch.setattr(scoring, "SCORE_BATCH", 3)
    features = encode_images_once(model, valid_data)
    model.backbone.image_projection.weight.requires_grad_(learnable)
    region_logits(model, features)
    assert len(text_calls) == 2


def test_a_report_uses_the_models_thresholds(model, valid_data):
    features = encode_images_once(model, valid_data)
    scores = np.full((10, 3), 0.6, dtype=np.float32)
    assert evaluate_scores(model, scores, valid_data.labels, features)["OR"] == 100
    model.set_thresholds(0.7)
    assert evaluate_scores(model, scores, valid_data.labels, features)["OR"] == 0


def test_a_report_names_the_images_that_count_nowhere(model, valid_data, tmp_path):
    data = with_unreadable(valid_data, tmp_path, 1, 2, 3, 4)
    features = encode_images_once(model, data)
    report = evaluate_scores(model, region_scores(model, features), data.labels[features.kept], features)
    assert report.images == 6
    note = report.notes[0]
    assert note.startswith("4 of 10 images cannot be read and count nowhere: ")
    assert note.count("broken-") == 3
    assert note.endswith(" And 1 more.")
    assert str(tmp_path) not in note
    rest = features.subset(features.kept)
    complete = evaluate_scores(model, region_scores(model, rest), valid_data.labels[features.kept], rest)
    assert complete.notes == report.notes[1:]
    assert [metric.value for metric in complete.metrics] == [metric.value for metric in report.metrics]


def test_scoring_needs_no_gradients(model, valid_data):
    logits = region_logits(model, encode_images_once(model, valid_data))
    assert logits.negative.grad_fn is None
    assert torch.isfinite(logits.negative).all()


def test_measuring_a_model_imports_nothing_of_training():
    code = (
        "import sys, tempfile; from pathlib import Path; from coloured import make_model, write_images\n"
        "from dualcoop.features.scoring import evaluate_images; from dualcoop.methods.registry import load_method\n"
        "from tiny import TinyBackbone\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    data = write_images(Path(folder) / 'images', 3, seed=1); make_model().save_pretrained(folder)\n"
        "    evaluate_images(load_method(folder, backbone=TinyBackbone()), data)\n"
        "print([name for name in sys.modules if name.startswith('dualcoop.training')])"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.strip() == "[]"
