"""Building networks without drawing weights."""

import pytest
import timm
import torch
from torch import nn

from backbones.tiny_models import CLIP_TEXT
from dualcoop.backbones.loading.uninitialised import Uninitialised
from dualcoop.backbones.text.tower import TextTower

LAYERS = {
    "linear": lambda: nn.Linear(3, 3),
    "convolution": lambda: nn.Conv2d(3, 3, 3),
    "embedding": lambda: nn.Embedding(3, 3),
    "attention": lambda: nn.MultiheadAttention(4, 2),
    "transformer": lambda: TextTower.from_config(16, CLIP_TEXT),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_no_random_number_is_drawn_for_a_layer(layer):
    before = torch.get_rng_state()
    with Uninitialised():
        LAYERS[layer]()
    assert torch.equal(torch.get_rng_state(), before)


def test_no_random_number_is_drawn_for_the_image_tower_of_lite():
    before = torch.get_rng_state()
    with Uninitialised():
        timm.create_model("tf_efficientnet_lite2")
    assert torch.equal(torch.get_rng_state(), before)


def test_constants_are_filled_in_as_ever():
    with Uninitialised():
        norm = nn.BatchNorm2d(3)
    assert norm.weight.tolist() == norm.running_var.tolist() == [1, 1, 1]


def test_outside_weights_are_drawn():
    with Uninitialised():
        pass
    before = torch.get_rng_state()
    nn.Linear(2, 2)
    assert not torch.equal(torch.get_rng_state(), before)
