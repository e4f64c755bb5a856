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
__all__, __getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "dualcoop.counting": ("Progress",),
        "dualcoop.data.discovery": ("FoundImages", "find_images"),
        "dualcoop.data.images": ("ImageError", "MAX_PIXELS", "open_image", "to_rgb"),
        "dualcoop.data.labels": ("DatasetSplits", "LabelledImages"),
        "dualcoop.data.loading": ("load_dataset",),
        "dualcoop.data.masks": ("LabelMask", "partial_label_mask"),
        "dualcoop.data.problems": ("DataWarning", "Problem"),
        "dualcoop.data.splits": (
            "ClassSplit",
            "generalized_test_images",
            "hold_out_images",
            "seen_unseen_split",
            "zero_shot_test_images",
            "zero_shot_training_images",
        ),
    },
)
