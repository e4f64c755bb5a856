import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support
from torchmetrics.functional.classification import multilabel_f1_score

from dualcoop.errors import ConfigError, DataError
from dualcoop.evaluation import decide, decision_metrics, decisions, top_k_metrics


def slow_f1(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def slow_decision_metrics(decisions, labels):
    """Counts in plain loops; percent; 0/0 is 0."""
    images, classes = labels.shape
    per_class, totals = [], [0, 0, 0]
    for c in range(classes):
        hits = decided = positives = 0
        for i in range(images):
            if labels[i, c] == 0:
                continue
            hits += bool(decisions[i, c]) and labels[i, c] == 1
            decided += bool(decisions[i, c])
            positives += labels[i, c] == 1
        precision = 100 * hits / decided if decided else 0.0
        recall = 100 * hits / positives if positives else 0.0
        per_class.append((precision, recall, slow_f1(precision, recall)))
        totals = [total + count for total, count in zip(totals, (hits, decided, positives), strict=True)]
    cp, cr, cf1 = (sum(column) / classes for column in zip(*per_class, strict=True))
    op = 100 * totals[0] / totals[1] if totals[1] else 0.0
    recall = 100 * totals[0] / totals[2] if totals[2] else 0.0
    return per_class, (cp, cr, cf1, slow_f1(cp, cr), op, recall, slow_f1(op, recall))


def summary(metrics):
    return (
        metrics.class_precision,
        metrics.class_recall,
        metrics.class_f1,
        metrics.class_f1_of_means,
        metrics.overall_precision,
        metrics.overall_recall,
        metrics.overall_f1,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("known", [1.0, 0.3])
@pytest.mark.parametrize("decided", [0.05, 0.5])
def test_decision_metrics_equal_plain_counting(seed, known, decided):
    generator = np.random.default_rng(seed)
    labels = np.where(generator.random((30, 6)) < 0.2, 1, -1) * (generator.random((30, 6)) < known)
    decisions = generator.random((30, 6)) < decided
    per_class, expected = slow_decision_metrics(decisions, labels)
    metrics = decision_metrics(decisions, labels)
    np.testing.assert_allclose(np.stack([metrics.precision, metrics.recall, metrics.f1], axis=1), per_class)
    np.testing.assert_allclose(summary(metrics), expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("positive", [0.02, 0.5])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_decision_metrics_agree_with_scikit_learn_and_torchmetrics(seed, positive, threshold):
    generator = np.random.default_rng(seed)
    labels = np.where(generator.random((40, 8)) < positive, 1, -1)
    scores = generator.random((40, 8))
    metrics = decision_metrics(decide(scores, threshold), labels)
    arguments = labels == 1, scores > threshold
    macro = precision_recall_fscore_support(*arguments, average="macro", zero_division=0)
    micro = precision_recall_fscore_support(*arguments, average="micro", zero_division=0)
    np.testing.assert_allclose(summary(metrics)[:3], 100 * np.array(macro[:3]))
    np.testing.assert_allclose(summary(metrics)[4:], 100 * np.array(micro[:3]))
    target = torch.from_numpy(labels == 1).long()
    theirs = multilabel_f1_score(torch.from_numpy(scores), target, 8, threshold=threshold, average="micro")
    assert metrics.overall_f1 == pytest.approx(100 * theirs.item(), rel=1e-5)


def test_the_two_definitions_of_cf1_differ():
    labels, decisions = np.array([[1, 1], [-1, 1]]), np.array([[True, True], [True, False]])
    metrics = decision_metrics(decisions, labels)
    assert metrics.class_precision == metrics.class_recall == 75.0
    assert metrics.class_f1 == pytest.approx(200 / 3)
    assert metrics.class_f1_of_means == pytest.approx(75.0)


def test_a_class_never_decided_and_never_present_counts_zero_in_the_means():
    labels, decisions = np.array([[1, -1]]), np.array([[True, False]])
    metrics = decision_metrics(decisions, labels)
    assert (metrics.precision.tolist(), metrics.recall.tolist()) == ([100.0, 0.0], [100.0, 0.0])
    assert metrics.class_precision == metrics.class_recall == metrics.class_f1 == 50.0
    assert metrics.overall_f1 == 100.0


def test_decisions_on_unknown_labels_change_nothing():
    labels = np.array([[1, 0], [-1, 0], [1, -1]])
    decisions = np.array([[True, False], [True, False], [False, True]])
    flipped = decisions ^ (labels == 0)
    assert (flipped != decisions).sum() == 2
    assert summary(decision_metrics(flipped, labels)) == summary(decision_metrics(decisions, labels))


def test_a_score_equal_to_its_threshold_is_not_present():
    assert decide([[0.5, 0.50001]]).tolist() == [[False, True]]


def test_thresholds_apply_per_class():
    assert decide([[0.3, 0.3], [0.6, 0.6]], [0.2, 0.5]).tolist() == [[True, False], [True, True]]


def test_a_wrong_number_of_thresholds_is_refused():
    with pytest.raises(DataError, match=r"shape \(3,\), expected one number or one for each of the 2"):
        decide(np.ones((4, 2)), np.ones(3))


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        (np.ones((1, 2)), "expected booleans"),
        (np.ones((2, 2), dtype=bool), r"expected that of the labels, \(1, 2\)"),
    ],
)
def test_scores_or_other_shapes_are_not_taken_for_decisions(decisions, message):
    with pytest.raises(DataError, match=message):
        decision_metrics(decisions, np.array([[1, -1]]))


def slow_top_k(scores, labels, k):
    hits = known = positives = 0
    for row_scores, row_labels in zip(scores, labels, strict=True):
        for c in sorted(range(len(row_scores)), key=lambda c: (-row_scores[c], c))[:k]:
            hits += row_labels[c] == 1
            known += row_labels[c] != 0
        positives += sum(label == 1 for label in row_labels)
    precision = 100 * hits / known if known else 0.0
    recall = 100 * hits / positives if positives else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if hits else 0.0


@pytest.mark.parametrize("k", [1, 3, 5, 9])
@pytest.mark.parametrize("known", [1.0, 0.4])
@pytest.mark.parametrize("levels", [None, 3])
def test_top_k_equals_plain_counting(k, known, levels):
    generator = np.random.default_rng(k)
    scores = generator.standard_normal((40, 9))
    scores = np.round(scores * levels) if levels else scores
    labels = np.where(generator.random((40, 9)) < 0.15, 1, -1) * (generator.random((40, 9)) < known)
    metrics = top_k_metrics(scores, labels, k)
    np.testing.assert_allclose((metrics.precision, metrics.recall, metrics.f1), slow_top_k(scores, labels, k))


def test_top_k_agrees_with_scikit_learns_micro_average():
    generator = np.random.default_rng(0)
    scores, present = generator.random((50, 10)), generator.random((50, 10)) < 0.2
    chosen = scores >= np.sort(scores, axis=1)[:, -3:-2]
    expected = precision_recall_fscore_support(present, chosen, average="micro")[:3]
    metrics = top_k_metrics(scores, np.where(present, 1, -1), 3)
    np.testing.assert_allclose((metrics.precision, metrics.recall, metrics.f1), 100 * np.array(expected))


def test_an_image_without_positives_lowers_precision_and_leaves_recall():
    scores, labels = np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([[1, -1], [-1, -1]])
    metrics = top_k_metrics(scores, labels, 1)
    assert (metrics.precision, metrics.recall) == (50.0, 100.0)


def test_an_unknown_label_takes_its_place_among_the_best_but_is_not_judged():
    scores, labels = np.array([[0.9, 0.8, 0.1]]), np.array([[0, -1, 1]])
    metrics = top_k_metrics(scores, labels, 2)
    assert (metrics.precision, metrics.recall) == (0.0, 0.0)
    assert top_k_metrics(scores, np.array([[0, 1, -1]]), 2).precision == 100.0


def test_many_images_in_chunks_give_what_all_at_once_give(monkeypatch):
    generator = np.random.default_rng(0)
    scores, labels = generator.random((50, 6)), generator.choice([-1, 0, 1], size=(50, 6))
    expected = top_k_metrics(scores, labels, 2)
    monkeypatch.setattr(decisions, "IMAGES_PER_CHUNK", 7)
    assert top_k_metrics(scores, labels, 2) == expected


@pytest.mark.parametrize("k", [0, 3])
def test_k_outside_the_number_of_classes_is_refused(k):
    with pytest.raises(ConfigError, match=f"k is {k}, expected 1 to the number of classes, 2"):
        top_k_metrics(np.ones((1, 2)), np.ones((1, 2)), k)
