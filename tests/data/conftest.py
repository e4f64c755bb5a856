"""Small images and tables for the tests of the data package."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Write small JPEG or PNG images by these names and return their folder."""

    def write(*names: str, folder: str = "photos") -> Path:
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            file = place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 8), (20 * number % 256, 90, 160)).save(file)
        return place

    return write


@pytest.fixture
def table(tmp_path: Path, photos: Callable[..., Path]) -> Callable[..., Path]:
    """Write a table, and an image by each of the names a.jpg to e.jpg beside it; return the table's path."""

    def write(text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
        photos("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", folder=".")
        file = tmp_path / name
        file.write_bytes(text.encode(encoding))
        return file

    return write
