import warnings

import numpy as np
import pytest

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.errors import ConfigError, DataError


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(path, **options)


def messages(data):
    return [str(problem) for problem in data.problems]


@pytest.mark.parametrize("name", ["image", "Image", "PATH", "filename", "file_name"])
def test_the_usual_names_of_the_image_column_are_known(table, name):
    assert quiet(table(f"{name},labels\na.jpg,dog\n")).train.names == ("a.jpg",)


def test_columns_can_be_named(table):
    file = table("foto,schlagwort,fehlt,teil,image\na.jpg,Hund,Katze,test,x\nb.jpg,Katze,,train,y\n")
    data = quiet(file, image_column="foto", labels_column="schlagwort", absent_column="fehlt", split_column="teil")
    assert data.test.names == ("a.jpg",)
    np.testing.assert_array_equal(data.test.labels, [[1, -1]])


def test_a_missing_image_column_lists_what_there_is(table):
    with pytest.raises(
        DataError, match=r"labels\.csv: no column names the images\. The columns are 'a\.jpg', 'dog'.*header"
    ):
        load_dataset(table("a.jpg,dog\nb.jpg,cat\n"))


def test_a_column_that_was_named_but_is_missing_lists_what_there_is(table):
    with pytest.raises(
        DataError, match=r"labels_column is 'tags', and there is no such column. The columns are 'image', 'labels'"
    ):
        load_dataset(table("image,labels\na.jpg,dog\n"), labels_column="tags")


def test_absent_labels_need_a_column_of_present_ones(table):
    with pytest.raises(DataError, match="'absent' of absent labels but none of present ones"):
        load_dataset(table("image,absent\na.jpg,dog\n"), absent_column="absent")


def test_splits_come_from_the_split_column(table):
    file = table("image,labels,split\na.jpg,dog,train\nb.jpg,dog,VAL\nc.jpg,dog,test\nd.jpg,dog,validation\n")
    data = quiet(file)
    assert [(name, part.names) for name, part in data.parts()] == [
        ("train", ("a.jpg",)),
        ("valid", ("b.jpg", "d.jpg")),
        ("test", ("c.jpg",)),
    ]


def test_unknown_split_names_are_reported_with_all_that_were_found(table):
    file = table("image,labels,split\na.jpg,dog,train\nb.jpg,dog,dev\nc.jpg,dog,test\nd.jpg,dog,\n")
    data = quiet(file)
    assert [part.names for _, part in data.parts()] == [("a.jpg",), ("c.jpg",)]
    found = r"'train' (1), 'dev' (1), 'test' (1), '' (1)"
    expected = f"expected train, valid (or val) or test; the table has {found}. Correct the split's name."
    assert messages(data) == [
        f"{file}, row 3 (b.jpg): the split is 'dev', {expected}",
        f"{file}, row 5 (d.jpg): the split is '', {expected}",
    ]


def test_unknown_split_names_stop_a_strict_load(table):
    with pytest.raises(DataError, match=r"row 3.*the split is 'dev'"):
        quiet(table("image,labels,split\na.jpg,dog,train\nb.jpg,dog,dev\n"), strict=True)


def test_no_known_split_name_at_all_is_an_error_that_lists_them(table):
    with pytest.raises(DataError, match=r"no row belongs to a known split\. Found 'fold1' \(2\), 'fold2' \(1\)"):
        quiet(table("image,labels,split\na.jpg,dog,fold1\nb.jpg,dog,fold1\nc.jpg,dog,fold2\n"))


def test_an_empty_split_column_divides_nothing(table):
    assert len(quiet(table("image,labels,split\na.jpg,dog,\nb.jpg,dog,\n")).train) == 2


def test_repeated_rows_are_kept_once_and_reported(table):
    file = table("image,labels\na.jpg,dog\nb.jpg,cat\n./a.jpg,dog\n")
    data = quiet(file)
    assert data.train.names == ("a.jpg", "b.jpg")
    assert messages(data) == [f"{file}, row 4 (./a.jpg): the row repeats row 2, which is kept. Delete one of the two."]


def test_two_spellings_of_one_file_are_found_out(table, tmp_path):
    file = table(f"image,labels\na.jpg,dog\n{tmp_path / 'a.jpg'},dog\n")
    data = quiet(file)
    assert data.train.names == ("a.jpg",)
    assert "row 3" in messages(data)[0]
    assert "the image is listed already, in train, row 2, which is kept" in messages(data)[0]


def test_repeated_rows_that_disagree_are_all_left_out(table):
    file = table("image,dog,cat\na.jpg,1,0\nb.jpg,1,1\na.jpg,0,0\n")
    data = quiet(file)
    assert data.train.names == ("b.jpg",)
    assert messages(data)[0].startswith(
        f"{file}, row 2 (a.jpg): rows 2, 4 name the same image and disagree: 'dog'. Keep the right one"
    )
    assert [problem.row for problem in data.problems] == [2, 4]


