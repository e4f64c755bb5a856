"""The record of a run: everything that it takes to judge and repeat it, written beside its result."""

import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask
from dualcoop.data.problems import Problem
from dualcoop.errors import ConfigError
from dualcoop.network import DualCoOpNetwork
from dualcoop.saving.config import plain
from dualcoop.saving.folder import save_model
from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.callbacks import Callback
from dualcoop.training.provenance import machine, versions, write_json
from dualcoop.training.result import TrainingResult

RUN_FILE = "run.json"
MASK_FILE = "label_mask.npz"
# Options that may change between the start of a run and its resumption.
FREE_OPTIONS = ("output_dir", "resume", "checkpoint_every", "strict", "cache_dir", "cache_size", "report_to")
# A model is shared more widely than its folder: paths and command lines of the machine that trained it stay
# in run.json, and what the saved model says elsewhere is not said twice.
SAVED_WITH_MODEL = ("arguments", "data", "label_mask", "versions", "machine", "started", "chosen_epoch", "seconds")
LOCAL_OPTIONS = ("output_dir", "resume", "cache_dir", "cache_size", "report_to")


class RunRecord(Callback):
    """Collects what a run is and does, and writes it to the output folder where there is one.

    Raises:
        ModelError: when `source` holds something that cannot be written as JSON.
    """

    def __init__(
        self,
        arguments: TrainingArguments,
        model: DualCoOpNetwork,
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
            "source": plain(source, "source"),
            "label_mask": None if mask is None else _mask_description(mask),
            "versions": versions(),
            "machine": machine() | {"command": sys.argv},
        }

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed, JSON values."""
        options = {k: v for k, v in self._content["arguments"].items() if k not in FREE_OPTIONS}
        return plain({"arguments": options, **{key: self._content[key] for key in ("prompts", "model", "data")}})

    def start(self, epoch: int) -> None:
        """Write the record and the mask before anything is computed; an interrupted run has done `epoch` epochs.

        Raises:
            ConfigError: when the output folder cannot be made.
        """
        self._content["started"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._content["resumed_after_epoch"] = epoch or None
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._mask is not None:
                self._mask.save(self._folder / MASK_FILE)
            self._write()
        except OSError as error:
            what = f"is {self._folder}, where nothing can be written ({error.strerror or error})"
            raise ConfigError(what, option="output_dir", remedy="give another folder") from error

    def leave_out(self, problems: Sequence[Problem]) -> None:
        """Note images that cannot be read."""
        self._content["left_out"] = [str(problem) for problem in problems]
        self._write()

    def end(self, result: TrainingResult) -> None:
        """Attach the record to the model, and write both."""
        metrics = {} if result.validation is None else {"validation": result.validation.to_dict()}
        self._content |= {
            "chosen_epoch": result.epoch,
            "seconds": round(result.seconds, 3),
            "history": list(result.history),
            "metrics": metrics,
        }
        self._model.training_record = plain({"training": self._public(), "metrics": metrics})
        self._write()
        if self._folder is not None:
            save_model(self._model, self._folder)

    def _public(self) -> dict[str, Any]:
        content = {key: self._content[key] for key in SAVED_WITH_MODEL}
        arguments = content["arguments"]
        content["arguments"] = {k: v for k, v in arguments.items() if k not in LOCAL_OPTIONS}
        content["machine"] = {k: v for k, v in content["machine"].items() if k != "command"}
        content["images_left_out"] = len(self._content.get("left_out", ()))
        return content

    def _write(self) -> None:
        if self._folder is not None:
            write_json(plain(self._content, "run"), self._folder / RUN_FILE)


def _description(data: LabelledImages) -> dict[str, Any]:
    return {
        "images": len(data),
        "classes": len(data.classes),
        "known_labels": int(data.known.sum()),
        "present_labels": int(data.positives.sum()),
        "fingerprint": data.fingerprint(),
    }


def _mask_description(mask: LabelMask) -> dict[str, Any]:
    return {
        "known_fraction": mask.known_fraction,
        "seed": mask.seed,
        "data_fingerprint": mask.fingerprint,
        "file": MASK_FILE,
    }
