"""Label files, images and partial-label masks; NumPy and Pillow only, no model and no torch."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes

if TYPE_CHECKING:
    from dualcoop.counting import Progress as Progress
    from dualcoop.data.discovery import FoundImages as FoundImages
    from dualcoop.data.discovery import find_images as find_images
    from dualcoop.data.images import MAX_PIXELS as MAX_PIXELS
    from dualcoop.data.images import ImageError as ImageError
    from dualcoop.data.images import open_image as open_image
    from dualcoop.data.images import to_rgb as to_rgb
    from dualcoop.data.labels import DatasetSplits as DatasetSplits
    from dualcoop.data.labels import LabelledImages as LabelledImages
    from dualcoop.data.loading import load_dataset as load_dataset
    from dualcoop.data.masks import LabelMask as LabelMask
    from dualcoop.data.masks import partial_label_mask as partial_label_mask
    from dualcoop.data.problems import DataWarning as DataWarning
    from dualcoop.data.problems import Problem as Problem
    from dualcoop.data.splits import ClassSplit as ClassSplit
    from dualcoop.data.splits import generalized_test_images as generalized_test_images
    from dualcoop.data.splits import hold_out_images as hold_out_images
    from dualcoop.data.splits import seen_unseen_split as seen_unseen_split
    from dualcoop.data.splits import zero_shot_test_images as zero_shot_test_images
    from dualcoop.data.splits import zero_shot_training_images as zero_shot_training_images

# Imported when first asked for, so that options can be listed without NumPy.
_HOMES = {
    "ClassSplit": "dualcoop.data.splits",
    "DataWarning": "dualcoop.data.problems",
    "DatasetSplits": "dualcoop.data.labels",
    "FoundImages": "dualcoop.data.discovery",
    "ImageError": "dualcoop.data.images",
    "LabelMask": "dualcoop.data.masks",
    "LabelledImages": "dualcoop.data.labels",
    "MAX_PIXELS": "dualcoop.data.images",
    "Problem": "dualcoop.data.problems",
    "Progress": "dualcoop.counting",
    "find_images": "dualcoop.data.discovery",
    "generalized_test_images": "dualcoop.data.splits",
    "hold_out_images": "dualcoop.data.splits",
    "load_dataset": "dualcoop.data.loading",
    "open_image": "dualcoop.data.images",
    "partial_label_mask": "dualcoop.data.masks",
    "seen_unseen_split": "dualcoop.data.splits",
    "to_rgb": "dualcoop.data.images",
    "zero_shot_test_images": "dualcoop.data.splits",
    "zero_shot_training_images": "dualcoop.data.splits",
}

__all__ = [*_HOMES]

__getattr__ = lazy_attributes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
