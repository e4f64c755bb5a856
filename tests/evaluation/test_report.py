import json
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dualcoop.errors import ConfigError, DataError
from dualcoop.evaluation import (
    average_precision,
    decide,
    decision_metrics,
    evaluate,
    mean_average_precision,
    top_k_metrics,
)

CLASSES = ("dog", "beach", "kite", "bus")


@pytest.fixture
def case():
    generator = np.random.default_rng(0)
    labels = generator.choice([-1, 0, 1], p=[0.6, 0.2, 0.2], size=(30, 4))
    labels[:, 3] = -1
    return generator.random((30, 4)), labels


def test_every_figure_is_that_of_its_function(case):
    scores, labels = case
    report = evaluate(scores, labels, CLASSES, threshold=0.4, top_k=(1, 3))
    decided, at_three = decision_metrics(decide(scores, 0.4), labels), top_k_metrics(scores, labels, 3)
    expected = {
        "mAP": mean_average_precision(scores, labels),
        "mAP_zero": mean_average_precision(scores, labels, without_positives="zero"),
        "CP": decided.class_precision,
        "CR": decided.class_recall,
        "CF1": decided.class_f1,
        "CF1_of_means": decided.class_f1_of_means,
        "OP": decided.overall_precision,
        "OR": decided.overall_recall,
        "OF1": decided.overall_f1,
        "P@3": at_three.precision,
        "R@3": at_three.recall,
        "F1@3": at_three.f1,
        "P@1": top_k_metrics(scores, labels, 1).precision,
    }
    assert {key: report[key] for key in expected} == expected


def test_every_metric_names_its_protocol(case):
    titles = [metric.title for metric in evaluate(*case, CLASSES).metrics]
    assert titles[:6] == [
        "mAP (classes without positives skipped)",
        "mAP (classes without positives count 0, as published)",
        "CP (mean of per-class precision, threshold 0.5)",
        "CR (mean of per-class recall, threshold 0.5)",
        "CF1 (mean of per-class F1, threshold 0.5)",
        "CF1 (F1 of CP and CR, threshold 0.5)",
    ]
    assert "F1@3 (micro over the 3 best classes of every image)" in titles
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"threshold": 0.25}, "threshold 0.25"),
        ({"threshold": np.full(4, 0.5)}, "per-class thresholds"),
        ({"decisions": np.zeros((30, 4), dtype=bool)}, "decisions as given"),
        ({"threshold": np.full(4, 0.5), "decision_rule": "best F1 on validation"}, "best F1 on validation"),
    ],
)
def test_the_decision_rule_is_part_of_the_protocol(case, options, rule):
    report = evaluate(*case, CLASSES, **options)
    dependent = {metric.key for metric in report.metrics if metric.protocol.endswith(f", {rule}")}
    assert dependent == {"CP", "CR", "CF1", "CF1_of_means", "OP", "OR", "OF1"}


def test_given_decisions_replace_the_threshold(case):
    scores, labels = case
    report = evaluate(scores, labels, CLASSES, decisions=labels == 1)
    assert report["OF1"] == 100.0
    assert report["mAP"] == mean_average_precision(scores, labels)


def test_k_beyond_the_number_of_classes_is_left_out(case):
    keys = [metric.key for metric in evaluate(*case, CLASSES).metrics]
    assert "F1@3" in keys
    assert "F1@5" not in keys


def test_an_unknown_key_lists_the_known_ones(case):
    with pytest.raises(KeyError, match="mAP_zero"):
        evaluate(*case, CLASSES)["map"]


def test_the_dictionary_survives_json_with_undefined_values_as_null(case):
    document = json.loads(json.dumps(evaluate(*case, CLASSES).to_dict(), allow_nan=False))
    assert document["per_class"][3]["average_precision"] is None
    assert document["metrics"]["mAP"]["protocol"] == "classes without positives skipped"
    assert (document["images"], document["classes"]) == (30, 4)
    assert document["known_positives"] + document["known_negatives"] == (case[1] != 0).sum()


