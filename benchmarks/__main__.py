"""Speed and memory against the published procedure and the floor, as tables and a plot.

python -m benchmarks                    # everything: results/benchmarks.json, docs/performance.md, a plot
python -m benchmarks --only steps       # one part; what the file has of the others stays
python -m benchmarks --quick --output /tmp/trial   # does it run: one round each, documents are left alone
python -m benchmarks --only             # nothing is measured: tables and plot from the file
"""

import argparse
import time
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.options import Options
from benchmarks.parts import PARTS, Part
from benchmarks.plots import draw
from benchmarks.results import PartResult, Results
from benchmarks.tables import markdown
from benchmarks.timing import machine
from dualcoop.training.provenance import versions
from experiments.photographs import DEFAULT_ROOT
from experiments.tables import ROOT, fill

PLOT = "![The figures as a plot](images/performance.png)"

console = Console(stderr=True)


def main() -> None:
    """Measure what is asked for and write all that is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks"
    )
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=tuple(PARTS), help="parts to measure")
    parser.add_argument("--quick", action="store_true", help="one round, short; with --output, for trying out")
    parser.add_argument("--data", type=Path, default=DEFAULT_ROOT, help="folder with coco663")
    parser.add_argument("--output", type=Path, help="folder for file, tables and plot instead of results and docs")
    parser.add_argument("--published-minutes", type=float, default=6.0, help="cut the published run after so many")
    options = parser.parse_args()
    if options.quick and options.output is None:
        parser.error("figures of --quick are no results: give --output FOLDER")
    folder = options.output or ROOT / "results"
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(folder / "benchmarks.json")
    for name in options.only:
        part = PARTS[name]
        run = Options(torch.device("cpu"), options.quick, options.data, 60 * options.published_minutes)
        if reason := part.skipped(run):
            console.print(f"{name}: skipped, {reason}")
            continue
        console.print(f"{name}: {part.title}")
        results.put(name, measured(part, run))
    text = markdown({name: part.title for name, part in PARTS.items()}, results)
    print(text)
    if options.output is None:
        fill(ROOT / "docs" / "performance.md", "benchmarks", f"{text}\n\n{PLOT}")
        draw(results, ROOT / "docs" / "images" / "performance.png")
    else:
        (folder / "benchmarks.md").write_text(text + "\n", encoding="utf-8")
        draw(results, folder / "benchmarks.png")


def measured(part: Part, options: Options) -> PartResult:
    """Rows of a part on this processor, and on a GPU where there is one."""
    start = time.perf_counter()
    rows = part.measure(options)
    found = machine(options.device)
    if part.figure is not None:
        column = f"GPU: {part.figure}"
        on_gpu: list[float | None] = [None] * len(rows)
        if torch.cuda.is_available():
            gpu = Options(torch.device("cuda"), options.quick, options.data, options.published_seconds)
            on_gpu = [row[part.figure] for row in part.measure(gpu)]
        rows = [row | {column: value} for row, value in zip(rows, on_gpu, strict=True)]
    return PartResult(rows, found, versions(), options.quick, time.perf_counter() - start)


if __name__ == "__main__":
    main()
