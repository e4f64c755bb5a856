"""Features that belong to other images, labels or models are refused."""

from collections.abc import Sequence

import numpy as np

from dualcoop.counting import counted
from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import Problem
from dualcoop.errors import ConfigError, DataError
from dualcoop.features.regions import RegionFeatures
from dualcoop.network import RegionClassifier


def check_any_read(kept: np.ndarray, data: LabelledImages, problems: Sequence[Problem]) -> None:
    """Refuse images of which none can be read (`kept`, their indices, is empty) by DataError, naming the first."""
    if not len(kept):
        first = (", such as ", problems[0].message) if problems else ()
        raise DataError((f"none of the {len(data)} images can be read", *first))


def check_labelled(
    model: RegionClassifier, features: RegionFeatures, labels: np.ndarray, name: str, views: int = 1
) -> None:
    """Refuse labels that are not (n, M), of these features and of the model's classes, and features of another model.

    Raises:
        ConfigError: saying what differs in the argument of this name.
    """
    if labels.shape != (len(features), len(model.classes)):
        raise ConfigError(
            f"labels of {name} are {labels.shape}, expected {(len(features), len(model.classes))}: a row for each "
            "image that could be read, features.kept of all, and a column for each class"
        )
    check_shape(model, features, features.images, name, views)


def check_shape(model: RegionClassifier, features: RegionFeatures, images: int, name: str, views: int) -> None:
    """Refuse features of another number of images, of too few views, or of another model.

    Raises:
        ConfigError: saying what differs.
    """
    expected = (images, *model.region_shape)
    found = (features.images, *features.region_shape)
    if found != expected or features.views < views:
        what = f"are of {_shape(found, features.views)}, needed are {_shape(expected, views)}"
        raise ConfigError(what, option=name, remedy="encode these images with encode_images_once and this model")


def _shape(shape: tuple[int, ...], views: int) -> str:
    images, regions, dimensions = shape
    return f"{counted(images, 'image')} in {counted(views, 'view')}, {regions} regions of {dimensions}"
