"""What validation images decide, and how that is named."""

import numpy as np
import pytest
import torch

from coloured import make_model, with_unreadable
from dualcoop.errors import DataError
from dualcoop.evaluation import class_thresholds, mean_average_precision
from dualcoop.features import encode_images_once
from dualcoop.features.scoring import region_scores
from dualcoop.functional import asymmetric_loss
from dualcoop.training import TrainingArguments
from dualcoop.training.validation import Validation
from tolerances import assert_agree


def make_validation(model, data, encoded=None, **options):
    """Validation; with a list for the numbers of images encoded, it encodes again as for a tower in training."""

    def encode():
        features = encode_images_once(model, data)
        if encoded is not None:
            encoded.append(len(features))
        return features, data.labels[features.kept]

    return Validation(model, TrainingArguments(**options), *encode(), None if encoded is None else encode)


@pytest.mark.parametrize("reduction", ["normalised", "published"])
def test_a_row_has_the_mean_loss_and_the_map_of_the_known_labels(valid_data, reduction):
    labels = valid_data.labels.copy()
    labels[3:6, 1] = 0
    data = valid_data.with_labels(labels)
    model = make_model()
    row = make_validation(model, data, reduction=reduction, gamma_negative=2.0).row()
    with torch.no_grad():
        logits = model.logits_from_regions(encode_images_once(model, data).batch(np.arange(10)))
    expected = asymmetric_loss(logits, torch.from_numpy(labels), reduction="mean")
    assert row["valid_loss"] == pytest.approx(float(expected), rel=1e-5)
    scores = torch.sigmoid(logits.positive - logits.negative).numpy()
    assert row["valid_map"] == pytest.approx(mean_average_precision(scores, labels))


def test_images_are_encoded_again_where_the_tower_learns_and_as_often_as_it_changes(valid_data):
    encoded = []
    validation = make_validation(make_model(), valid_data, encoded)
    validation.row()
    validation.row()
    validation.finish()
    assert encoded == [10, 10, 10]
    validation.finish(chosen_is_last=False)
    assert encoded == [10, 10, 10, 10]


def test_thresholds_are_fitted_and_the_report_says_to_what(valid_data):
    model = make_model()
    report = make_validation(model, valid_data).finish()
    scores = region_scores(model, encode_images_once(model, valid_data))
    expected = torch.from_numpy(class_thresholds(scores, valid_data.labels)).float()
    assert_agree(model.thresholds, expected, terms=1)
    protocol = {metric.key: metric.protocol for metric in report.metrics}
    assert protocol["CF1"] == "mean of per-class F1, per-class thresholds fitted to these same images"
    assert "fitted" not in protocol["mAP"]


def test_thresholds_stay_when_they_are_not_to_be_fitted(valid_data):
    model = make_model()
    report = make_validation(model, valid_data, fit_thresholds=False).finish()
    assert (model.thresholds == 0.5).all()
    assert not any("fitted" in metric.protocol for metric in report.metrics)


def test_thresholds_stay_where_no_label_is_known_to_be_present(valid_data):
    model = make_model()
    report = make_validation(model, valid_data.with_labels(-np.ones((10, 3)))).finish()
    assert (model.thresholds == 0.5).all()
    assert not any("fitted" in metric.protocol for metric in report.metrics)


def test_unreadable_images_are_left_out_and_named(valid_data, tmp_path):
    data = with_unreadable(valid_data, tmp_path, 4)
    validation = make_validation(make_model(), data)
    rest = valid_data.subset([i for i in range(10) if i != 4])
    assert validation.row() == make_validation(make_model(), rest).row()
    report = validation.finish()
    assert report.images == 9
    assert "broken-4.png" in report.notes[0]


def test_an_epoch_cannot_be_chosen_when_all_positives_are_unreadable(valid_data, tmp_path):
    present = np.flatnonzero((valid_data.labels > 0).any(axis=1))
    data = with_unreadable(valid_data, tmp_path, *present)
    with pytest.raises(DataError, match=r"no label is known to be present .*broken-0.*use select='last'"):
        make_validation(make_model(), data, select="best")
