"""Region features as int8 with a scale for each region: half the bytes of float16."""

from typing import Any, TypeAlias

import numpy as np

LARGEST = 127


class QuantisedRegions:
    """Regions (n, R, D) that are kept as int8, and read and written as float32.

    Each region has a scale: its largest absolute value, divided by 127. What is kept is every value divided by that
    scale and rounded, so that reading gives a value which differs by half a scale at most.

    Args:
        values: (n, R, D), int8.
        scales: (n, R), float32.
    """

    def __init__(self, values: np.ndarray, scales: np.ndarray) -> None:
        self.values = values
        self.scales = scales

    @property
    def shape(self) -> tuple[int, ...]:
        """n, R and D."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32, which is what reading gives."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> np.ndarray:
        """The same part of an array (n, R, D) of float32; the index may choose among n and R, not among D."""
        regions = self.values[index].astype(np.float32)
        regions *= self.scales[index][..., None]
        return regions

    def __setitem__(self, rows: Any, regions: np.ndarray) -> None:
        self.values[rows], self.scales[rows] = quantise(regions)


Regions: TypeAlias = np.ndarray | QuantisedRegions
"""Regions (n, R, D) as they are kept: float16, or int8 with scales."""


def rows_of(regions: Regions, rows: np.ndarray) -> Regions:
    """Some of the n images' regions, in the form in which they are kept."""
    if isinstance(regions, QuantisedRegions):
        return QuantisedRegions(regions.values[rows], regions.scales[rows])
    return regions[rows]


def quantise(regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values, int8 (n, R, D), and scales, float32 (n, R), by which regions (n, R, D) are kept."""
    values = np.empty(regions.shape, dtype=np.int8)
    scales = np.empty(regions.shape[:2], dtype=np.float32)
    # One image at a time, since its regions fit into the processor's cache, and all of them do not.
    for image, image_values, image_scales in zip(regions, values, scales, strict=True):
        divided = image.astype(np.float32)
        image_scales[:] = np.maximum(divided.max(axis=-1), -divided.min(axis=-1)) / np.float32(LARGEST)
        divided /= np.where(image_scales > 0, image_scales, np.float32(1))[:, None]
        np.rint(divided, out=divided)
        image_values[:] = divided
    return values, scales