def test_rows_hold_one_metric_each(case):
    report = evaluate(*case, CLASSES)
    rows = report.to_rows()
    assert [row["key"] for row in rows] == [metric.key for metric in report.metrics]
    assert set(rows[0]) == {"key", "name", "protocol", "value"}


def test_the_per_class_table_counts_and_measures_every_class(case):
    scores, labels = case
    frame = evaluate(scores, labels, CLASSES).per_class_frame()
    assert frame.columns.tolist() == [
        "class",
        "AP",
        "precision",
        "recall",
        "F1",
        "known positives",
        "known negatives",
    ]
    assert frame["class"].tolist() == list(CLASSES)
    np.testing.assert_allclose(frame["AP"], average_precision(scores, labels))
    np.testing.assert_allclose(frame["F1"], decision_metrics(decide(scores), labels).f1)
    assert frame["known positives"].tolist() == (labels == 1).sum(axis=0).tolist()
    assert frame["known negatives"].tolist() == (labels == -1).sum(axis=0).tolist()


def test_the_per_class_csv_leaves_an_undefined_ap_empty(case, tmp_path):
    evaluate(*case, CLASSES).write_per_class_csv(tmp_path / "classes.csv")
    frame = pd.read_csv(tmp_path / "classes.csv")
    assert frame["class"].tolist() == list(CLASSES)
    assert math.isnan(frame["AP"][3])
    assert not frame["AP"][:3].isna().any()


def test_the_text_shows_every_metric_with_two_decimals(case):
    report = evaluate(*case, CLASSES)
    text = str(report)
    for metric in report.metrics:
        assert f"{metric.title} " in text
        assert f"{metric.value:.2f}" in text


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        ([[1, -1], [-1, -1]], "No known positive in 1 of 2 classes:"),
        ([[1, -1], [-1, -1]], "No known positive in 1 of 2 images:"),
        ([[1, 0], [1, 1]], "No label is known to be absent"),
        ([[1, 0], [-1, 1]], "25.0 % of the labels are unknown"),
    ],
)
def test_what_makes_a_figure_unusual_is_noted(labels, note):
    report = evaluate([[0.9, 0.1], [0.2, 0.8]], labels, ("a", "b"))
    assert any(note in line for line in report.notes)
    assert note in str(report)


def test_complete_labels_need_no_note():
    assert evaluate([[0.9, 0.1], [0.2, 0.8]], [[1, -1], [-1, 1]], ("a", "b")).notes == ()


def test_one_of_a_kind_is_said_in_the_singular():
    first = str(evaluate([[0.9]], [[1]], ("a",))).splitlines()[0]
    assert first == "1 image, 1 class, 1 label known present, 0 known absent; percent"


def test_an_undefined_mean_is_shown_as_a_dash():
    report = evaluate([[0.9]], [[-1]], ("a",))
    assert "mAP (classes without positives skipped)" in str(report)
    assert str(report).splitlines()[1].split()[-1] == "-"
    assert report.to_dict()["metrics"]["mAP"]["value"] is None


@pytest.mark.parametrize(
    ("scores", "labels", "options", "error", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 3)), {}, DataError, "2 class names for labels of 3 classes"),
        (np.ones((0, 2)), np.ones((0, 2)), {}, DataError, "nothing to evaluate"),
        (np.ones((2, 2)), np.ones((2, 2)), {"top_k": (0,)}, ConfigError, "k is 0"),
        (np.ones((2, 2)), np.ones((2, 2)), {"threshold": [0.5] * 3}, DataError, "thresholds have shape"),
    ],
)
def test_input_that_does_not_fit_is_refused(scores, labels, options, error, message):
    with pytest.raises(error, match=message):
        evaluate(scores, labels, ("a", "b"), **options)


def test_evaluation_imports_neither_torch_nor_the_model():
    code = (
        "import sys, dualcoop.evaluation; "
        "print([name for name in sys.modules if name.split('.')[0] == 'torch' or name == 'dualcoop.methods.dualcoop'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
