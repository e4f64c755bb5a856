"""Results as Markdown."""

from collections.abc import Mapping
from typing import Any

from benchmarks.options import Row
from benchmarks.results import PartResult, Results

DIGITS = 3


def markdown(titles: Mapping[str, str], results: Results) -> str:
    """A heading, where and how it was measured, and a table for every part that was run.

    Args:
        titles: of the parts by name, in the order wanted.
        results: what is known.
    """
    sections = []
    for name, title in titles.items():
        part = results.get(name)
        if part is not None:
            head = f"### {title}\n\n`python -m benchmarks --only {name}`: {provenance(part)}"
            sections.append(f"{head}\n\n{table(part.rows)}")
    return "\n\n".join(sections)


def provenance(part: PartResult) -> str:
    """One sentence on the machine, versions and duration of a run."""
    machine, versions = part.machine, part.versions
    accelerator = machine["accelerator"] or "no GPU"
    where = f"{machine['processor']}, {machine['torch_threads']} threads, {machine['instructions']}, {accelerator}"
    trial = " A quick trial: the figures say little." if part.quick else ""
    return f"{where}; torch {versions['torch']}, dualcoop {versions['dualcoop']}; took {part.seconds:.0f} s.{trial}"


def table(rows: list[Row]) -> str:
    """A Markdown table; columns in the order in which the rows name them, numbers to the right.

    Lists stand in no table, None is an empty cell.
    """
    columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, list)))
    numeric = {key for key in columns if not any(isinstance(row.get(key), str) for row in rows)}
    lines = [columns, ["---:" if key in numeric else "---" for key in columns]]
    lines += [[cell(row.get(key)) for key in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(value: Any) -> str:
    """Text as it is, whole numbers with thousands' commas, others with three digits."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 10 ** (DIGITS - 1):
        return f"{value:,.0f}"
    return f"{value:.{DIGITS}g}" if abs(value) >= 1e-4 or value == 0 else f"{value:.0e}"
