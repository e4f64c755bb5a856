"""The pull of the text features towards their start, against its formula."""

import pytest
import torch

from coloured import make_model
from dualcoop import PromptConfig
from dualcoop.training.anchor import Anchor


@pytest.fixture
def model():
    return make_model()


def moved(model, seed=0):
    """The model's text features with noise."""
    generator = torch.Generator().manual_seed(seed)

    def noisy(each):
        noise = 0.3 * torch.randn(each.shape, generator=generator)
        return torch.nn.functional.normalize(each.detach() + noise, dim=-1)

    return model.text_features().mapped(noisy)


def test_without_strength_there_is_no_penalty(model):
    anchor = Anchor(model, 0.0)
    assert anchor.penalty(moved(model), None, 8.0) == 0.0
    assert anchor.tensors() == {}


def test_the_start_costs_nothing(model):
    anchor = Anchor(model, 5.0)
    with torch.no_grad():
        assert float(anchor.penalty(model.text_features(), None, 8.0)) == pytest.approx(0, abs=1e-6)


def test_the_penalty_is_its_formula(model):
    text = moved(model)
    start = model.text_features()
    expected = sum(
        sum(1 - float(a @ b) for a, b in zip(feature, origin, strict=True)) / 3
        for feature, origin in ((text[name], start[name].detach()) for name in ("positive", "negative"))
    )
    penalty = Anchor(model, 5.0).penalty(text, None, 8.0)
    assert float(penalty) == pytest.approx(5.0 / 8.0 * expected, rel=1e-5)


def test_few_known_labels_make_the_start_count_more_down_to_one_a_class(model):
    anchor, text = Anchor(model, 1.0), moved(model)
    many, few, one, fewer = (float(anchor.penalty(text, None, count)) for count in (70.0, 7.0, 1.0, 0.1))
    assert few == pytest.approx(10 * many, rel=1e-5)
    assert one == fewer == pytest.approx(7 * few, rel=1e-5)


def test_a_class_sample_is_compared_with_its_own_start(model):
    anchor = Anchor(model, 1.0)
    subset = torch.tensor([2, 0])
    with torch.no_grad():
        text = model.text_features(subset)
    assert float(anchor.penalty(text, subset, 8.0)) == pytest.approx(0, abs=1e-6)
    assert float(anchor.penalty(text, torch.tensor([0, 2]), 8.0)) > 1e-3


def test_one_prompt_alone_has_one_term():
    model = make_model(prompts=PromptConfig(mode="positive"))
    anchor = Anchor(model, 1.0)
    assert list(anchor.tensors()) == ["anchor.0"]
    penalty = anchor.penalty(model.text_features(), None, 8.0)
    assert penalty.requires_grad


def test_a_restored_anchor_pulls_to_the_old_start(model):
    anchor = Anchor(model, 1.0)
    text = moved(model)
    expected = float(anchor.penalty(text, None, 8.0))
    with torch.no_grad():
        model.prompts.positive_context.copy_(model.prompts.positive_context.flip(-1))
    later = Anchor(model, 1.0)
    assert float(later.penalty(text, None, 8.0)) != pytest.approx(expected, rel=1e-3)
    later.restore(anchor.tensors())
    assert float(later.penalty(text, None, 8.0)) == expected


def test_a_start_that_is_missing_is_noticed(model):
    anchor = Anchor(model, 1.0)
    for found in ({}, {"anchor.0": torch.zeros(3, 16)}):
        with pytest.raises(ValueError, match="argument 2 is shorter"):
            anchor.restore(found)


def test_a_checkpoint_that_counted_the_missing_prompt_too_is_read():
    """The negative prompt alone was once the second of two."""
    anchor = Anchor(make_model(prompts=PromptConfig(mode="negative")), 1.0)
    (start,) = anchor.tensors().values()
    anchor.restore({"anchor.1": start + 1})
    assert torch.equal(anchor.tensors()["anchor.0"], start + 1)
