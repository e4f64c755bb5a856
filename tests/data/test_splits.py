import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualcoop.data.labels import LabelledImages
from dualcoop.data.splits import (
    ClassSplit,
    generalized_test_images,
    hold_out_images,
    seen_unseen_split,
    zero_shot_test_images,
    zero_shot_training_images,
)
from dualcoop.errors import ConfigError, DataError

# A busy machine must not fail a test by its pace.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SPLIT = ClassSplit("toy", ("dog",), ("cat", "cow"), "made up")


def images(matrix, classes=("cat", "cow", "dog", "rest")):
    names = [f"{index}.jpg" for index in range(len(matrix))]
    return LabelledImages.from_arrays(names, matrix, classes)


TOY = images([[-1, -1, 1, -1], [1, -1, 1, -1], [-1, 1, -1, -1], [-1, -1, -1, 1], [0, 0, 0, 1]])


@pytest.mark.parametrize(("name", "seen", "unseen"), [("coco-48-17", 48, 17), ("nuswide-925-81", 925, 81)])
def test_the_published_class_splits_are_shipped(name, seen, unseen):
    split = seen_unseen_split(name)
    assert (len(split.seen), len(split.unseen)) == (seen, unseen)
    assert len(set(split.classes)) == seen + unseen
    assert split.source


def test_underscores_and_capitals_name_the_same_split():
    assert seen_unseen_split("COCO_48_17") == seen_unseen_split("coco-48-17")


def test_an_unknown_class_split_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"'coco-65-15'.*coco-48-17, nuswide-925-81"):
        seen_unseen_split("coco-65-15")


def test_training_images_have_a_seen_label_and_show_seen_classes_only():
    data = zero_shot_training_images(TOY, SPLIT)
    assert data.names == ("0.jpg", "1.jpg")
    assert data.classes == ("dog",)


def test_zero_shot_test_images_have_an_unseen_label():
    data = zero_shot_test_images(TOY, SPLIT)
    assert data.names == ("1.jpg", "2.jpg")
    assert data.classes == ("cat", "cow")


def test_generalised_test_images_have_any_label_of_the_split():
    data = generalized_test_images(TOY, SPLIT)
    assert data.names == ("0.jpg", "1.jpg", "2.jpg")
    assert data.classes == ("dog", "cat", "cow")
    np.testing.assert_array_equal(data.labels[1], [1, 1, -1])


def test_data_without_the_classes_of_a_split_is_refused():
    with pytest.raises(DataError, match="no such class: 'dog'"):
        zero_shot_training_images(images([[1]], classes=("cat",)), SPLIT)


def test_data_without_any_such_label_is_refused():
    with pytest.raises(DataError, match="no image of 2 has a seen label"):
        zero_shot_training_images(images([[1, -1, -1, -1], [1, -1, -1, -1]]), SPLIT)


@steady
@given(
    names=st.lists(st.text(min_size=1, max_size=6).filter(lambda text: "\0" not in text), unique=True, min_size=1),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**40),
    shuffle=st.randoms(use_true_random=False),
)
def test_held_out_images_do_not_depend_on_the_order_of_the_rows(names, share, seed, shuffle):
    names = list(dict.fromkeys(str(LabelledImages.from_arrays([name], [[1]], ["x"]).names[0]) for name in names))
    count = int(share * len(names))
    data = LabelledImages.from_arrays(names, np.ones((len(names), 1)), ["x"])
    rest, held = hold_out_images(data, count, seed)
    assert len(held) == count
    assert sorted(rest.names + held.names) == sorted(data.names)
    mixed = list(names)
    shuffle.shuffle(mixed)
    other = LabelledImages.from_arrays(mixed, np.ones((len(names), 1)), ["x"])
    assert set(hold_out_images(other, count, seed)[1].names) == set(held.names)


def test_both_sides_keep_the_order_of_the_data():
    data = images(-np.ones((50, 4)))
    for part in hold_out_images(data, 20, seed=3):
        assert list(part.names) == sorted(part.names, key=data.names.index)


def test_another_seed_holds_out_other_images():
    data = images(-np.ones((50, 4)))
    assert hold_out_images(data, 20, seed=0)[1].names != hold_out_images(data, 20, seed=1)[1].names


def test_more_than_all_cannot_be_held_out():
    with pytest.raises(ConfigError, match="cannot hold out 6 of 5"):
        hold_out_images(TOY, 6)
