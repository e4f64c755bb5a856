"""What a run must fulfil before anything is computed."""

import numpy as np

from dualcoop.class_names import ClassDifferences
from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask
from dualcoop.errors import ConfigError, DataError, ModelError, Only, Option
from dualcoop.features.checks import check_labelled, check_shape
from dualcoop.features.regions import RegionFeatures
from dualcoop.network import DualCoOpNetwork
from dualcoop.training.arguments import TrainingArguments


def check_run(
    model: DualCoOpNetwork,
    arguments: TrainingArguments,
    train: LabelledImages,
    valid: LabelledImages | None,
    mask: LabelMask | None,
) -> None:
    """Refuse what cannot be trained.

    Raises:
        ConfigError: when the arguments do not fit the model or the data.
        DataError: when no label is known to be present, or labels are known that the mask hides.
        ModelError: when the data's classes are not the model's.
    """
    for data in (train, valid):
        if data is not None:
            check_classes(model, data)
    _check_labels(model, arguments, train.labels, None if valid is None else valid.labels)
    if mask is not None and (mask.keep.shape != train.labels.shape or train.known[~mask.keep].any()):
        what = "the training labels did not go through the mask that is to be written down with the run"
        raise DataError(what, remedy="train on mask.apply(data), or leave the mask out")


def check_fit(
    model: DualCoOpNetwork,
    arguments: TrainingArguments,
    features: RegionFeatures,
    labels: np.ndarray,
    valid: tuple[RegionFeatures, np.ndarray] | None,
) -> None:
    """Refuse to train on region features at hand what cannot be trained on them.

    Raises:
        ConfigError: when the arguments need images or a folder, or features, labels and model do not fit each other.
        DataError: when no label is known to be present.
    """
    for option, unsuitable, why in (
        ("output_dir", arguments.output_dir is not None, "writes nothing"),
        ("report_to", bool(arguments.report_to), "writes nothing"),
        ("finetune", arguments.finetune != "none", "leaves the image tower as it is"),
        ("views", not arguments.views, "sees no images that could be encoded anew"),
    ):
        if unsuitable:
            what = f"is {getattr(arguments, option)!r}, but training on region features at hand {why}"
            remedy = "train on the images with dualcoop.Trainer, or leave it out"
            raise ConfigError(what, option=option, remedy=remedy)
    for name, part, known, views in (
        ("features", features, labels, arguments.views),
        *([("valid", *valid, 1)] if valid is not None else []),
    ):
        check_labelled(model, part, known, name, views)
    _check_labels(model, arguments, labels, None if valid is None else valid[1])


def _check_labels(
    model: DualCoOpNetwork, arguments: TrainingArguments, train: np.ndarray, valid: np.ndarray | None
) -> None:
    if not list(model.prompts.parameters()):
        what = "the model's prompts are hand-crafted templates, so there is nothing to train"
        raise ConfigError(what, remedy=Only("python", "make the model with prompts=PromptConfig()"))
    check_positives(train)
    if arguments.select == "best" and (valid is None or not (valid > 0).any()):
        lack = "there are no validation images" if valid is None else "no validation label is known as present"
        remedy = ("hold images out of the training set, or use ", Option("select", "last"))
        raise ConfigError(f"is 'best', but {lack} to choose by", option="select", remedy=remedy)
    if arguments.class_sample is not None and arguments.class_sample > len(model.classes):
        what = f"is {arguments.class_sample}, but there are only {len(model.classes)} classes"
        raise ConfigError(what, option="class_sample")


def check_positives(labels: np.ndarray) -> None:
    """Refuse labels (n, M) of training images from which nothing can be learned.

    Raises:
        DataError: when no label is known to be present.
    """
    if not (labels > 0).any():
        what = f"there are {len(labels)} training images, and no label among them is known to be present"
        raise DataError(what, remedy="give images with at least one label")


def check_classes(model: DualCoOpNetwork, data: LabelledImages) -> None:
    """Refuse data whose label columns are not the model's classes.

    Raises:
        ModelError: naming classes that are missing or unknown.
    """
    if data.classes == model.classes:
        return
    differences = ClassDifferences.between(model.classes, data.classes)
    what = f"the data's {len(data.classes)} classes are not the model's {len(model.classes)}"
    what = f"{what}. {differences or 'Their order or spelling differs.'}"
    raise ModelError(what, remedy=Only("python", "load the data with classes=model.classes"))


def check_features(
    model: DualCoOpNetwork, data: LabelledImages | None, features: RegionFeatures | None, name: str, views: int
) -> None:
    """Refuse features, if there are any, that were encoded for other images than `data`; see `check_shape`.

    `views` is 0 where images are encoded anew in every epoch.

    Raises:
        ConfigError: saying what differs.
    """
    if features is None:
        return
    if not views:
        what = "are given, but this run encodes images anew in every epoch"
        raise ConfigError(what, option=name, remedy="leave them out")
    check_shape(model, features, 0 if data is None else len(data), name, views)
