import hashlib
from pathlib import Path

import numpy as np
import pytest

from dualcoop.data.labels import DatasetSplits, LabelledImages
from dualcoop.data.problems import DataWarning, Problem
from dualcoop.errors import DataError


def three_images(root="/data/photos"):
    matrix = [[1, -1], [0, 1], [-1, -1]]
    return LabelledImages.from_arrays(["a.jpg", "b/c.jpg", "d.jpg"], matrix, ["dog", "cat"], root=root)


def test_from_arrays_keeps_the_papers_values():
    data = three_images()
    assert data.labels.dtype == np.int8
    np.testing.assert_array_equal(data.labels, [[1, -1], [0, 1], [-1, -1]])
    assert data.paths[1] == Path("/data/photos/b/c.jpg")
    assert data.names == ("a.jpg", "b/c.jpg", "d.jpg")
    assert len(data) == 3


def test_a_boolean_matrix_means_present_and_absent():
    data = LabelledImages.from_arrays(["a.jpg"], np.array([[True, False]]), ["dog", "cat"])
    np.testing.assert_array_equal(data.labels, [[1, -1]])


def test_a_matrix_of_zeros_and_ones_warns_that_zero_is_unknown():
    with pytest.warns(DataWarning, match="a 0 means unknown"):
        data = LabelledImages.from_arrays(["a.jpg"], [[1, 0]], ["dog", "cat"])
    np.testing.assert_array_equal(data.labels, [[1, 0]])


@pytest.mark.parametrize("value", [2, -2, 0.5, np.nan])
def test_another_value_is_refused_with_its_place(value):
    with pytest.raises(DataError, match=r"b\.jpg \(index 1\) for 'cat' is .*\+1 for present"):
        LabelledImages.from_arrays(["a.jpg", "b.jpg"], [[1, -1], [1, value]], ["dog", "cat"])


def test_a_matrix_of_another_shape_is_refused():
    with pytest.raises(DataError, match=r"shape \(1, 2\), expected \(2, 2\)"):
        LabelledImages.from_arrays(["a.jpg", "b.jpg"], [[1, -1]], ["dog", "cat"])


def test_a_class_that_comes_twice_is_refused():
    with pytest.raises(DataError, match="more than once: 'dog'"):
        LabelledImages.from_arrays(["a.jpg"], [[1, -1]], ["dog", "dog"])


def test_later_changes_of_the_matrix_do_not_reach_the_data():
    matrix = np.array([[1, -1]], dtype=np.int8)
    data = LabelledImages.from_arrays(["a.jpg"], matrix, ["dog", "cat"])
    matrix[:] = 0
    np.testing.assert_array_equal(data.labels, [[1, -1]])


def test_counts_of_known_and_present_labels():
    data = three_images()
    np.testing.assert_array_equal(data.positives, [1, 1])
    np.testing.assert_array_equal(data.known, [[True, True], [False, True], [True, True]])


def test_a_subset_follows_its_indices():
    chosen = three_images().subset([2, 0])
    assert chosen.names == ("d.jpg", "a.jpg")
    np.testing.assert_array_equal(chosen.labels, [[-1, -1], [1, -1]])


def test_a_subset_follows_a_mask():
    assert three_images().subset(np.array([True, False, True])).names == ("a.jpg", "d.jpg")


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(DataError, match=r"shape \(2,\), expected \(3,\)"):
        three_images().subset(np.array([True, False]))


def test_an_empty_subset_keeps_the_classes():
    empty = three_images().subset([])
    assert (len(empty), empty.labels.shape) == (0, (0, 2))


def test_select_classes_reorders_the_columns():
    chosen = three_images().select_classes(["cat"])
    assert chosen.classes == ("cat",)
    np.testing.assert_array_equal(chosen.labels, [[-1], [1], [-1]])


def test_select_classes_names_what_is_missing():
    with pytest.raises(DataError, match=r"no such class: 'cow'. The classes are 'dog', 'cat'"):
        three_images().select_classes(["dog", "cow"])


def test_the_fingerprint_does_not_see_where_the_folder_is():
    assert three_images("/data/photos").fingerprint() == three_images("/home/me/photos").fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        lambda data: data.subset([1, 0, 2]),
        lambda data: data.subset([0, 1]),
        lambda data: data.select_classes(["cat", "dog"]),
        lambda data: data.with_labels(-data.labels),
        lambda data: LabelledImages(data.paths, data.labels, ("dog", "cow"), data.root),
        lambda data: LabelledImages(data.paths, data.labels, data.classes, None),
    ],
)
def test_the_fingerprint_sees_images_classes_labels_and_their_order(other):
    data = three_images()
    assert other(data).fingerprint() != data.fingerprint()


def test_the_fingerprint_tells_where_one_name_ends():
    def of(paths, classes):
        return LabelledImages.from_arrays(paths, -np.ones((2, 2)), classes).fingerprint()

    assert of(["ab", "c"], ["x", "y"]) != of(["a", "bc"], ["x", "y"])


def test_the_fingerprint_stays_the_same_between_releases():
    data = LabelledImages.from_arrays(["a.jpg"], [[1, -1]], ["dog", "cat"])

    def number(value):
        return value.to_bytes(8, "little")

    names = number(1) + number(5) + b"a.jpg"
    classes = number(2) + number(3) + b"dog" + number(3) + b"cat"
    assert data.fingerprint() == hashlib.sha256(names + classes + b"\x01\xff").hexdigest()


def test_the_summary_tells_counts_classes_notes_and_problems():
    problems = [Problem("labels.csv", row, None, "odd", "Mend") for row in range(2, 7)]
    text = str(
        DatasetSplits(
            ("dog", "cat"),
            train=three_images(),
            test=three_images().subset([0]),
            problems=problems,
            source="labels.csv",
            notes=("empty means unknown",),
        )
    )
    assert "2 classes, 4 images from labels.csv" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["train", "3", "5", "(83", "%)", "2", "0.67", "2"] in rows
    assert ["test", "1", "2", "(100", "%)", "1", "1.00", "1"] in rows
    assert "dog (1), cat (1)" in text
    assert "note: empty means unknown" in text
    assert "problems: 5" in text
    assert "labels.csv, row 4: odd. Mend." in text
    assert "and 2 more in .problems" in text


def test_parts_must_have_the_same_classes():
    with pytest.raises(DataError, match="the test part has other classes"):
        DatasetSplits(("dog", "cat"), train=three_images(), test=three_images().select_classes(["cat"]))


def test_splits_select_classes_in_every_part():
    data = DatasetSplits(("dog", "cat"), train=three_images(), test=three_images()).select_classes(["cat"])
    assert [part.classes for _, part in data.parts()] == [("cat",), ("cat",)]
    assert data.classes == ("cat",)
    assert data.valid is None