def test_an_image_in_two_splits_is_left_out(table):
    data = quiet(table("image,labels,split\na.jpg,dog,train\na.jpg,dog,test\nb.jpg,dog,train\n"))
    assert data.train.names == ("b.jpg",)
    assert data.test is None
    assert "disagree: it is in train and in test" in messages(data)[0]


def test_rows_with_one_label_each_can_be_merged(table):
    file = table("image,labels\na.jpg,dog\nb.jpg,cat\na.jpg,beach\na.jpg,dog\n")
    data = quiet(file, duplicates="merge")
    assert data.classes == ("beach", "cat", "dog")
    np.testing.assert_array_equal(data.train.labels, [[1, -1, 1], [-1, 1, -1]])
    assert data.problems == []
    assert "2 rows merged into others" in str(data)


def test_without_merging_such_rows_are_reported_with_the_option(table):
    data = quiet(table("image,labels\na.jpg,dog\na.jpg,beach\nb.jpg,dog\nc.jpg,beach\n"))
    assert "duplicates='merge'" in messages(data)[0]


@pytest.mark.parametrize(
    "rows",
    [
        "image,dog,cat\na.jpg,1,0\na.jpg,0,0\nb.jpg,1,1\n",
        "image,labels,split\na.jpg,dog,train\na.jpg,dog,test\nb.jpg,dog,train\n",
    ],
)
def test_merging_is_not_offered_where_it_would_fail_too(table, rows):
    assert messages(quiet(table(rows)))[0].endswith("Keep the right one.")


def test_merging_known_and_unknown_keeps_what_is_known(table):
    data = quiet(table("image,dog,cat\na.jpg,1,\na.jpg,,0\nb.jpg,,1\n"), duplicates="merge")
    np.testing.assert_array_equal(data.train.labels, [[1, -1], [0, 1]])


def test_rows_that_contradict_are_not_merged(table):
    data = quiet(table("image,dog,cat\na.jpg,1,\na.jpg,0,0\nb.jpg,1,1\n"), duplicates="merge")
    assert data.train.names == ("b.jpg",)
    assert "rows 2, 3 name the same image and disagree: 'dog'. Keep the right one." in messages(data)[0]


def test_a_row_without_an_image_is_reported(table):
    file = table("image,labels\na.jpg,dog\n,cat\n")
    assert (
        messages(quiet(file))[0] == f"{file}, row 3: the row names no image. Write the image's file name, or delete it."
    )


@pytest.mark.parametrize(("key", "value", "reason"), [("image", 7, "the image is 7"), ("split", 1, "the split is 1")])
def test_cells_that_are_no_text_are_reported(table, key, value, reason):
    row = {"image": '"b.jpg"', "split": '"train"', key: value}
    lines = '{"image": "a.jpg", "labels": ["dog"], "split": "train"}\n'
    lines += f'{{"image": {row["image"]}, "labels": ["dog"], "split": {row["split"]}}}\n'
    data = quiet(table(lines, "labels.jsonl"))
    assert reason in messages(data)[0]
    assert data.problems[0].row == 2


def test_a_table_of_which_no_row_is_left_is_an_error_with_the_first_reason(table):
    with pytest.raises(
        DataError,
        match=r"no row can be used\. The first problem: .*row 2 \(a\.jpg\).*column 'dog' holds 'yes'",
    ):
        quiet(table("image,dog\na.jpg,yes\n"), classes=["dog"])


def test_classes_that_differ_in_case_only_are_pointed_out(table):
    data = quiet(table("image,labels\na.jpg,Hot Dog\nb.jpg,hot_dog\n"))
    assert data.classes == ("Hot Dog", "hot_dog")
    assert "'Hot Dog', 'hot_dog' differ in case, blanks or hyphens only" in messages(data)[0]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("unlisted", "none"),
        ("minus_one", "0"),
        ("zero", "auto"),
        ("duplicates", "keep"),
        ("other_labels", "drop"),
    ],
)
def test_options_with_other_values_are_refused_with_the_choice(table, option, value):
    with pytest.raises(ConfigError, match=rf"{option} is '{value}', expected one of"):
        load_dataset(table("image,labels\na.jpg,dog\n"), **{option: value})


@pytest.mark.parametrize(
    ("classes", "reason"),
    [(["dog", "dog "], "more than once: 'dog'"), ([], "missing or empty"), ([" "], "missing")],
)
def test_class_lists_that_make_no_sense_are_refused(table, classes, reason):
    with pytest.raises(ConfigError, match=reason):
        load_dataset(table("image,labels\na.jpg,dog\n"), classes=classes)
