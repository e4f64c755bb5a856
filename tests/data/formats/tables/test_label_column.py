import warnings

import numpy as np
import pytest

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.errors import ConfigError, DataError

HEADER = "image,labels\n"


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(path, **options)


def messages(data):
    return [str(problem) for problem in data.problems]


def test_labels_alone_count_as_complete_with_a_warning_that_names_the_option(table):
    file = table(HEADER + "a.jpg,dog;beach\nb.jpg,dog\n")
    with pytest.warns(
        DataWarning,
        match=r"labels\.csv: .* not listed counts as absent.*unlisted='unknown'.*unlisted='absent'",
    ):
        data = load_dataset(file)
    assert data.classes == ("beach", "dog")
    np.testing.assert_array_equal(data.train.labels, [[1, 1], [-1, 1]])


@pytest.mark.parametrize(("unlisted", "expected"), [("absent", -1), ("unknown", 0)])
def test_the_meaning_of_unlisted_labels_can_be_said_and_silences_the_warning(table, unlisted, expected):
    file = table(HEADER + "a.jpg,dog;beach\nb.jpg,dog\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        data = load_dataset(file, unlisted=unlisted)
    np.testing.assert_array_equal(data.train.labels, [[1, 1], [expected, 1]])
    assert f"not listed counts as {unlisted}" in str(data)


def test_an_absent_column_makes_the_rest_unknown_without_a_warning(table):
    file = table("image,labels,absent\na.jpg,dog,cat\nb.jpg,cat,\nc.jpg,,dog;cat\nd.jpg,,\ne.jpg,beach,\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        data = load_dataset(file)
    assert data.classes == ("beach", "cat", "dog")
    expected = [[0, -1, 1], [0, 1, 0], [0, -1, -1], [0, 0, 0], [1, 0, 0]]
    np.testing.assert_array_equal(data.train.labels, expected)


def test_an_absent_column_that_nobody_filled_in_is_pointed_out(table):
    file = table("image,labels,absent\na.jpg,dog,\nb.jpg,cat,\n")
    with pytest.warns(DataWarning, match=r"no label is known to be absent\. .*unlisted='absent'"):
        data = load_dataset(file)
    np.testing.assert_array_equal(data.train.labels, [[0, 1], [1, 0]])


def test_a_row_that_nobody_filled_in_is_unknown_rather_than_without_labels(table):
    file = table(HEADER + "a.jpg,dog\nb.jpg,\nc.jpg,cat\n")
    with pytest.warns(DataWarning, match="except in 1 row with an empty labels cell"):
        data = load_dataset(file)
    np.testing.assert_array_equal(data.train.labels, [[-1, 1], [0, 0], [1, -1]])


def test_an_empty_row_is_without_labels_when_unlisted_means_absent(table):
    data = load_dataset(table(HEADER + "a.jpg,dog\nb.jpg,\nc.jpg,cat\n"), unlisted="absent")
    np.testing.assert_array_equal(data.train.labels, [[-1, 1], [-1, -1], [1, -1]])


def test_an_empty_list_says_that_nothing_is_present(table):
    lines = '{"image": "a.jpg", "labels": ["dog"]}\n{"image": "b.jpg", "labels": []}\n{"image": "c.jpg"}\n'
    data = quiet(table(lines, "labels.jsonl"))
    np.testing.assert_array_equal(data.train.labels, [[1], [-1], [0]])


@pytest.mark.parametrize("delimiter", [";", "|", ",", " & ", "\t"])
def test_the_delimiter_of_labels_can_be_chosen(table, delimiter):
    file = table(f'{HEADER}a.jpg,"dog{delimiter}beach ball{delimiter} "\n')
    assert quiet(file, delimiter=delimiter).classes == ("beach ball", "dog")


def test_another_delimiter_in_the_cells_is_pointed_out(table):
    file = table(HEADER + "a.jpg,dog|cat\nb.jpg,dog\n")
    with pytest.warns(DataWarning, match=r"no labels cell holds ';'.* some hold '\|'.*say so with delimiter"):
        load_dataset(file, unlisted="absent")


def test_an_empty_delimiter_is_refused(table):
    with pytest.raises(ConfigError, match="delimiter is ''"):
        load_dataset(table(HEADER + "a.jpg,dog\n"), delimiter="")


def test_names_keep_blanks_underscores_and_commas(table):
    data = quiet(table(HEADER + 'a.jpg,"traffic light;salt, pepper;hot_dog;café"\n'))
    assert data.classes == ("café", "hot_dog", "salt, pepper", "traffic light")


def test_composed_and_decomposed_accents_are_one_name(table):
    data = quiet(table(HEADER + "a.jpg,caf\u00e9\nb.jpg,cafe\u0301\n"))
    assert data.classes == ("caf\u00e9",)


def test_a_label_listed_as_present_and_absent_is_reported_and_skipped(table):
    file = table("image,labels,absent\na.jpg,dog;cat,dog\nb.jpg,dog,cat\n")
    data = quiet(file)
    assert data.train.names == ("b.jpg",)
    assert (
        f"{file}, row 2 (a.jpg): 'dog' stands among the labels and among the absent ones. Keep it in one"
        in messages(data)[0]
    )


def test_labels_outside_the_given_classes_are_reported_with_a_suggestion(table):
    file = table(HEADER + "a.jpg,dog\nb.jpg,dgo;cat\nc.jpg,cat\n")
    data = quiet(file, classes=["dog", "cat"])
    assert data.classes == ("dog", "cat")
    assert data.train.names == ("a.jpg", "c.jpg")
    assert messages(data) == [
        f"{file}, row 3 (b.jpg): 'dgo' is none of the 2 classes. Write 'dog' if that is meant "
        "or drop such labels and keep the row with other_labels='ignore'."
    ]


def test_labels_outside_the_given_classes_can_be_ignored(table):
    file = table(HEADER + "a.jpg,dog\nb.jpg,tree;cat\n")
    data = quiet(file, classes=["dog", "cat"], other_labels="ignore")
    np.testing.assert_array_equal(data.train.labels, [[1, -1], [-1, 1]])
    assert data.problems == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"image": "b.jpg", "labels": 3}', "the labels are 3, which is no name"),
        ('{"image": "b.jpg", "labels": ["dog", 3]}', "the list of labels holds 3, which is no name"),
        ('{"image": "b.jpg", "labels": {"dog": 1}}', "the labels are {'dog': 1}, which is no name"),
    ],
)
def test_label_values_that_are_no_names_are_reported(table, line, reason):
    file = table('{"image": "a.jpg", "labels": ["dog"]}\n' + line, "labels.jsonl")
    data = quiet(file)
    assert messages(data)[0].startswith(f"{file}, row 2 (b.jpg): {reason}. Write names")
    assert data.train.names == ("a.jpg",)


def test_a_table_without_any_label_has_no_classes(table):
    with pytest.raises(DataError, match="no row lists a label, so there are no classes"):
        load_dataset(table(HEADER + "a.jpg,\nb.jpg,\n"))


def test_an_unlabelled_table_is_fine_when_the_classes_are_given(table):
    data = quiet(table(HEADER + "a.jpg,\n"), classes=["dog"])
    np.testing.assert_array_equal(data.train.labels, [[0]])


def test_strict_stops_at_the_first_contradiction(table):
    file = table("image,labels,absent\na.jpg,dog,dog\nb.jpg,dog,cat\n")
    with pytest.raises(DataError, match=r"row 2 \(a\.jpg\): 'dog' stands among"):
        load_dataset(file, strict=True)
