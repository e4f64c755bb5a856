"""Region features at hand: batches, subsets, and global regions."""

import numpy as np
import pytest
import torch

from coloured import make_model, with_unreadable
from dualcoop.features import encode_images_once
from dualcoop.methods.dualcoop import DualCoOp


@pytest.fixture(scope="module")
def model() -> DualCoOp:
    return make_model()


def test_batches_take_a_view_for_each_row(model, train_data):
    encoded = encode_images_once(model, train_data, views=2, augmentation="flip")
    mixed = encoded.batch(np.array([5, 5, 2]), np.array([0, 1, 1]))
    assert torch.equal(mixed[0], encoded.batch(np.array([5]), 0)[0])
    assert torch.equal(mixed[1], encoded.batch(np.array([5]), 1)[0])
    assert torch.equal(mixed[2], encoded.batch(np.array([2]), 1)[0])


def test_a_subset_belongs_to_the_same_subset_of_the_images(model, train_data, tmp_path):
    data = with_unreadable(train_data, tmp_path, 1, 4)
    indices = np.array([6, 4, 0, 13])
    part = encode_images_once(model, data).subset(indices)
    expected = encode_images_once(model, data.subset(indices))
    assert part.kept.tolist() == expected.kept.tolist() == [0, 2, 3]
    assert part.problems == expected.problems
    # Kept in float16, after batches of other sizes.
    step = torch.finfo(torch.float16).eps
    torch.testing.assert_close(part.batch(np.arange(3)), expected.batch(np.arange(3)), rtol=0, atol=step)


def test_global_regions_are_the_first_region_of_the_plain_view(model, train_data):
    encoded = encode_images_once(model, train_data, views=2, augmentation="flip")
    regions = encoded.global_regions()
    assert regions.dtype == np.float32
    assert (regions == encoded.batch(np.arange(14), 0)[:, 0].numpy()).all()
