"""The published training run costs what it costs and learns the same."""

import pytest
import torch

from benchmarks.to_same_map import Curve, OutOfTime, PublishedLearner
from dualcoop import PromptConfig
from dualcoop.backbones import create_backbone
from dualcoop.prompts import PromptLearner

CLASSES = ("dog", "traffic light")
CONFIG = PromptConfig.paper_partial_labels()


@pytest.fixture(scope="module")
def backbone():
    return create_backbone("lite")


def test_published_text_features_are_the_library_s(backbone):
    with torch.no_grad():
        ours = PromptLearner(backbone, CLASSES, CONFIG).text_features(backbone)
        published = PublishedLearner(backbone, CLASSES, CONFIG).text_features(backbone)
    torch.testing.assert_close(ours, published, rtol=1e-4, atol=1e-5)


def test_a_curve_gives_the_first_time_at_which_a_value_is_reached():
    curve = Curve(9.0, seconds=[1.0, 2.0, 3.0, 4.0], valid_map=[10.0, 30.0, 20.0, 40.0])
    assert (curve.time_to(30.0), curve.time_to(35.0), curve.time_to(50.0)) == (2.0, 4.0, None)


def test_a_curve_ends_its_run_when_the_budget_is_spent():
    curve = Curve(budget=-1.0)
    with pytest.raises(OutOfTime):
        curve.epoch({"valid_map": 12.0})
    assert curve.valid_map == [12.0]
