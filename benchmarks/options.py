"""What a run of the benchmarks is asked for, and what a part of it gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# Values are text, numbers or None (an empty cell); lists are kept in the file, for plots, and stand in no table.
Row = dict[str, Any]

QUICK = 0.1


@dataclass(frozen=True)
class Options:
    """Of one run.

    Attributes:
        device: where to compute.
        quick: see whether everything runs: one round, a tenth of the time.
        data: folder with the photographs, which may not be there.
        published_seconds: after which the published training run is cut.
    """

    device: torch.device
    quick: bool
    data: Path
    published_seconds: float

    def seconds(self, budget: float) -> float:
        """A time budget as this run has it."""
        return QUICK * budget if self.quick else budget
