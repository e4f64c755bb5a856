"""Whatever is written in any layout and format is read back as it was."""

import csv
import json
import string
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from dualcoop.data.formats.options import clean_name
from dualcoop.data.formats.tables.columns import ABSENT_COLUMNS, IMAGE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS
from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.errors import DualCoOpError

RESERVED = {*IMAGE_COLUMNS, *LABEL_COLUMNS, *ABSENT_COLUMNS, *SPLIT_COLUMNS}
IMAGES = [f"{letter}.png" for letter in string.ascii_lowercase[:6]]
DELIMITERS = (";", "|", ",", "/", " & ", "\t")
FORMATS = ("csv", "semicolon", "tsv", "jsonl", "parquet")

class_names = (
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
    .map(clean_name)
    .filter(lambda name: name and name.casefold() not in RESERVED)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("round_trip")
    for name in IMAGES:
        Image.new("RGB", (2, 2)).save(place / name)
    return place


@st.composite
def labelled(draw):
    classes = draw(st.lists(class_names, unique=True, min_size=1, max_size=5))
    rows = draw(st.integers(1, len(IMAGES)))
    values = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=rows * len(classes), max_size=rows * len(classes)))
    splits = draw(st.lists(st.sampled_from(["train", "valid", "test"]), min_size=rows, max_size=rows))
    return classes, np.array(values).reshape(rows, len(classes)), splits


def write(folder, kind, records):
    """Write records (equal keys each) in a format and return the file."""
    columns = list(records[0])
    file = folder / {"csv": "t.csv", "semicolon": "t.csv", "tsv": "t.tsv"}.get(kind, f"t.{kind}")
    if kind == "jsonl":
        file.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records), encoding="utf-8")
    elif kind == "parquet":
        pd.DataFrame(records).to_parquet(file)
    else:
        separator = {"csv": ",", "semicolon": ";", "tsv": "\t"}[kind]
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, delimiter=separator)
            writer.writeheader()
            writer.writerows(records)
    return file


def read(file, classes, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(file, classes=classes, **options)


def check(data, classes, values, splits):
    assert data.classes == tuple(classes)
    for split in ("train", "valid", "test"):
        rows = [row for row, name in enumerate(splits) if name == split]
        part = getattr(data, split)
        if not rows:
            assert part is None
        else:
            assert part.names == tuple(IMAGES[row] for row in rows)
            np.testing.assert_array_equal(part.labels, values[rows])


relaxed = settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40, deadline=None)


@pytest.mark.parametrize("kind", FORMATS)
@relaxed
@given(example=labelled(), delimiter=st.sampled_from(DELIMITERS))
def test_label_columns_come_back(folder, kind, example, delimiter):
    classes, values, splits = example
    classes = [clean_name(name.replace(delimiter.strip(" "), "")) for name in classes]
    assume(all(classes))
    assume(len(set(classes)) == values.shape[1])
    records = []
    for row, split in enumerate(splits):
        present = [name for name, value in zip(classes, values[row], strict=True) if value > 0]
        absent = [name for name, value in zip(classes, values[row], strict=True) if value < 0]
        cells = (present, absent) if kind in ("jsonl", "parquet") else map(delimiter.join, (present, absent))
        records.append(dict(zip(("image", "labels", "absent", "split"), (IMAGES[row], *cells, split), strict=True)))
    data = read(write(folder, kind, records), classes, delimiter=delimiter)
    check(data, classes, values, splits)


@pytest.mark.parametrize("kind", FORMATS)
@relaxed
@given(example=labelled())
def test_class_columns_come_back(folder, kind, example):
    classes, values, splits = example
    missing = None if kind in ("jsonl", "parquet") else ""
    written = {1: 1, -1: 0, 0: missing}
    records = [
        {"image": IMAGES[row], "split": split}
        | {name: written[int(value)] for name, value in zip(classes, values[row], strict=True)}
        for row, split in enumerate(splits)
    ]
    check(read(write(folder, kind, records), classes), classes, values, splits)


@relaxed
@given(example=labelled())
def test_classes_that_are_inferred_are_the_sorted_names_that_were_listed(folder, example):
    classes, values, splits = example
    assume((values > 0).any())
    records = [
        {
            "image": IMAGES[row],
            "labels": [name for name, value in zip(classes, values[row], strict=True) if value > 0],
        }
        for row in range(len(splits))
    ]
    used = [name for name, column in zip(classes, values.T, strict=True) if (column > 0).any()]
    data = read(write(folder, "jsonl", records), None, unlisted="unknown")
    assert data.classes == tuple(sorted(used))
    expected = np.maximum(values[:, [classes.index(name) for name in data.classes]], 0)
    np.testing.assert_array_equal(data.train.labels, expected)


@relaxed
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=200))
def test_no_text_makes_the_reader_fail_in_another_way_than_with_its_own_errors(folder, text):
    file = folder / "any.csv"
    for start in ("", "image,labels\n", "image,dog\n"):
        file.write_text(start + text, encoding="utf-8", newline="")
        try:
            outcome = read(file, None).source
        except DualCoOpError as error:
            outcome = str(error)
        assert str(file) in outcome


def test_clean_names_are_composed():
    assert unicodedata.is_normalized("NFC", clean_name(" cafe\u0301 "))
