"""Writes the tables of results into README.md, docs/results.md and the model card of lite.

python -m experiments.tables --results results
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TITLES = {
    "zero-shot": "zero-shot, no labels",
    "linear": "linear classifier per class",
    "shared": "DualCoOp, shared prompts",
    "class-specific-contexts": "DualCoOp, class-specific contexts alone",
    "class-specific": "DualCoOp, class-specific contexts and residuals",
}
VIEWS = {
    "1": "1, plain: the default",
    "1-int8": "1, plain, kept as int8",
    "2-flip": "2: plain and mirrored",
    "2-crop": "2: plain and a random crop",
    "4-crop": "4: plain and 3 random crops",
    "8-crop": "8: plain and 7 random crops",
    "2": "2: plain, and 1 with Cutout and RandAugment",
    "4": "4: plain, and 3 with Cutout and RandAugment",
    "4-int8": "the same 4, kept as int8",
    "8": "8: plain, and 7 with Cutout and RandAugment",
    "anew": "no cache: Cutout and RandAugment anew in every epoch",
}
PLAIN = "1"
COMMANDS = """Commands, with the photographs' folder as `DATA`:
`python -m experiments.partial_labels --data DATA`, `python -m experiments.zero_shot --data DATA`,
`python -m experiments.tables`."""


def main() -> None:
    """Fill the marked places."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args()
    runs = [json.loads(line) for line in (options.results / "partial_labels.jsonl").read_text().splitlines()]
    partial = partial_label_table(runs)
    unseen = zero_shot_table(json.loads((options.results / "zero_shot.json").read_text())["rows"])
    for path in (ROOT / "README.md", ROOT / "docs" / "results.md"):
        fill(path, "results", f"{partial}\n\n{unseen}\n\n{COMMANDS}")
    views = [json.loads(line) for line in (options.results / "views.jsonl").read_text().splitlines()]
    fill(ROOT / "docs" / "results.md", "views", views_table(views))
    card = ROOT / "src" / "dualcoop" / "backbones" / "assets" / "MODEL_CARD.md"
    fill(card, "measurements", partial)


def partial_label_table(runs: list[dict[str, Any]]) -> str:
    """Mean and range over the seeds, mAP in percent."""
    values: dict[tuple[str, str, float], list[float]] = defaultdict(list)
    for run in runs:
        values[run["data"], run["method"], run["known_fraction"]].append(run["mAP"])
    sets = sorted({run["data"] for run in runs})
    fractions = sorted({run["known_fraction"] for run in runs if run["known_fraction"]})
    head = ["known labels", *(f"{name} {fraction:.0%}" for name in sets for fraction in fractions)]
    lines = [_line(head), _line(["---"] + ["---:"] * (len(head) - 1))]
    for method, title in TITLES.items():
        cells = []
        for name in sets:
            for fraction in fractions:
                found = values.get((name, method, fraction)) or values.get((name, method, 0.0)) or []
                cells.append(spread(found))
        lines.append(_line([title, *cells]))
    return "\n".join(lines)


def zero_shot_table(rows: list[dict[str, Any]]) -> str:
    """P, R and F1 at 3 and mAP, mean and range over the seeds."""
    keys = ("P@3", "R@3", "F1@3", "mAP")
    values: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        values[row["protocol"], row["method"]].append(row)
    lines = [_line(["COCO 48 seen / 17 unseen", *keys]), _line(["---"] + ["---:"] * len(keys))]
    for (protocol, method), found in values.items():
        cells = [spread([row[key] for row in found]) for key in keys]
        lines.append(_line([f"{protocol}, {TITLES[method]}", *cells]))
    return "\n".join(lines)


def views_table(rows: list[dict[str, Any]]) -> str:
    """Validation mAP of each way to make views, what it is beyond one plain view of the same seed, and seconds."""
    head = ["data", "views of each photograph", "seeds", "validation mAP", "beyond one plain view"]
    head += ["ms to encode a view", "s to train"]
    lines = [_line(head), _line(["---", "---"] + ["---:"] * (len(head) - 2))]
    for task in dict.fromkeys(_task(row) for row in rows):
        alike = [row for row in rows if _task(row) == task]
        plain = {row["seed"]: row["valid_mAP"] for row in alike if row["variant"] == PLAIN}
        for variant, title in VIEWS.items():
            found = [row for row in alike if row["variant"] == variant]
            if not found:
                continue
            gains = [row["valid_mAP"] - plain[row["seed"]] for row in found if row["seed"] in plain]
            encoding = [
                1000 * row["encoding_seconds"] / row["encoded_views"] for row in found if row.get("encoded_views")
            ]
            cells = [", ".join(task), title, str(len(found)), spread([row["valid_mAP"] for row in found])]
            cells += ["" if variant == PLAIN else change(gains), f"{mean(encoding):.0f}" if encoding else ""]
            lines.append(_line([*cells, f"{mean(row['training_seconds'] for row in found):.0f}"]))
    return "\n".join(lines)


def _task(row: dict[str, Any]) -> tuple[str, ...]:
    """What runs need to share to be compared: the data, how much of it, epochs, and the share of known labels."""
    task = (row["data"], f"{row['images']:,} images", f"{row['epochs']} epochs")
    return task if row["known_fraction"] == 1 else (*task, f"{row['known_fraction']:.0%} known")


def change(values: list[float]) -> str:
    """Mean change, and the range where there are several seeds."""
    if not values:
        return "-"
    # A zero has no sign of its own.
    middle, low, high = (f"{round(value, 1) + 0.0:+.1f}" for value in (mean(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def spread(values: list[float]) -> str:
    """Mean, and the range where there are several seeds."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{mean(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def fill(path: Path, marker: str, content: str) -> None:
    """Replace what stands between `<!-- marker:begin -->` and `<!-- marker:end -->`."""
    begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{content}\n{end}{after}")


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
