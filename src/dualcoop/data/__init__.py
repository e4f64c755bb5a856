"""Label files, images and partial-label masks; NumPy and Pillow only, no model and no torch."""

from dualcoop.data.assembly import Progress
from dualcoop.data.discovery import FoundImages, find_images
from dualcoop.data.images import MAX_PIXELS, ImageError, open_image, to_rgb
from dualcoop.data.labels import DatasetSplits, LabelledImages
from dualcoop.data.loading import load_dataset
from dualcoop.data.masks import LabelMask, partial_label_mask
from dualcoop.data.problems import DataWarning, Problem
from dualcoop.data.splits import (
    ClassSplit,
    generalized_test_images,
    hold_out_images,
    seen_unseen_split,
    zero_shot_test_images,
    zero_shot_training_images,
)

__all__ = [
    "MAX_PIXELS",
    "ClassSplit",
    "DataWarning",
    "DatasetSplits",
    "FoundImages",
    "ImageError",
    "LabelMask",
    "LabelledImages",
    "Problem",
    "Progress",
    "find_images",
    "generalized_test_images",
    "hold_out_images",
    "load_dataset",
    "open_image",
    "partial_label_mask",
    "seen_unseen_split",
    "to_rgb",
    "zero_shot_test_images",
    "zero_shot_training_images",
]
