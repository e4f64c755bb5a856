"""What was wrong with single rows, images or classes of a data set, kept so that it can be shown."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from dualcoop.errors import PYTHON, DataError, DualCoOpWarning, Message, Text

SHOWN_NAMES = 10


class DataWarning(DualCoOpWarning):
    """A label file can be read in more than one way, or part of it was skipped."""


class ProblemsWarning(DataWarning):
    """Sums up the problems of a data set, which lists them."""


@dataclass(frozen=True)
class Problem:
    """One row, image or class that could not be used as it is.

    Attributes:
        source: file that the row stands in.
        row: row number as a spreadsheet shows it (the header of a CSV file is row 1), the line number of a JSONL or
            text file, the record number (from 1) of a Parquet file, the `id` of a COCO image or annotation; None when
            the problem is not about one row.
        path: the image concerned, None when there is none.
        reason: what was wrong and what was expected.
        remedy: what to do about it.
    """

    source: str
    row: int | None
    path: str | None
    reason: Text
    remedy: Text

    @property
    def message(self) -> Message:
        """All of it, for every front end to put into its own words."""
        where = self.source if self.row is None else f"{self.source}, row {self.row}"
        if self.path is not None:
            where = f"{where} ({self.path})" if where else self.path
        return Message(self.reason, where, None, self.remedy)

    def __str__(self) -> str:
        return self.message.rendered(PYTHON)


@dataclass(eq=False)
class ProblemLog:
    """Collects problems or, when it is strict, raises the first one."""

    strict: bool = False
    problems: list[Problem] = field(default_factory=list)

    def report(
        self, source: str | os.PathLike[str], row: int | None, path: str | None, reason: Text, remedy: Text
    ) -> None:
        """Keep one problem.

        Raises:
            DataError: with the same words, when the log is strict.
        """
        problem = Problem(str(source), row, path, reason, remedy)
        if self.strict:
            raise DataError(reason, where=problem.message.where, remedy=remedy)
        self.problems.append(problem)

    def first(self) -> Text:
        """What to put behind words without a full stop: a sentence with the first problem, if there is any."""
        return (". The first problem: ", self.problems[0].message) if self.problems else ""


def quoted_list(names: Iterable[str], shown: int = SHOWN_NAMES) -> str:
    """Names in quotes for a message, cut after `shown` of them: 'dog', 'cat' and 12 more."""
    all_names = [repr(str(name)) for name in names]
    if len(all_names) <= shown:
        return ", ".join(all_names)
    return f"{', '.join(all_names[:shown])} and {len(all_names) - shown} more"
