"""The pull of the text features towards their start, against its formula."""

import numpy as np
import pytest
import torch

from dualcoop import PromptConfig
from dualcoop.prompts import TextFeatures
from dualcoop.training.anchor import Anchor
from training.coloured import make_model


@pytest.fixture
def model():
    return make_model()


def moved(model, seed=0):
    """The model's text features with noise."""
    generator = torch.Generator().manual_seed(seed)
    return TextFeatures(
        *(
            torch.nn.functional.normalize(each + 0.3 * torch.randn(each.shape, generator=generator), dim=-1)
            for each in (feature.detach() for feature in model.text_features())
        )
    )


def test_without_strength_there_is_no_penalty(model, train_data):
    anchor = Anchor(model, train_data, 0.0)
    assert anchor.penalty(moved(model), None) == 0.0
    assert anchor.tensors() == {}


def test_the_start_costs_nothing(model, train_data):
    anchor = Anchor(model, train_data, 5.0)
    with torch.no_grad():
        assert float(anchor.penalty(model.text_features(), None)) == pytest.approx(0, abs=1e-6)


def test_the_penalty_is_its_formula(model, train_data):
    text = moved(model)
    start = [feature.detach() for feature in model.text_features()]
    known_per_class = np.count_nonzero(train_data.labels) / 3
    expected = sum(
        sum(1 - float(a @ b) for a, b in zip(feature, origin, strict=True)) / 3
        for feature, origin in zip(text, start, strict=True)
    )
    penalty = Anchor(model, train_data, 5.0).penalty(text, None)
    assert float(penalty) == pytest.approx(5.0 / known_per_class * expected, rel=1e-5)


def test_few_known_labels_make_the_start_count_more(model, train_data):
    full = np.where(train_data.labels == 0, -1, train_data.labels)
    few = full.copy()
    few[2:] = 0
    text = moved(model)
    penalties = [float(Anchor(model, train_data.with_labels(each), 1.0).penalty(text, None)) for each in (full, few)]
    assert penalties[1] == pytest.approx(7 * penalties[0], rel=1e-5)


def test_a_class_sample_is_compared_with_its_own_start(model, train_data):
    anchor = Anchor(model, train_data, 1.0)
    subset = torch.tensor([2, 0])
    with torch.no_grad():
        text = model.text_features(subset)
    assert float(anchor.penalty(text, subset)) == pytest.approx(0, abs=1e-6)
    assert float(anchor.penalty(text, torch.tensor([0, 2]))) > 1e-3


def test_one_prompt_alone_has_one_term(train_data):
    model = make_model(prompts=PromptConfig(mode="positive"))
    anchor = Anchor(model, train_data, 1.0)
    assert list(anchor.tensors()) == ["anchor.0"]
    penalty = anchor.penalty(model.text_features(), None)
    assert penalty.requires_grad


def test_a_restored_anchor_pulls_to_the_old_start(model, train_data):
    anchor = Anchor(model, train_data, 1.0)
    text = moved(model)
    expected = float(anchor.penalty(text, None))
    with torch.no_grad():
        model.prompts.positive_context.copy_(model.prompts.positive_context.flip(-1))
    later = Anchor(model, train_data, 1.0)
    assert float(later.penalty(text, None)) != pytest.approx(expected, rel=1e-3)
    later.restore(anchor.tensors())
    assert float(later.penalty(text, None)) == expected


def test_a_start_that_is_missing_is_noticed(model, train_data):
    with pytest.raises(KeyError):
        Anchor(model, train_data, 1.0).restore({})
