import warnings

import numpy as np
import pandas as pd
import pytest

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.errors import DataError


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(path, **options)


def test_one_is_present_zero_absent_and_empty_unknown(table):
    file = table("image,dog,cat\na.jpg,1,0\nb.jpg,,1\nc.jpg,0,\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        data = load_dataset(file)
    assert data.classes == ("dog", "cat")
    np.testing.assert_array_equal(data.train.labels, [[1, -1], [0, 1], [-1, 0]])


@pytest.mark.parametrize(
    ("text", "value"), [("1.0", 1), ("0.0", -1), ("TRUE", 1), ("False", -1), (" 1 ", 1), ("  ", 0)]
)
def test_what_spreadsheets_make_of_the_values_is_read(table, text, value):
    data = quiet(table(f"image,dog,cat\na.jpg,{text},1\nb.jpg,1,0\n"))
    assert data.train.labels[0, 0] == value


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_missing_values_of_data_frames_are_unknown(tmp_path, photos, missing):
    folder = photos("a.jpg", "b.jpg")
    frame = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "dog": [1, missing], "cat": [True, False]}, dtype=object)
    data = quiet(frame, images=folder)
    np.testing.assert_array_equal(data.train.labels, [[1, 1], [0, -1]])


def test_minus_one_is_refused_with_its_place_and_the_option(table):
    file = table("image,dog,cat\na.jpg,1,0\nb.jpg,0,-1\n")
    with pytest.raises(DataError, match=r"labels\.csv, row 3 \(b\.jpg\): column 'cat' holds -1.*minus_one='absent'"):
        load_dataset(file)


@pytest.mark.parametrize(("minus_one", "value"), [("absent", -1), ("unknown", 0)])
def test_minus_one_means_what_the_option_says(table, minus_one, value):
    data = quiet(table("image,dog,cat\na.jpg,1,0\nb.jpg,1,-1\n"), minus_one=minus_one)
    assert data.train.labels[1, 1] == value


def test_the_papers_matrices_are_read_with_two_options(table):
    data = quiet(table("image,dog,cat\na.jpg,1,0\nb.jpg,-1,1\n"), minus_one="absent", zero="unknown")
    np.testing.assert_array_equal(data.train.labels, [[1, 0], [-1, 1]])


def test_zero_and_minus_one_with_one_meaning_are_pointed_out(table):
    with pytest.warns(DataWarning, match="hold both 0 and -1, and both count as absent.*zero='unknown'"):
        load_dataset(table("image,dog,cat\na.jpg,1,0\nb.jpg,-1,1\n"), minus_one="absent")


def test_ones_and_nothing_else_leave_the_rest_unknown_with_a_warning(table):
    file = table("image,dog,cat\na.jpg,1,\nb.jpg,,1\n")
    with pytest.warns(DataWarning, match=r"1 or nothing, never 0.*unlisted='absent'.*unlisted='unknown'"):
        data = load_dataset(file)
    np.testing.assert_array_equal(data.train.labels, [[1, 0], [0, 1]])


def test_empty_cells_are_absent_when_unlisted_says_so(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        data = load_dataset(table("image,dog,cat\na.jpg,1,\nb.jpg,,1\n"), unlisted="absent")
    np.testing.assert_array_equal(data.train.labels, [[1, -1], [-1, 1]])


@pytest.mark.parametrize("value", ["yes", "2", "x", "0.5", "nan"])
def test_unknown_label_values_are_reported_and_their_row_skipped(table, value):
    file = table(f"image,dog,cat\na.jpg,1,0\nb.jpg,0,{value}\nc.jpg,0,1\n")
    data = quiet(file)
    assert data.train.names == ("a.jpg", "c.jpg")
    assert str(data.problems[0]) == (
        f"{file}, row 3 (b.jpg): column 'cat' holds {value!r}. Write 1 for present, 0 for absent, or leave "
        "the cell empty for unknown."
    )


def test_several_wrong_cells_of_a_row_are_one_problem(table):
    data = quiet(table("image,dog,cat\na.jpg,1,1\nb.jpg,yes,no\n"))
    assert "column 'dog' holds 'yes' (and 1 more cells are wrong)" in str(data.problems[0])


def test_a_list_in_a_cell_is_a_wrong_value(table):
    lines = '{"image": "a.jpg", "dog": 1}\n{"image": "b.jpg", "dog": [1]}\n'
    data = quiet(table(lines, "labels.jsonl"))
    assert "row 2 (b.jpg): column 'dog' holds '[1]'" in str(data.problems[0])


def test_a_column_that_is_no_class_is_left_out_and_reported(table):
    file = table("image,dog,photographer\na.jpg,1,Anna\nb.jpg,0,\n")
    data = quiet(file)
    assert data.classes == ("dog",)
    assert len(data.train) == 2
    assert f"{file}, row 2: column 'photographer' is no class: it holds 'Anna' and no 1 or 0" in str(data.problems[0])


def test_given_classes_choose_and_order_the_columns(table):
    data = load_dataset(table("image,dog,photographer,cat\na.jpg,1,Anna,1\nb.jpg,0,,1\n"), classes=["cat", "dog"])
    assert data.classes == ("cat", "dog")
    np.testing.assert_array_equal(data.train.labels, [[1, 1], [1, -1]])
    assert data.problems == []


def test_given_classes_without_a_column_are_named(table):
    with pytest.raises(DataError, match=r"there is no column for 'cow'. The columns are 'image', 'dog'"):
        load_dataset(table("image,dog\na.jpg,1\n"), classes=["dog", "cow"])


@pytest.mark.parametrize("text", ["image\na.jpg\n", "image,split\na.jpg,train\n", "image,notes\na.jpg,nice\n"])
def test_a_table_without_labels_is_refused(table, text):
    with pytest.raises(DataError, match=r"no column holds labels.*Add a column 'labels'"):
        load_dataset(table(text))


def test_marks_other_than_one_are_named_when_no_column_is_a_class(table):
    with pytest.raises(DataError, match=r"no column holds labels.*row 2: column 'dog' is no class: it holds 'x'"):
        load_dataset(table("image,dog,cat\na.jpg,x,\nb.jpg,,x\n"))


def test_class_names_keep_blanks_underscores_and_commas(table):
    data = quiet(table('image,traffic light,"salt, pepper",hot_dog\na.jpg,1,1,1\nb.jpg,0,0,0\n'))
    assert data.classes == ("traffic light", "salt, pepper", "hot_dog")
