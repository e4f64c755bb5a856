"""What is written down about the surroundings of a run."""

import json
import platform
from importlib.metadata import version

import pytest

from dualcoop.training import provenance
from dualcoop.training.provenance import machine, versions, write_json


def test_versions_are_those_installed(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    assert versions() == {
        "python": platform.python_version(),
        "torch": version("torch"),
        "no-such-package": "not installed",
    }


def test_the_packages_that_decide_the_numbers_are_named():
    assert {"dualcoop", "torch", "torchvision", "open_clip_torch", "timm", "numpy", "pillow"} <= set(versions())


def test_the_machine_is_described_in_json_values():
    found = machine()
    assert json.loads(json.dumps(found)) == found
    assert found["torch_threads"] >= 1


def test_json_is_readable_and_replaced_as_a_whole(tmp_path):
    path = tmp_path / "run.json"
    write_json({"class": "été", "a": [1]}, path)
    before = path.read_text(encoding="utf-8")
    assert '"class": "été"' in before
    with pytest.raises(ValueError, match="nan"):
        write_json({"a": float("nan")}, path)
    assert path.read_text(encoding="utf-8") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]
