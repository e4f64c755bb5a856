"""Paired, repeated timing: A B A B ..., so that whatever else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

from dualcoop.training import provenance

# Short calls are repeated until a measurement lasts this long, seconds.
SHORTEST = 0.2

Stages = Mapping[str, float]
Candidate = Callable[[], Stages]
Clock = Callable[[], float]


class Stopwatch:
    """Seconds spent in named stages; on a GPU the work queued so far is waited for at both ends.

    Attributes:
        seconds: by stage, added up since construction.
    """

    def __init__(self, device: torch.device, clock: Clock = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._clock = clock

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what happens inside for this stage."""
        synchronise(self._device)
        start = self._clock()
        yield
        synchronise(self._device)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + self._clock() - start


@dataclass(frozen=True)
class Sample:
    """One measurement: seconds per call, in all and by stage."""

    total: float
    stages: dict[str, float]


@dataclass(frozen=True)
class Paired:
    """Measurements of several candidates, one of each per round.

    Attributes:
        samples: by candidate, all with the same number of rounds.
    """

    samples: dict[str, list[Sample]]

    @property
    def rounds(self) -> int:
        """Measurements of each candidate."""
        return len(next(iter(self.samples.values())))

    def seconds(self, name: str) -> float:
        """Median over the rounds."""
        return median(sample.total for sample in self.samples[name])

    def stage(self, name: str, stage: str) -> float | None:
        """Median seconds of a stage; None where the candidate has no such stage."""
        found = [sample.stages[stage] for sample in self.samples[name] if stage in sample.stages]
        return median(found) if found else None

    def ratio(self, slow: str, fast: str) -> float:
        """How many times faster `fast` is: the median of the rounds' own ratios."""
        return median(self._ratios(slow, fast))

    def ratio_range(self, slow: str, fast: str) -> tuple[float, float]:
        """Smallest and largest ratio of a round."""
        ratios = self._ratios(slow, fast)
        return min(ratios), max(ratios)

    def _ratios(self, slow: str, fast: str) -> list[float]:
        pairs = zip(self.samples[slow], self.samples[fast], strict=True)
        return [a.total / b.total for a, b in pairs]


def paired(
    candidates: Mapping[str, Candidate],
    *,
    rounds: int,
    budget: float,
    shortest: float = SHORTEST,
    clock: Clock = time.perf_counter,
) -> Paired:
    """Measure every candidate once a round, after one call of each that is not counted.

    Args:
        candidates: each does its work once, waits for its end, and gives the seconds of its stages.
        rounds: at most; at least one is run.
        budget: seconds after which no further round starts.
        shortest: seconds that a measurement lasts at least, by repeated calls.
        clock: seconds.
    """
    start = clock()
    for candidate in candidates.values():
        candidate()
    samples: dict[str, list[Sample]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            samples[name].append(sample(candidate, shortest=shortest, clock=clock))
        if clock() - start > budget:
            break
    return Paired(samples)


def sample(candidate: Candidate, *, shortest: float = SHORTEST, clock: Clock = time.perf_counter) -> Sample:
    """One measurement: the mean over as many calls as it takes to last `shortest` seconds."""
    calls: list[Stages] = []
    start = clock()
    while not calls or clock() - start < shortest:
        calls.append(candidate())
    total = (clock() - start) / len(calls)
    return Sample(total, {stage: mean(call[stage] for call in calls) for stage in calls[0]})


def synchronise(device: torch.device) -> None:
    """Wait for the work queued on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(device: torch.device) -> dict[str, Any]:
    """Processor, threads and accelerator."""
    found = provenance.machine()
    found["processor"] = _processor_name() or found["processor"]
    found["instructions"] = torch.backends.cpu.get_cpu_capability()
    found["device"] = device.type
    return found


def _processor_name() -> str | None:
    """What Linux calls the processor."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return None
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else None
