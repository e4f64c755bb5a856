"""Sources of region features: the views that they choose, their random numbers, their gradients."""

import numpy as np
import pytest
import torch

from coloured import make_model, with_unreadable
from dualcoop.errors import DataError
from dualcoop.features import encode_images_once
from dualcoop.training import TrainingArguments
from dualcoop.training.batches import EncodedAnew, EncodedOnce
from tolerances import assert_agree, rounding

ROWS = np.arange(14)
# Summands of the tiny image tower's patches, and its products.
DEPTH = {"terms": 3 * 8 * 8, "layers": 3}


def anew(model, data, **options):
    return EncodedAnew(model, data, TrainingArguments(**{"views": 0, "augmentation": "published", **options}))


@pytest.fixture(scope="module")
def encoded(train_data):
    return encode_images_once(make_model(), train_data, views=3, augmentation="published")


def chosen_views(source, encoded):
    """Which view each image has, found by comparison."""
    views = torch.stack([encoded.batch(ROWS, view) for view in range(encoded.views)])
    same = (source.regions(ROWS)[None] == views).flatten(2).all(dim=2)
    assert (same.sum(dim=0) == 1).all()
    return same.int().argmax(dim=0).tolist()


def test_every_epoch_draws_a_view_of_each_image_from_seed_and_epoch(encoded):
    source = EncodedOnce(encoded, 3, seed=0)
    drawn = []
    for epoch in range(4):
        source.start_epoch(epoch)
        drawn.append(chosen_views(source, encoded))
    assert {view for views in drawn for view in views} == {0, 1, 2}
    assert len({tuple(views) for views in drawn}) == 4
    again = EncodedOnce(encoded, 3, seed=0)
    again.start_epoch(2)
    assert chosen_views(again, encoded) == drawn[2]
    other = EncodedOnce(encoded, 3, seed=1)
    other.start_epoch(2)
    assert chosen_views(other, encoded) != drawn[2]


def test_features_with_more_views_than_asked_for_give_the_first_ones_only(encoded):
    source = EncodedOnce(encoded, 1, seed=0)
    for epoch in range(3):
        source.start_epoch(epoch)
        assert chosen_views(source, encoded) == [0] * 14


def test_without_augmentation_images_encoded_anew_are_what_the_model_sees(train_data):
    model = make_model()
    source = anew(model, train_data, augmentation="none")
    source.start_epoch(0)
    assert_agree(source.regions(ROWS[2:5]), model.encode_images(train_data.paths[2:5]), **DEPTH)


def test_augmentation_anew_depends_on_seed_and_epoch_alone(train_data):
    model = make_model()
    source = anew(model, train_data)
    source.start_epoch(1)
    first = source.regions(ROWS[:4]), source.regions(ROWS[:4])
    assert not torch.equal(*first)
    torch.manual_seed(77)
    again = anew(model, train_data)
    again.start_epoch(0)
    assert not torch.equal(again.regions(ROWS[:4]), first[0])
    again.start_epoch(1)
    assert torch.equal(again.regions(ROWS[:4]), first[0])
    torch.rand(5)
    assert torch.equal(again.regions(ROWS[:4]), first[1])


def test_encoding_anew_leaves_the_global_random_numbers_alone(train_data):
    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    source = anew(make_model(), train_data)
    source.start_epoch(0)
    source.regions(ROWS[:3])
    assert torch.equal(torch.rand(2), expected)


def test_flip_anew_shows_plain_and_mirrored_images(train_data):
    model = make_model()
    plain = model.encode_images(train_data.paths)
    source = anew(model, train_data, augmentation="flip")
    source.start_epoch(0)
    same = [
        torch.allclose(a, b, rtol=0, atol=rounding(torch.float32, **DEPTH))
        for a, b in zip(source.regions(ROWS), plain, strict=True)
    ]
    assert 0 < sum(same) < 14


@pytest.mark.parametrize("finetune", ["none", "pooling"])
def test_only_a_tower_in_training_gets_a_graph(train_data, finetune):
    model = make_model()
    model.backbone.image_projection.weight.requires_grad_(True)
    source = anew(model, train_data, finetune=finetune)
    source.start_epoch(0)
    assert source.regions(ROWS[:2]).requires_grad is (finetune != "none")


@pytest.mark.parametrize("finetune", ["none", "pooling"])
def test_low_precision_gives_float32_near_full_precision(train_data, finetune):
    model = make_model()
    full = model.encode_images(train_data.paths[:3])
    source = anew(model, train_data, augmentation="none", finetune=finetune, precision="bfloat16")
    source.start_epoch(0)
    low = source.regions(ROWS[:3]).detach()
    assert low.dtype == torch.float32
    assert not torch.equal(low, full)
    assert torch.nn.functional.cosine_similarity(low, full, dim=-1).min() > 0.999


def test_an_image_that_vanishes_during_the_run_is_named(train_data, tmp_path):
    data = with_unreadable(train_data, tmp_path, 0)
    source = anew(make_model(), data)
    source.start_epoch(0)
    with pytest.raises(DataError, match="broken-0"):
        source.regions(ROWS[:2])
