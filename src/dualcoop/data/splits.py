"""Held-out images, and the seen and unseen classes of the zero-shot protocols."""

import hashlib
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np

from dualcoop.data.labels import LabelledImages
from dualcoop.errors import ConfigError, DataError

SPLIT_FILES = {"coco-48-17": "coco_48_17.json", "nuswide-925-81": "nuswide_925_81.json"}


@dataclass(frozen=True)
class ClassSplit:
    """Classes that prompts are trained on, and classes that they are only tested on.

    Attributes:
        name: as `seen_unseen_split` takes it.
        seen: class names with training images.
        unseen: class names without.
        source: where the division comes from.
    """

    name: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    source: str

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, the seen ones first."""
        return self.seen + self.unseen


def seen_unseen_split(name: str) -> ClassSplit:
    """A published division into seen and unseen classes: "coco-48-17" or "nuswide-925-81".

    Raises:
        ConfigError: for another name.
    """
    key = name.strip().lower().replace("_", "-")
    if key not in SPLIT_FILES:
        raise ConfigError(f"no class split is called {name!r}. There are {', '.join(SPLIT_FILES)}.")
    text = resources.files("dualcoop.data").joinpath("splits_data", SPLIT_FILES[key]).read_text("utf-8")
    content = json.loads(text)
    return ClassSplit(key, tuple(content["seen"]), tuple(content["unseen"]), content["source"])


def zero_shot_training_images(data: LabelledImages, split: ClassSplit) -> LabelledImages:
    """Training images of the zero-shot protocols: those with at least one seen label; the seen classes only.

    Raises:
        DataError: when the data lacks one of the classes, or no image has a seen label.
    """
    return _images_with_any(data, split.seen, "seen")


def zero_shot_test_images(data: LabelledImages, split: ClassSplit) -> LabelledImages:
    """Test images of zero-shot recognition (ZSL): those with an unseen label; the unseen classes only.

    Raises:
        DataError: when the data lacks one of the classes, or no image has an unseen label.
    """
    return _images_with_any(data, split.unseen, "unseen")


def generalized_test_images(data: LabelledImages, split: ClassSplit) -> LabelledImages:
    """Test images of generalised zero-shot recognition (GZSL): those with any label; all classes, seen first.

    Raises:
        DataError: when the data lacks one of the classes, or no image has any of the labels.
    """
    return _images_with_any(data, split.classes, "seen or unseen")


def _images_with_any(data: LabelledImages, classes: tuple[str, ...], kind: str) -> LabelledImages:
    chosen = data.select_classes(classes)
    chosen = chosen.subset(np.flatnonzero((chosen.labels > 0).any(axis=1)))
    if not len(chosen):
        raise DataError(f"no image of {len(data)} has a {kind} label. Check that the labels fit the class split.")
    return chosen


def hold_out_images(data: LabelledImages, count: int, seed: int = 0) -> tuple[LabelledImages, LabelledImages]:
    """Divide the images at random: (the rest, `count` held out), each in the order of `data`.

    Each image draws its number from the seed and its own name, so the choice does not depend on the order of
    the rows, and few images change sides when others are added.

    Raises:
        ConfigError: when `count` is not between 0 and the number of images.
    """
    if not 0 <= count <= len(data):
        raise ConfigError(f"cannot hold out {count} of {len(data)} images. Ask for fewer.")
    draws = [hashlib.blake2b(f"{seed}\0{name}".encode(errors="surrogateescape")).digest() for name in data.names]
    order = sorted(range(len(data)), key=draws.__getitem__)
    held = np.zeros(len(data), dtype=np.bool_)
    held[order[:count]] = True
    return data.subset(~held), data.subset(held)
