import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torchmetrics.functional.classification import multilabel_average_precision

from dualcoop.errors import ConfigError, DataError
from dualcoop.evaluation import average_precision, mean_average_precision


def slow_average_precision(scores, labels):
    """One class: mean over the positives of the precision among the images scored at least as high."""
    known = [(score, label) for score, label in zip(scores, labels, strict=True) if label != 0]
    precisions = []
    for score, label in known:
        if label == 1:
            above = [other for other_score, other in known if other_score >= score]
            precisions.append(above.count(1) / len(above))
    return 100 * sum(precisions) / len(precisions) if precisions else float("nan")


def random_case(seed, images=60, classes=7, known=1.0, positive=0.2, levels=None):
    generator = np.random.default_rng(seed)
    scores = generator.random((images, classes))
    if levels:
        scores = np.floor(scores * levels) / levels
    labels = np.where(generator.random((images, classes)) < positive, 1, -1)
    labels[generator.random((images, classes)) >= known] = 0
    return scores, labels


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([4, 3, 2, 1], [1, 1, -1, -1], 100.0),
        ([4, 3, 2, 1], [1, -1, 1, -1], 100 * (1 + 2 / 3) / 2),
        ([4, 3, 2, 1], [-1, -1, -1, 1], 25.0),
        ([4, 3, 2, 1], [0, 1, 0, -1], 100.0),
        ([4, 3, 2, 1], [-1, 1, 0, 0], 50.0),
        ([1, 1, 1, 1], [1, -1, -1, -1], 25.0),
        ([2, 1, 1, 0], [-1, 1, -1, 1], 100 * (1 / 3 + 2 / 4) / 2),
    ],
)
def test_average_precision_of_cases_worked_by_hand(scores, labels, expected):
    column = np.array(scores, dtype=float)[:, None], np.array(labels)[:, None]
    assert average_precision(*column)[0] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("known", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("levels", [None, 4])
def test_average_precision_equals_the_slow_definition(seed, known, levels):
    scores, labels = random_case(seed, known=known, levels=levels)
    expected = [slow_average_precision(scores[:, c], labels[:, c]) for c in range(labels.shape[1])]
    np.testing.assert_allclose(average_precision(scores, labels), expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("positive", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [None, 8])
def test_average_precision_agrees_with_scikit_learn_and_torchmetrics(seed, positive, dtype, levels):
    scores, labels = random_case(seed, images=200, positive=positive, levels=levels)
    scores = scores.astype(dtype)
    assert (labels == 1).any(axis=0).all()
    ours = average_precision(scores, labels)
    np.testing.assert_allclose(ours, 100 * average_precision_score(labels == 1, scores, average=None))
    target = torch.from_numpy(labels == 1).long()
    theirs = multilabel_average_precision(torch.from_numpy(scores), target, labels.shape[1], average=None)
    np.testing.assert_allclose(ours, 100 * theirs.numpy(), rtol=1e-5)


def test_unknown_labels_agree_with_torchmetrics_ignore_index():
    scores, labels = random_case(4, images=200, known=0.5)
    target = torch.from_numpy(np.select([labels == 1, labels == 0], [1, 9], 0))
    theirs = multilabel_average_precision(
        torch.from_numpy(scores), target, labels.shape[1], average=None, ignore_index=9
    )
    np.testing.assert_allclose(average_precision(scores, labels), 100 * theirs.numpy(), rtol=1e-5)


def test_scores_that_differ_only_far_from_zero_are_not_tied_by_a_sigmoid():
    """torchmetrics passes scores outside [0, 1] through a sigmoid, which makes these two equal."""
    scores, labels = np.array([[50.0], [40.0]], dtype=np.float32), np.array([[1], [-1]])
    theirs = multilabel_average_precision(
        torch.from_numpy(scores).repeat(1, 2), torch.tensor([[1, 1], [0, 0]]), 2, average=None
    )
    assert theirs[0] == pytest.approx(0.5)
    assert average_precision(scores, labels)[0] == 100.0


def test_a_class_without_known_positives_has_no_average_precision():
    labels = np.array([[1, -1, 0], [-1, 0, 0]])
    precision = average_precision(np.ones((2, 3)), labels)
    assert np.isnan(precision).tolist() == [False, True, True]


def test_mean_skips_or_zeroes_classes_without_positives():
    scores, labels = np.array([[0.9, 0.5], [0.1, 0.5]]), np.array([[1, -1], [-1, -1]])
    assert mean_average_precision(scores, labels) == 100.0
    assert mean_average_precision(scores, labels, without_positives="zero") == 50.0


def test_zero_convention_is_scikit_learns_macro_average():
    scores, labels = random_case(5)
    labels[:, 2] = -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = average_precision_score(labels == 1, scores, average="macro")
    assert mean_average_precision(scores, labels, without_positives="zero") == pytest.approx(100 * theirs)


def test_mean_is_undefined_when_no_class_has_a_positive():
    scores, labels = np.ones((2, 2)), -np.ones((2, 2), dtype=int)
    assert np.isnan(mean_average_precision(scores, labels))
    assert mean_average_precision(scores, labels, without_positives="zero") == 0.0


def test_another_convention_is_refused_by_name():
    with pytest.raises(ConfigError, match="'ignore', expected one of skip, zero"):
        mean_average_precision(np.ones((1, 1)), np.ones((1, 1)), without_positives="ignore")


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([None, 3]), known=st.sampled_from([1.0, 0.4]))
@settings(deadline=None, max_examples=50)
def test_neither_the_order_of_images_nor_the_scale_of_scores_matters(seed, levels, known):
    scores, labels = random_case(seed, images=20, classes=3, known=known, levels=levels)
    order = np.random.default_rng(seed + 1).permutation(len(scores))
    expected = average_precision(scores, labels)
    np.testing.assert_allclose(average_precision(scores[order], labels[order]), expected)
    np.testing.assert_allclose(average_precision(10 * scores - 50, labels), expected)


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 2)), r"shape \(2, 3\), expected that of the labels, \(2, 2\)"),
        (np.ones(2), np.ones(2), r"expected \(images, classes\)"),
        (np.ones((2, 2)), np.array([[1, 0], [2, -1]]), "label 2 in row 1, column 0"),
        (np.ones((2, 2)), np.ones((2, 2), dtype=bool), "booleans"),
        (np.array([[1.0, np.nan]]), np.array([[1, -1]]), "row 0, column 1 is NaN"),
    ],
)
def test_unusable_input_is_named(scores, labels, message):
    with pytest.raises(DataError, match=message):
        average_precision(scores, labels)
