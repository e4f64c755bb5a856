"""Class frequencies as logit biases, against values computed by hand."""

import numpy as np
import pytest
import torch

from coloured import make_model
from dualcoop.training.class_prior import class_log_odds, set_class_bias
from tolerances import assert_agree

# 3 of 4, 0 of 4, none known; together 3 of 8, and with one label of each kind added 4 of 10.
LABELS = np.array([[1, -1, 0], [1, -1, 0], [1, -1, 0], [-1, -1, 0]])


def test_log_odds_are_drawn_towards_all_classes_with_the_weight_of_five_labels():
    shares = np.array([(3 + 5 * 0.4) / 9, (0 + 5 * 0.4) / 9, 0.4])
    assert class_log_odds(LABELS) == pytest.approx(np.log(shares / (1 - shares)))


def test_many_labels_speak_for_themselves():
    labels = np.where(np.arange(10000)[:, None] < 2500, 1, -1)
    assert class_log_odds(labels) == pytest.approx([np.log(1 / 3)], abs=1e-3)


@pytest.mark.parametrize("label", [1, -1])
def test_certainty_stays_finite(label):
    assert np.isfinite(class_log_odds(np.full((10**5, 2), label))).all()


def test_unknown_labels_count_nowhere():
    diluted = np.concatenate([LABELS, np.zeros((20, 3), dtype=int)])
    assert (class_log_odds(diluted) == class_log_odds(LABELS)).all()


def test_the_log_odds_take_the_place_of_the_constant():
    model = make_model(logit_bias=-4.0)
    set_class_bias(model, LABELS)
    expected = torch.from_numpy(class_log_odds(LABELS)).float()
    assert_agree(model.class_bias + model.logit_bias, expected, terms=2, scale=4.0)


def test_a_backbone_without_a_bias_gets_none():
    model = make_model(logit_bias=0.0)
    set_class_bias(model, LABELS)
    assert not model.class_bias.any()
