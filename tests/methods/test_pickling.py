"""Models that travel to other processes, without what they keep for speed."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
import torch

from backbones.tiny_models import tiny_backbone
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.prompts import PromptConfig
from tiny import TinyBackbone

CLASSES = ("dog", "sky", "kite")
IMAGES = list(np.random.default_rng(0).integers(256, size=(6, 64, 64, 3), dtype=np.uint8))


def used(model: DualCoOp) -> np.ndarray:
    """The probabilities of some images, after the model was used for everything that it keeps something for."""
    model.backbone.fingerprint()
    model.explain(IMAGES[0], CLASSES[0])
    with torch.autocast("cpu", torch.bfloat16):
        model.encode_images(IMAGES, 2)
    return model.predict_proba(IMAGES, 2)


@pytest.fixture
def model() -> DualCoOp:
    model = DualCoOp(tiny_backbone("siglip"), CLASSES, PromptConfig(class_specific=False))
    with torch.no_grad():
        model.prompts.positive_context.normal_(generator=torch.Generator().manual_seed(1))
    model.set_thresholds([0.2, 0.4, 0.6])
    return model


def test_use_adds_nothing_to_a_pickle(model: DualCoOp) -> None:
    before = len(pickle.dumps(model))
    used(model)
    assert len(pickle.dumps(model)) == before


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_predict_the_same_and_keep_what_is_their_own(model: DualCoOp, duplicate) -> None:
    expected = used(model)
    twin = duplicate(model)
    assert twin.kept_text_features() is None
    np.testing.assert_allclose(used(twin), expected, rtol=1e-5, atol=1e-6)
    assert twin.predict(IMAGES[0]).decisions == model.predict(IMAGES[0]).decisions
    with torch.no_grad():
        twin.prompts.positive_context.zero_()
    np.testing.assert_allclose(used(model), expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(used(twin), expected)


def test_a_model_goes_to_a_new_process_and_back() -> None:
    model = DualCoOp(TinyBackbone(), CLASSES)
    expected = used(model)
    with multiprocessing.get_context("spawn").Pool(1) as process:
        there = process.apply_async(used, [model])
        back = process.apply_async(copy.copy, [model])
        np.testing.assert_allclose(there.get(300), expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(used(back.get(300)), expected, rtol=1e-5, atol=1e-6)
