"""What has been measured so far, kept in one file; every part has its own machine and versions."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.options import Row
from dualcoop.training.provenance import write_json


@dataclass(frozen=True)
class PartResult:
    """One part's latest run.

    Attributes:
        rows: of its table; a cell that is a list is for plots alone.
        machine, versions: where it was measured, and with what.
        quick: a trial, whose figures say little.
        seconds: that the measurement took.
    """

    rows: list[Row]
    machine: dict[str, Any]
    versions: dict[str, str]
    quick: bool
    seconds: float


class Results:
    """The parts' latest runs, written to their file at once.

    Args:
        path: of the file, which may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str) -> PartResult | None:
        """Latest run of a part, None where there is none."""
        part = self._read().get(name)
        return None if part is None else PartResult(**part)

    def rows(self, name: str) -> list[Row]:
        """Rows of a part, none where it was not run."""
        part = self.get(name)
        return [] if part is None else part.rows

    def put(self, name: str, part: PartResult) -> None:
        """Replace one part and leave the others as they are."""
        # Read again, since another part may have ended in another process meanwhile.
        write_json(self._read() | {name: asdict(part)}, self._path)

    def _read(self) -> dict[str, Any]:
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
