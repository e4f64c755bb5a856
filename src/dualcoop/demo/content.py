"""The photographs of the demo, their labels and their authors."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dualcoop.data.labels import DatasetSplits
from dualcoop.data.loading import load_dataset

FOLDER = Path(__file__).resolve().parent / "images"
LICENCE_PAGES = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "public domain": "https://creativecommons.org/publicdomain/mark/1.0/",
}
"""Licences that an image may have, and where their texts are."""


@dataclass(frozen=True)
class Credit:
    """Whom an image is from, and on what terms; one row of CREDITS.csv.

    Attributes:
        image: file name.
        title: of the work.
        author: as they want to be named.
        licence: a key of LICENCE_PAGES.
        source: web page of the work.
        changes: what was done to it before it came here.
    """

    image: str
    title: str
    author: str
    licence: str
    source: str
    changes: str


def demo_classes() -> tuple[str, ...]:
    """The 18 class names, one a line in classes.txt."""
    return tuple((FOLDER / "classes.txt").read_text(encoding="utf-8").splitlines())


def demo_data() -> DatasetSplits:
    """89 images to train on and 58 to test on, all labels known."""
    return load_dataset(FOLDER / "labels.csv", images=FOLDER, classes=demo_classes(), unlisted="absent")


@cache
def demo_credits() -> dict[str, Credit]:
    """Credits by file name."""
    names = Credit.__dataclass_fields__
    with (FOLDER / "CREDITS.csv").open(encoding="utf-8", newline="") as stream:
        return {row["image"]: Credit(**{name: row[name] for name in names}) for row in csv.DictReader(stream)}
