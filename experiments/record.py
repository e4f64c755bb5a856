"""What an experiment writes down beside the model of each run, so that anyone can judge and repeat it."""

import sys
from pathlib import Path
from typing import Any

from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask
from dualcoop.methods.base import Method
from dualcoop.training.provenance import machine, versions, write_json
from dualcoop.training.record import MASK_FILE, RUN_FILE


def write_run(folder: Path, run: dict[str, Any], model: Method, train: LabelledImages, mask: LabelMask | None) -> None:
    """Write a fitted model, the mask of its labels, and run.json.

    Args:
        folder: of the run, made if need be.
        run: what tells it from other runs: data, method, seed, ..., JSON values.
        model: as fitted; its own saved record has the options of its fit.
        train: images that it was fitted on, with the labels it was given.
        mask: that the labels went through.
    """
    model.save_pretrained(folder)
    if mask is not None:
        mask.save(folder / MASK_FILE)
    content = {
        "format": "dualcoop experiment",
        "run": run,
        "command": sys.argv,
        "train_fingerprint": train.fingerprint(),
        "backbone_fingerprint": model.backbone_fingerprint(),
        "label_mask": None if mask is None else MASK_FILE,
        "versions": versions(),
        "machine": machine(),
    }
    write_json(content, folder / RUN_FILE)
