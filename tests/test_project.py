"""What the project says about itself in several places agrees."""

import csv
import re
from pathlib import Path

import pytest

import dualcoop

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "src" / "dualcoop" / "demo" / "images"


@pytest.fixture(scope="module")
def project():
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11 to read pyproject.toml")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_the_same_everywhere(project):
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    citation = re.search(r"^version: (\S+)$", text, re.MULTILINE)
    assert citation is not None
    assert citation[1] == project["version"] == dualcoop.__version__


def test_every_dependency_is_justified_and_no_other(project):
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    required = {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    justified = re.findall(r"^\| ([\w.-]+) \| \S", page, re.MULTILINE)
    assert sorted(set(justified) - {"package"}) == sorted(required)


def test_declared_licences_are_those_of_the_code_and_of_every_shipped_image(project):
    with (IMAGES / "CREDITS.csv").open(encoding="utf-8", newline="") as stream:
        licences = {row["image"]: row["licence"] for row in csv.DictReader(stream)}
    assert set(licences) == {path.name for path in IMAGES.glob("*.jpg")}
    expected = {"LicenseRef-Public-Domain" if name == "public domain" else name for name in licences.values()}
    assert sorted(project["license"].split(" AND ")) == sorted({"Apache-2.0", *expected})


def test_the_licence_texts_are_there(project):
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert all((ROOT / name).stat().st_size > 0 for name in project["license-files"])
