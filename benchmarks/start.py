"""Commands from the start of their process to its end, beside the import of torch."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.options import Options, Row
from benchmarks.timing import Candidate, paired
from dualcoop import DualCoOp
from dualcoop.demo.content import FOLDER

WORDS = ("dog", "beach", "surfboard")
ROUNDS = 9
BUDGET = 300.0
TORCH = "import torch"


def measure(options: Options) -> list[Row]:
    """Seconds of whole processes with a warm disk; those that tag take one photograph."""
    photograph = str(sorted(FOLDER.glob("*.jpg"))[0])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "words.onnx"
        DualCoOp.zero_shot("lite", WORDS).export_onnx(file)
        commands = {
            TORCH: ("-c", "import torch"),
            "dualcoop --help": ("-m", "dualcoop", "--help"),
            "dualcoop tag, words, lite": ("-m", "dualcoop", "tag", photograph, "--labels", ",".join(WORDS)),
            "dualcoop tag, exported file": ("-m", "dualcoop", "tag", photograph, "--model", str(file)),
        }
        candidates = {name: _process(arguments) for name, arguments in commands.items()}
        rounds = 1 if options.quick else ROUNDS
        found = paired(candidates, rounds=rounds, budget=options.seconds(BUDGET))
    rows: list[Row] = []
    for name in candidates:
        totals = [sample.total for sample in found.samples[name]]
        rows.append(
            {
                "process": name,
                "s": found.seconds(name),
                "lowest": min(totals),
                "highest": max(totals),
                f"share of {TORCH}": found.ratio(name, TORCH),
                "rounds": found.rounds,
            }
        )
    return rows


def _process(arguments: Sequence[str]) -> Candidate:
    def run() -> dict[str, float]:
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return {}

    return run
