"""The demo's photographs: what ships fits together, and everybody is credited."""

import csv
from pathlib import Path

import pytest
from PIL import Image

import dualcoop
from dualcoop.demo.content import FOLDER, LICENCE_PAGES, demo_classes, demo_credits, demo_data

IMAGES = sorted(path.name for path in FOLDER.glob("*.jpg"))
ALLOWED = {"CC0-1.0", "public domain", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"}


@pytest.fixture(scope="module")
def rows():
    with (FOLDER / "labels.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_image_has_one_row_and_every_row_a_image(rows):
    assert sorted(row["image"] for row in rows) == IMAGES


def test_labels_are_classes_and_every_class_is_used_in_both_parts(rows):
    for part in ("train", "test"):
        used = {label for row in rows if row["split"] == part for label in row["labels"].split(";")}
        assert used == set(demo_classes())
    assert {row["split"] for row in rows} == {"train", "test"}


def test_every_image_is_credited_with_a_licence_that_allows_this():
    credits = demo_credits()
    assert sorted(credits) == IMAGES
    for credit in credits.values():
        assert credit.licence in ALLOWED
        assert credit.author.strip()
        assert credit.title.strip()
        assert credit.changes.strip()
        assert credit.source.startswith("https://")


def test_every_allowed_licence_has_a_page_to_link_to():
    assert set(LICENCE_PAGES) == ALLOWED


def test_images_are_small_rgb_jpegs_without_metadata():
    for name in IMAGES:
        with Image.open(FOLDER / name) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB"), name
            assert max(image.size) <= 384, name
            assert not image.getexif(), name
    assert sum((FOLDER / name).stat().st_size for name in IMAGES) < 8 * 2**20


def test_data_have_all_labels_known():
    data = demo_data()
    assert (len(data.train), len(data.test)) == (89, 58)
    assert data.classes == demo_classes()
    assert data.train.known.all()
    assert data.test.known.all()
    assert not data.problems


def test_no_image_is_in_both_parts():
    data = demo_data()
    contents = {part: {path.read_bytes() for path in getattr(data, part).paths} for part in ("train", "test")}
    assert not contents["train"] & contents["test"]


def test_images_and_template_are_package_data():
    root = Path(dualcoop.__file__).parent
    assert FOLDER.is_relative_to(root)
    pyproject = root.parents[1] / "pyproject.toml"
    if pyproject.exists():
        packaged = pyproject.read_text(encoding="utf-8")
        assert '"demo/images/*"' in packaged
        assert '"*/*.jinja"' in packaged
