"""The published procedure of the benchmarks and the library do the same arithmetic; only their cost differs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.ours import Epoch, TimedModel, contexts
from benchmarks.reference import PublishedPrompts, PublishedStep, region_features
from dualcoop import PromptConfig, TrainingArguments
from dualcoop.backbones.loading.open_clip_models import build_open_clip, build_tokenizer, wrap_open_clip
from dualcoop.backbones.loading.state_dicts import infer_model_config, load_into
from reference.openai_checkpoint import random_state

CLASSES = ("dog", "traffic_light", "wine glass", "person")
TOLERANCE = 1e-4


def relative_error(got, expected):
    return float((got - expected).detach().abs().max() / expected.detach().abs().max())


@pytest.fixture(scope="module")
def towers():
    state = random_state(seed=11)
    models = []
    for _ in range(2):
        config = infer_model_config(state, "tiny")
        models.append(build_open_clip(config))
        load_into(models[-1], state, "tiny")
    published, frozen = models
    return published.eval(), wrap_open_clip(frozen, name="tiny", tokenizer=build_tokenizer(config))


def random_images(size):
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def pixels():
    """Of a size at which the positional embedding is interpolated."""
    return random_images(256)


@pytest.fixture(params=["class-specific", "shared"])
def model(request, towers, pixels):
    # Two prompts that are much alike: their probabilities are far from 0 and 1, where float32 has no digits left.
    prompts = PromptConfig(
        6,
        6,
        class_specific=request.param == "class-specific",
        positive_init=None,
        negative_init=None,
        residual=False,
    )
    return TimedModel(towers[1], CLASSES, prompts, image_size=pixels.shape[-1])


@pytest.fixture
def labels():
    return np.array([[1, -1, 0, -1], [-1, 1, 1, 0], [0, -1, -1, 1]], dtype=np.int8)


@pytest.fixture
def published(towers, model, pixels, labels):
    prompts = tuple(PublishedPrompts(towers[1], CLASSES, context) for context in contexts(model))
    return PublishedStep(towers[0], prompts, pixels, torch.from_numpy(labels), loss_weight=0.03, learning_rate=0.002)


class InOrder:
    """Features (n, R, D) of all images, in the order of the labels."""

    def __init__(self, regions):
        self._regions = regions

    def start_epoch(self, epoch):
        pass

    def regions(self, rows):
        return self._regions[torch.from_numpy(rows)]


@pytest.fixture
def ours(model, pixels, labels):
    """The library's step on features that it encoded itself."""
    arguments = TrainingArguments.published(batch_size=3, views=1, augmentation="none")
    return Epoch(model, arguments, 3, InOrder(model.encode_pixels(pixels)), labels)


@pytest.mark.parametrize("size", [224, 256])
def test_region_features_agree(towers, size):
    pixels = random_images(size)
    expected = towers[1].encode_regions(pixels)
    with torch.no_grad():
        assert relative_error(region_features(towers[0].visual, pixels), expected) < TOLERANCE


def test_loss_agrees(published, ours, labels):
    published()
    ours()
    assert published.loss / 0.03 / np.count_nonzero(labels) == pytest.approx(ours.loss, rel=TOLERANCE)


@pytest.mark.parametrize("polarity", ["positive", "negative"])
def test_gradients_of_the_contexts_agree(published, ours, model, polarity):
    published()
    ours()
    expected = published.prompts[polarity == "negative"].context.grad
    assert expected.abs().max() > 1e-3, "the comparison needs gradients that are not negligible"
    assert relative_error(getattr(model.prompts, f"{polarity}_context").grad, expected) < TOLERANCE


def test_contexts_agree_after_two_steps_of_the_optimizer(published, ours, model):
    start = contexts(model)
    for _ in range(2):
        published()
        ours()
    for before, theirs, mine in zip(start, published.prompts, contexts(model), strict=True):
        assert relative_error(mine - before, theirs.context - before) < 1e-3


def test_a_published_step_gathers_gradients_of_the_text_tower_that_never_go_away(published, towers):
    for parameter in towers[0].parameters():
        parameter.grad = None
    weight = towers[0].transformer.resblocks[0].mlp.c_fc.weight
    published()
    first = weight.grad.clone()
    published()
    assert first.abs().max() > 0
    assert not torch.equal(weight.grad, first)


def test_no_weight_changes_in_a_published_step(published, towers):
    before = [parameter.detach().clone() for parameter in towers[0].parameters()]
    published()
    assert all(torch.equal(a, b) for a, b in zip(before, towers[0].parameters(), strict=True))


@pytest.mark.parametrize("model", ["class-specific"], indirect=True)
def test_drawn_classes_are_the_only_ones_that_learn(towers, model, pixels, labels):
    prompts = tuple(PublishedPrompts(towers[1], CLASSES, context) for context in contexts(model))
    step = PublishedStep(
        towers[0],
        prompts,
        pixels,
        torch.ones_like(torch.from_numpy(labels)),
        loss_weight=0.03,
        learning_rate=0.002,
        class_sample=2,
    )
    step()
    assert int((prompts[0].context.grad.flatten(1).abs().amax(dim=1) > 0).sum()) == 2


def test_our_stages_add_up_to_the_whole_step(ours):
    stages = ours()
    assert set(stages) == {"reading", "text", "head", "backward"}
    assert min(stages.values()) >= 0


def test_another_precision_is_taken_from_the_arguments(model):
    arguments = replace(TrainingArguments.published(batch_size=4, views=1, augmentation="none"), precision="bfloat16")
    epoch = Epoch(model, arguments, 4)
    epoch()
    assert np.isfinite(epoch.loss)
