"""The photographs that the experiments run on, and their region features, encoded once for all runs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from dualcoop import DualCoOp, load_dataset
from dualcoop.backbones import create_backbone
from dualcoop.backbones.base import Backbone
from dualcoop.data.labels import LabelledImages
from dualcoop.data.splits import hold_out_images
from dualcoop.errors import DataError
from dualcoop.features import RegionFeatures, encode_images_once

DEFAULT_ROOT = Path(__file__).resolve().parents[2] / "shared" / "data"
IMAGE_SIZES = {"coco663": 320, "corel5k": 224}
VALID_SHARE = 0.2

console = Console(stderr=True)


@dataclass(frozen=True)
class Photographs:
    """One data set with the frozen backbone's features of both parts."""

    name: str
    backbone: Backbone
    train: LabelledImages
    test: LabelledImages
    train_features: RegionFeatures
    test_features: RegionFeatures

    @property
    def image_size(self) -> int:
        """Side of the input, pixels."""
        return IMAGE_SIZES[self.name]

    def held_out(self, seed: int) -> np.ndarray:
        """Rows of the training images to choose by; test images have no part in any choice."""
        _, held = hold_out_images(self.train, round(VALID_SHARE * len(self.train)), seed)
        return np.flatnonzero(np.isin(np.array(self.train.names), np.array(held.names)))


def load_parts(name: str, root: Path) -> tuple[LabelledImages, LabelledImages]:
    """Training and test images with all their labels.

    Raises:
        DataError: when the data set is not there.
    """
    folder = root / name
    if not folder.is_dir():
        raise DataError(f"there is no {folder}: give the folder that holds {name} with --data")
    splits = load_dataset(folder / "labels.csv", unlisted="absent") if name == "corel5k" else load_dataset(folder)
    if splits.train is None or splits.test is None:
        raise DataError(f"{folder} has no train and test part")
    return splits.train, splits.test


def load_photographs(name: str, root: Path, backbone: Backbone | None = None) -> Photographs:
    """Read a data set and encode it."""
    backbone = backbone or create_backbone("lite")
    train, test = load_parts(name, root)
    model = DualCoOp.zero_shot(backbone.name, train.classes, backbone=backbone, image_size=IMAGE_SIZES[name])
    features = []
    for part, data in (("train", train), ("test", test)):
        with console.status(f"encoding {len(data)} photographs of {name} {part}"):
            features.append(encode_images_once(model, data, strict=True))
    return Photographs(name, backbone, train, test, *features)
