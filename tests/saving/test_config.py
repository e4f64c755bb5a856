"""config.json: what comes back, what is recognised, what JSON cannot hold."""

import json
from pathlib import Path

import numpy as np
import pytest

from dualcoop.errors import ModelError
from dualcoop.prompts import PromptConfig
from dualcoop.saving.config import SavedConfig, is_saved_model, plain


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("dualcoop", {"prompts": PromptConfig.paper_zero_shot().to_dict(), "image_size": 448, "logit_bias": -4.5}),
        ("linear", {"image_size": 448}),
    ],
)
def test_configuration_survives_json(method, settings):
    config = SavedConfig(
        classes=("dog", "Zürich"),
        settings=settings,
        backbone_name="RN50/openai",
        backbone_fingerprint="ab" * 32,
        finetuned=True,
        files={"model.safetensors": "cd" * 32},
        training_record={"metrics": {"mAP": 50.0}},
        method=method,
        dualcoop_version="0.0.1",
    )
    assert (config.to_dict().get("method") == "linear") is (method == "linear")
    assert SavedConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("text", "recognised"),
    [
        ('{"format": "dualcoop"}', True),
        ('{"format": "dualcoop", "classes": [', True),
        ('{"model_type": "clip"}', False),
        ('{"model_type": "cl', False),
        ("[]", False),
        ("", False),
        (None, False),
    ],
)
def test_saved_models_are_recognised_even_when_damaged(tmp_path, text, recognised):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    assert is_saved_model(tmp_path) is recognised


def test_impossible_names_are_no_saved_models():
    assert not is_saved_model(Path("a\0b"))
    assert not is_saved_model(Path("a" * 5000))


def test_binary_rubbish_is_not_recognised(tmp_path):
    (tmp_path / "config.json").write_bytes(bytes(range(256)))
    assert not is_saved_model(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (float("nan"), None),
        (-np.inf, None),
        ((1, (2,)), [1, [2]]),
        ({1: {"a": None}}, {"1": {"a": None}}),
        (Path("a/b"), str(Path("a/b"))),
        (True, True),
    ],
)
def test_values_become_plain_json(value, expected):
    assert plain(value) == expected
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == expected


def test_values_that_json_cannot_hold_are_named_by_their_place():
    with pytest.raises(ModelError, match=r"training_record\['a'\]\[1\] is a set"):
        plain({"a": [1, {2}]})
