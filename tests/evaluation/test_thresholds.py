import numpy as np
import pytest

from dualcoop.errors import ConfigError, DataError
from dualcoop.evaluation import class_thresholds, decide, decision_metrics, global_threshold


def random_case(seed, images=40, classes=5, known=0.8):
    generator = np.random.default_rng(seed)
    labels = np.where(generator.random((images, classes)) < 0.25, 1, -1)
    scores = 1 / (1 + np.exp(-generator.normal(labels, 1.5)))
    labels[generator.random((images, classes)) >= known] = 0
    return scores, labels


def best_f1_by_trying_every_score(scores, labels, f1):
    return max(f1(decide(scores, np.nextafter(value, -1)), labels) for value in np.unique(scores))


def f1_of_one_class(decisions, labels):
    return decision_metrics(decisions, labels).f1[0]


@pytest.mark.parametrize("seed", range(3))
def test_no_other_global_threshold_has_a_larger_micro_f1(seed):
    scores, labels = random_case(seed)
    f1 = decision_metrics(decide(scores, global_threshold(scores, labels)), labels).overall_f1
    best = best_f1_by_trying_every_score(scores, labels, lambda d, y: decision_metrics(d, y).overall_f1)
    assert f1 == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_without_prior_every_class_reaches_its_largest_f1(seed):
    scores, labels = random_case(seed)
    f1 = decision_metrics(decide(scores, class_thresholds(scores, labels, prior_positives=0)), labels).f1
    columns = [(scores[:, [c]], labels[:, [c]]) for c in range(labels.shape[1])]
    best = [best_f1_by_trying_every_score(*column, f1_of_one_class) for column in columns]
    np.testing.assert_allclose(f1, best)


@pytest.mark.parametrize("seed", range(3))
def test_thresholds_maximise_f1_on_own_counts_plus_scaled_shared_counts(seed):
    scores, labels = random_case(seed)
    prior = 4.0
    weight = prior / (labels == 1).sum()
    thresholds = class_thresholds(scores, labels, prior_positives=prior)

    def regularised_f1(c, threshold):
        above, column = scores > threshold, labels[:, c]
        hits = (above[:, c] & (column == 1)).sum() + weight * (above & (labels == 1)).sum()
        misfires = (above[:, c] & (column == -1)).sum() + weight * (above & (labels == -1)).sum()
        return 2 * hits / (hits + misfires + (column == 1).sum() + prior)

    for c in range(labels.shape[1]):
        best = max(regularised_f1(c, np.nextafter(value, -1)) for value in np.unique(scores))
        assert regularised_f1(c, thresholds[c]) == pytest.approx(best)


def test_a_strong_prior_gives_every_class_the_global_threshold():
    scores, labels = random_case(0)
    thresholds = class_thresholds(scores, labels, prior_positives=1e9)
    decisions = decide(scores, thresholds)
    expected = decision_metrics(decide(scores, global_threshold(scores, labels)), labels).overall_f1
    assert decision_metrics(decisions, labels).overall_f1 == pytest.approx(expected)


def test_a_class_without_known_labels_gets_the_global_threshold():
    scores, labels = random_case(0)
    labels[:, 3] = 0
    assert class_thresholds(scores, labels)[3] == global_threshold(scores, labels)


def test_one_lucky_positive_does_not_move_a_threshold_far():
    """The class's only positive scores lowest of all: alone it would accept every image."""
    generator = np.random.default_rng(0)
    labels = np.where(generator.random((100, 10)) < 0.3, 1, -1)
    scores = np.where(labels == 1, 0.7, 0.3) + 0.1 * generator.random((100, 10))
    labels[:, 0], scores[:, 0] = 0, 0.35
    labels[0, 0], scores[0, 0] = 1, 0.05
    alone, drawn = (class_thresholds(scores, labels, prior_positives=p)[0] for p in (0.0, 5.0))
    assert alone < 0.05
    assert drawn == pytest.approx(global_threshold(scores, labels), abs=0.05)


def test_many_positives_outweigh_the_prior():
    generator = np.random.default_rng(0)
    labels = np.where(generator.random((400, 10)) < 0.3, 1, -1)
    scores = np.where(labels == 1, 0.7, 0.3) + 0.1 * generator.random((400, 10))
    scores[:, 0] /= 10
    thresholds = class_thresholds(scores, labels, prior_positives=5.0)
    assert 0.04 <= thresholds[0] <= 0.07
    assert decision_metrics(decide(scores, thresholds), labels).f1[0] == 100.0


def test_the_same_decisions_come_from_any_increasing_scale_of_the_scores():
    scores, labels = random_case(1)
    logits = np.log(scores / (1 - scores))
    known = labels != 0
    expected = decide(scores, class_thresholds(scores, labels))[known]
    np.testing.assert_array_equal(decide(logits, class_thresholds(logits, labels))[known], expected)


def test_thresholds_survive_storage_in_float32():
    scores, labels = np.array([[0.25], [0.75]], dtype=np.float32), np.array([[1], [1]])
    stored = class_thresholds(scores, labels).astype(np.float32)
    assert decide(scores, stored).all()


def test_data_without_a_known_positive_and_negative_priors_are_refused():
    with pytest.raises(DataError, match="no label is known to be present in the validation data"):
        class_thresholds(np.ones((2, 2)), np.array([[-1, 0], [-1, -1]]))
    with pytest.raises(ConfigError, match="prior_positives is -1"):
        class_thresholds(np.ones((1, 1)), np.ones((1, 1)), prior_positives=-1)
