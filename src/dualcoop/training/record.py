"""The record of a run: everything that it takes to judge and repeat it, written beside its result."""

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np

from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask
from dualcoop.data.problems import Problem
from dualcoop.model import DualCoOp
from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.curves import plot_history, write_history
from dualcoop.training.provenance import machine, versions, write_json

RUN_FILE = "run.json"
MASK_FILE = "label_mask.npz"
HISTORY_FILE = "history.csv"
CURVES_FILE = "curves.png"
# Options that may change between the start of a run and its resumption.
FREE_OPTIONS = ("output_dir", "resume", "checkpoint_every")


class RunRecord:
    """Collects what a run is and does, and writes it to the output folder where there is one."""

    def __init__(
        self,
        arguments: TrainingArguments,
        model: DualCoOp,
        train: LabelledImages,
        valid: LabelledImages | None,
        mask: LabelMask | None,
        source: dict[str, Any] | None,
    ) -> None:
        self._folder = arguments.output_dir
        self._model = model
        self._mask = mask
        parts = {"train": train} if valid is None else {"train": train, "valid": valid}
        self._content: dict[str, Any] = {
            "format": "dualcoop run",
            "arguments": arguments.to_dict(),
            "prompts": model.prompts.config.to_dict(),
            "model": {
                "backbone": model.backbone.name,
                "backbone_fingerprint": model.backbone_fingerprint(),
                "aggregation": model.aggregation,
                "image_size": model.image_size,
                "spatial_scale": model.spatial_scale,
                "logit_scale": model.logit_scale,
                "logit_bias": model.logit_bias,
                "classes": list(model.classes),
            },
            "data": {name: _description(data) for name, data in parts.items()},
            "source": source,
            "label_mask": None
            if mask is None
            else {"known_fraction": mask.known_fraction, "seed": mask.seed, "file": MASK_FILE},
            "versions": versions(),
            "machine": machine(),
        }

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed."""
        options = {k: v for k, v in self._content["arguments"].items() if k not in FREE_OPTIONS}
        return {
            "arguments": options,
            **{key: self._content[key] for key in ("prompts", "model", "data")},
        }

    def start(self, problems: Sequence[Problem]) -> None:
        """Write the record and the mask before the first epoch."""
        self._content["started"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._content["left_out"] = [str(problem) for problem in problems]
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._mask is not None:
                self._mask.save(self._folder / MASK_FILE)
            write_json(self._content, self._folder / RUN_FILE)

    def curves(self, history: Sequence[dict[str, Any]]) -> None:
        """Write the history so far as CSV and PNG."""
        if self._folder is not None and history:
            write_history(history, self._folder / HISTORY_FILE)
            plot_history(history, self._folder / CURVES_FILE)

    def finish(
        self, history: Sequence[dict[str, Any]], epoch: int, seconds: float, metrics: dict[str, Any]
    ) -> None:
        """Attach the record to the model, and write it, the curves and the model."""
        self._content |= {
            "chosen_epoch": epoch,
            "seconds": round(seconds, 3),
            "history": list(history),
            "metrics": metrics,
        }
        self._model.training_record = {
            "training": {k: v for k, v in self._content.items() if k not in ("history", "metrics")},
            "metrics": metrics,
        }
        if self._folder is not None:
            self.curves(history)
            write_json(self._content, self._folder / RUN_FILE)
            self._model.save_pretrained(self._folder)


def _description(data: LabelledImages) -> dict[str, Any]:
    return {
        "images": len(data),
        "classes": len(data.classes),
        "known_labels": int(np.count_nonzero(data.labels)),
        "present_labels": int((data.labels > 0).sum()),
        "fingerprint": data.fingerprint(),
    }
