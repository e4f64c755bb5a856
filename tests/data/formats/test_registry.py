import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dualcoop.cli.app import app
from dualcoop.data.assembly import RawDataset, RawImage, RawPart
from dualcoop.data.formats.options import FormatOptions
from dualcoop.data.formats.registry import FORMATS, Format, format_options
from dualcoop.data.loading import load_dataset
from dualcoop.errors import ConfigError
from dualcoop.options import choices


def is_folder_of_folders(path: Path) -> bool:
    return path.is_dir() and any(child.is_dir() for child in path.iterdir())


def load_folder_of_folders(path, images, options, log):
    """Every image shows what its folder is called."""
    classes = tuple(sorted(child.name for child in path.iterdir() if child.is_dir()))
    names = [file.relative_to(path).as_posix() for file in sorted(path.glob("*/*"))]
    absent = 0 if options.unlisted == "unknown" else -1
    labels = np.array([[1 if name.startswith(f"{each}/") else absent for each in classes] for name in names])
    return RawDataset(classes, [RawPart("train", str(path), [RawImage(None, name) for name in names], path, labels)])


@pytest.fixture
def folders(monkeypatch, photos):
    """A folder with an image of a dog and one of a cat, in a format that the table has one more line for."""
    new = Format(is_folder_of_folders, load_folder_of_folders, FormatOptions, "folders in a folder")
    monkeypatch.setitem(FORMATS, "folders", new)
    return photos("dog/a.jpg", "cat/b.jpg")


def test_a_new_format_is_a_line_of_the_table(folders):
    data = load_dataset(folders)
    assert data.classes == ("cat", "dog")
    assert data.train.names == ("cat/b.jpg", "dog/a.jpg")
    np.testing.assert_array_equal(data.train.labels, [[1, -1], [-1, 1]])


def test_a_new_format_takes_its_options_and_no_others(folders):
    assert (load_dataset(folders, format="folders", unlisted="unknown").train.labels >= 0).all()
    with pytest.raises(ConfigError, match=r"^delimiter is '\|', which is for table; this is a folders\. Leave it out"):
        load_dataset(folders, delimiter="|")


def test_the_command_line_reads_a_new_format(folders):
    done = CliRunner().invoke(app, ["evaluate", "lite", str(folders), "--split", "train"])
    assert done.exit_code == 0, done.output
    assert "2 images, 2 classes" in done.output


@pytest.mark.parametrize(
    ("option", "takers"),
    [
        ({"year": 2014}, "coco and voc"),
        ({"vocabulary": "tags"}, "nuswide"),
    ],
)
def test_options_of_other_formats_are_refused_for_a_table(table, option, takers):
    with pytest.raises(ConfigError, match=rf"which is for {takers}; this is a table\. Leave it out"):
        load_dataset(table("image,labels\na.jpg,dog\n"), **option)


@pytest.mark.parametrize(
    "option",
    [
        {"minus_one": "absent"},
        {"zero": "unknown"},
        {"delimiter": ","},
        {"duplicates": "merge"},
        {"image_column": "file"},
    ],
)
def test_options_of_tables_are_refused_for_coco(tmp_path, option):
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(ConfigError, match=rf"^{next(iter(option))} is .*; this is a coco\. Leave it out"):
        load_dataset(path, **option)


def test_every_option_of_a_format_is_one_of_load_dataset_with_the_same_default():
    parameters = inspect.signature(load_dataset).parameters
    assert {name: parameters[name].default for name in format_options()} == {
        name: each.default for name, each in format_options().items()
    }


def test_options_are_described_with_their_choices():
    minus_one = format_options()["minus_one"]
    assert choices(minus_one.type) == ("absent", "unknown")
    assert minus_one.metadata["help"].startswith("Meaning of -1")
    assert choices(format_options()["year"].type) == ()


def test_the_table_is_there_before_anything_heavy_is_loaded():
    code = "import sys, dualcoop.data.formats.registry; sys.exit(bool({'numpy', 'PIL', 'pandas'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
