import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from dualcoop.errors import ConfigError
from dualcoop.evaluation import top_k_metrics, topk


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
    monkeypatch.setattr(topk, "IMAGES_PER_CHUNK", 7)
    assert top_k_metrics(scores, labels, 2) == expected


@pytest.mark.parametrize("k", [0, 3])
def test_k_outside_the_number_of_classes_is_refused(k):
    with pytest.raises(ConfigError, match=f"k is {k}, expected 1 to the number of classes, 2"):
        top_k_metrics(np.ones((1, 2)), np.ones((1, 2)), k)
