"""The label files of the documentation load and say what the page says."""

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = DOCS / "examples"
NAMES = ("beach.jpg", "street.jpg", "garden.jpg", "harbour.jpg")
CLASSES = ("beach", "car", "dog", "traffic light")


def example(name, photos, tmp_path, **options):
    photos(*NAMES, folder=".")
    shutil.copy(EXAMPLES / name, tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        return load_dataset(tmp_path / name, **options)


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.jsonl", "class-columns.csv"])
def test_every_layout_says_the_same(photos, tmp_path, name):
    data = example(name, photos, tmp_path)
    parts = dict(data.select_classes(CLASSES).parts())
    np.testing.assert_array_equal(parts["train"].labels, [[1, -1, 1, 0], [0, 1, 0, 1]])
    np.testing.assert_array_equal(parts["valid"].labels, [[-1, -1, 1, 0]])
    np.testing.assert_array_equal(parts["test"].labels, [[0, -1, -1, 0]])


def test_one_row_for_each_label_is_merged(photos, tmp_path):
    data = example("one-row-per-label.csv", photos, tmp_path, duplicates="merge", unlisted="absent")
    np.testing.assert_array_equal(data.train.labels, [[1, -1, 1, -1], [-1, 1, -1, 1], [-1, -1, 1, -1]])


def test_the_least_coco_file_loads(photos, tmp_path):
    data = example("coco.json", photos, tmp_path)
    assert data.classes == ("car", "dog")
    np.testing.assert_array_equal(data.train.labels, [[-1, 1], [1, -1]])


@pytest.mark.parametrize("name", ["labels.csv", "class-columns.csv"])
def test_the_page_shows_the_files_as_they_are(name):
    assert f"```\n{(EXAMPLES / name).read_text()}```" in (DOCS / "label-formats.md").read_text()


def test_the_page_shows_the_summary_as_it_is(photos, tmp_path):
    shown = str(example("labels.csv", photos, tmp_path)).replace(str(tmp_path / "labels.csv"), "labels.csv")
    assert f"```\n{shown}\n```" in (DOCS / "label-formats.md").read_text()


def test_the_page_links_to_files_that_exist():
    links = re.findall(r"\]\((examples/[^)]+)\)", (DOCS / "label-formats.md").read_text())
    assert links
    assert all((DOCS / link).is_file() for link in links)
