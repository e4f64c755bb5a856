"""What a Prediction holds and how it shows itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from dualcoop.errors import Message, Option
from dualcoop.inference.prediction import Prediction

CLASSES = ("dog", "beach", "kite", "cat", "car", "bus")


def predicted(scores=(0.9, 0.95, 0.3, 0.2, 0.1, 0.05), thresholds=0.5, path="photos/a.jpg"):
    thresholds = np.broadcast_to(np.float32(thresholds), 6)
    return Prediction.from_probabilities(CLASSES, np.float32(scores), thresholds, path=path)


def test_labels_come_best_first_and_scores_in_class_order():
    prediction = predicted()
    assert prediction.labels == ("beach", "dog")
    assert tuple(prediction.scores) == CLASSES
    assert prediction.scores["kite"] == pytest.approx(0.3)
    assert prediction.decisions == {name: name in ("dog", "beach") for name in CLASSES}
    assert prediction.path == Path("photos/a.jpg")


def test_each_class_has_its_own_threshold_and_equal_is_not_enough():
    prediction = predicted(scores=(0.5,) * 6, thresholds=(0.5, 0.4, 0.6, 0.5, 0.49, 1))
    assert prediction.labels == ("beach", "car")


@pytest.mark.parametrize(("k", "names"), [(2, ["beach", "dog"]), (0, []), (-1, []), (99, 6)])
def test_top_ranks_all_classes_whatever_was_decided(k, names):
    top = predicted(thresholds=1).top(k)
    if names == 6:
        assert [name for name, _ in top] == ["beach", "dog", "kite", "cat", "car", "bus"]
    else:
        assert [name for name, _ in top] == names


def test_dict_is_plain_json():
    values = json.loads(json.dumps(predicted().to_dict()))
    assert values["path"] == str(Path("photos/a.jpg"))
    assert values["labels"] == ["beach", "dog"]
    assert values["decisions"]["cat"] is False
    assert "error" not in values


def test_unreadable_image_keeps_its_reason():
    message = Message("the file is empty", where="b.jpg", remedy=("allow it with ", Option("max_bytes", 7)))
    prediction = Prediction.unreadable(message, path="b.jpg")
    assert prediction.labels == ()
    assert prediction.scores == prediction.decisions == {}
    assert prediction.to_dict()["error"] == "b.jpg: the file is empty. Allow it with max_bytes=7."
    assert prediction.message == message
    assert "the file is empty" in str(prediction)
    assert "the file is empty" in repr(prediction)


def test_text_shows_what_was_decided_or_the_best_guess():
    assert str(predicted()) == f"{Path('photos/a.jpg')}: beach 0.95, dog 0.90"
    assert str(predicted(thresholds=1)) == f"{Path('photos/a.jpg')}: no label (best: beach 0.95)"
    assert str(predicted(path=None)).startswith("image: ")


def test_representation_stays_short_with_many_classes():
    assert repr(predicted(path=None)) == (
        "Prediction(path=None, labels=['beach', 'dog'], scores={'beach': 0.950, 'dog': 0.900, 'kite': 0.300, "
        "'cat': 0.200, 'car': 0.100, and 1 more})"
    )
