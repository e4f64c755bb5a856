"""Commands on a tiny random backbone in the place of lite, and small picture folders."""

import csv

import pytest
from typer.testing import CliRunner

import dualcoop.backbones.lite
from dualcoop.cli.app import app
from tiny import TinyBackbone, tiny_picture

CLASSES = ("dog", "beach", "kite")


def tiny_lite():
    backbone = TinyBackbone(name="lite")
    backbone.logit_scale, backbone.logit_bias = 20.0, -4.0
    return backbone


@pytest.fixture(autouse=True)
def _tiny_in_place_of_lite(monkeypatch):
    monkeypatch.setattr(dualcoop.backbones.lite, "load_lite", tiny_lite)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty folder; nothing is a terminal."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def invoke(*arguments):
        return runner.invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture
def photos(tmp_path):
    """A folder of eight pictures, one of them in a subfolder."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for number in range(8):
        tiny_picture(number).save((folder if number else folder / "below") / f"{number}.png")
    return folder


@pytest.fixture
def table(tmp_path, photos):
    """Labels of the eight pictures: six for training and two for testing."""
    path = tmp_path / "labels.csv"
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
def trained(run, table, photos, tmp_path):
    """Folder of a model trained for one epoch."""
    result = run("train", table, "--images", photos, "--output", tmp_path / "out", "--epochs", 1)
    assert result.exit_code == 0, result.output
    return tmp_path / "out"
