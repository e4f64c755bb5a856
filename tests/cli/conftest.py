"""Commands on a tiny random backbone in the place of lite, and small image folders."""

import csv
import shutil

import pytest
from typer.testing import CliRunner

import dualcoop.backbones.lite
from dualcoop.cli.app import app
from tiny import TinyBackbone, tiny_image

CLASSES = ("dog", "beach", "kite")


def tiny_lite():
    backbone = TinyBackbone(name="lite")
    backbone.logit_scale, backbone.logit_bias = 20.0, -4.0
    return backbone


@pytest.fixture(autouse=True)
def _tiny_in_place_of_lite(monkeypatch):
    monkeypatch.setattr(dualcoop.backbones.lite, "load_lite", tiny_lite)


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch, tmp_path):
    """Where region features are kept, instead of the user's own folder."""
    monkeypatch.setenv("DUALCOOP_CACHE", str(tmp_path / "features"))
    return tmp_path / "features"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty folder; nothing is a terminal."""
    monkeypatch.chdir(tmp_path)
    return invoke


def write_photos(folder):
    (folder / "below").mkdir(parents=True)
    for number in range(8):
        tiny_image(number).save((folder if number else folder / "below") / f"{number}.png")
    return folder


def write_table(path):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "labels", "absent", "split"])
        for number in range(8):
            name = f"{number}.png" if number else "below/0.png"
            present = CLASSES[number % 3]
            absent = ";".join(name for name in CLASSES if name != present)
            writer.writerow([name, present, absent, "test" if number > 5 else "train"])
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder of eight images, one of them in a subfolder."""
    return write_photos(tmp_path / "photos")


@pytest.fixture
def table(tmp_path, photos):
    """Labels of the eight images: six for training and two for testing."""
    return write_table(tmp_path / "labels.csv")


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    photos, table = write_photos(folder / "photos"), write_table(folder / "labels.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dualcoop.backbones.lite, "load_lite", tiny_lite)
        patch.setenv("DUALCOOP_CACHE", str(folder / "features"))
        result = invoke("train", table, "--images", photos, "--output", folder / "out", "--epochs", 1)
    assert result.exit_code == 0, result.output
    return folder / "out"


@pytest.fixture
def trained(trained_once, tmp_path):
    """Folder of a model trained for one epoch on such images and labels."""
    return shutil.copytree(trained_once, tmp_path / "out")
