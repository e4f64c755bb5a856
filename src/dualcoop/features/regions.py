"""Region features of images at hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from dualcoop.cache import Regions, Shard
from dualcoop.data.problems import Problem

Block: TypeAlias = Regions | Shard
"""Regions (n, R, D) to be read by index. A shard that is held so is safe from eviction."""


@dataclass(frozen=True, eq=False, repr=False)
class RegionFeatures:
    """Region features of the n readable ones of N images in V views, in half precision or int8.

    They may lie in several blocks, on disk or in memory; nothing of them is read before it is asked for.

    Attributes:
        blocks: each (m, R, D).
        block, row: (n, V), where the features of each image and view lie.
        region_shape: R and D.
        kept: (n,), indices of the images that could be read; the rows of the features.
        problems: one entry for each image that could not, in their order.
    """

    blocks: Sequence[Block]
    block: np.ndarray
    row: np.ndarray
    region_shape: tuple[int, int]
    kept: np.ndarray
    problems: tuple[Problem, ...]

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def images(self) -> int:
        """N, readable or not."""
        return len(self.kept) + len(self.problems)

    @property
    def views(self) -> int:
        """V."""
        return self.block.shape[1]

    def batch(self, rows: np.ndarray, views: np.ndarray | int = 0) -> Tensor:
        """Features of some images, one view of each: (b, R, D), float32, on the CPU."""
        return torch.from_numpy(self._read(rows, views, self.region_shape, lambda row: row)).float()

    def subset(self, indices: np.ndarray) -> "RegionFeatures":
        """The features that belong to `data.subset(indices)`, of the N images, where these belong to `data`."""
        row = np.full(self.images, -1)
        row[self.kept] = np.arange(len(self))
        problem = dict(zip(np.flatnonzero(row < 0).tolist(), self.problems, strict=True))
        rows = row[indices]
        problems = tuple(problem[int(index)] for index in np.asarray(indices)[rows < 0])
        there, kept = rows[rows >= 0], np.flatnonzero(rows >= 0)
        return replace(self, block=self.block[there], row=self.row[there], kept=kept, problems=problems)

    def global_regions(self) -> np.ndarray:
        """The mean region of each image's first view, (n, D), float32."""
        rows = np.arange(len(self))
        return self._read(rows, 0, self.region_shape[1:], lambda row: (row, 0)).astype(np.float32)

    def _read(
        self, rows: np.ndarray, views: np.ndarray | int, shape: tuple[int, ...], index: Callable[[np.ndarray], Any]
    ) -> np.ndarray:
        """Some values of each row, (b, *shape), float16 or float32: what `index` of the row finds in its block."""
        block, row = self.block[rows, views], self.row[rows, views]
        used = np.unique(block)
        if len(used) == 1:
            return np.asarray(self.blocks[used[0]][index(row)])
        kind = np.result_type(np.float16, *(self.blocks[each].dtype for each in used))
        found = np.empty((len(block), *shape), dtype=kind)
        for each in used:
            mine = block == each
            found[mine] = self.blocks[each][index(row[mine])]
        return found


def kept_and_left_out(images: int, problems: Mapping[int, Problem]) -> tuple[np.ndarray, tuple[Problem, ...]]:
    """Of N images, indices of those that could be read, (n,), and what is wrong with the others, in their order."""
    kept = np.array([index for index in range(images) if index not in problems], dtype=int)
    return kept, tuple(problems[index] for index in sorted(problems))
