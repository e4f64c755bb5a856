"""A linear classifier as a method: what it needs, and that it is the probe on the mean region."""

import numpy as np
import pytest

from coloured import CLASSES
from dualcoop.baselines import LinearProbe
from dualcoop.errors import ConfigError
from dualcoop.features.encoding import encode_images_once
from dualcoop.features.scoring import region_scores
from dualcoop.methods.linear import Linear
from tiny import TinyBackbone


@pytest.fixture
def parts(train_data, valid_data):
    model = Linear(TinyBackbone(), CLASSES)
    return [(encode_images_once(model, data), data.labels) for data in (train_data, valid_data)]


def test_scores_are_those_of_the_probe_on_the_mean_region(parts):
    (features, labels), valid = parts
    model = Linear(TinyBackbone(), CLASSES).fit(features, labels, valid)
    probe = LinearProbe().fit(features.global_regions(), labels, valid[0].global_regions(), valid[1])
    expected = probe.predict_proba(valid[0].global_regions())
    np.testing.assert_allclose(region_scores(model, valid[0]), expected, rtol=1e-4)
    assert model.training_record["training"]["C"] == probe.C_


def test_thresholds_stay_when_no_image_is_left_to_choose_them_by(parts):
    (features, labels), valid = parts
    model = Linear(TinyBackbone(), CLASSES, LinearProbe(refit=True)).fit(features, labels, valid)
    assert model.thresholds.tolist() == [0.5] * 3


def test_held_out_images_are_needed(parts):
    with pytest.raises(ConfigError, match=r"needs held-out images to choose C by\. Give valid\."):
        Linear(TinyBackbone(), CLASSES).fit(*parts[0])
