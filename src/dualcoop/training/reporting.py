"""Experiment trackers that follow a run, each over the package of its name; nothing leaves the machine by default."""

import math
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dualcoop.errors import ConfigError, Option
from dualcoop.training.callbacks import Callback
from dualcoop.training.result import TrainingResult

PROJECT = "dualcoop"


class Tracker(Callback):
    """Tells a tracker the numbers of every epoch, and the metrics at the end.

    Args:
        name: of the run.
        folder: of the run, for what the tracker writes.
        config: options of the run and what it is about, no value nested in another.
    """

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def log(self, values: dict[str, float], epoch: int) -> None:
        """Take in finite numbers after an epoch, from 1."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing more will come."""
        raise NotImplementedError

    def epoch(self, row: dict[str, Any]) -> None:
        """Tell the losses, the validation mAP and the learning rate."""
        values = {key: value for key, value in row.items() if key not in ("epoch", "seconds")}
        self.log(_finite(values), row["epoch"])

    def end(self, result: TrainingResult) -> None:
        """Tell the metrics on the validation images, and the epoch that the model is of."""
        report = () if result.validation is None else result.validation.metrics
        # MLflow takes no @ in a name.
        values = {f"validation/{metric.key.replace('@', '_at_')}": metric.value for metric in report}
        self.log(_finite({**values, "chosen_epoch": result.epoch}), len(result.history))
        self.close()


class Trackio(Tracker):
    """Into trackio's local database, which `trackio show` displays; TRACKIO_SPACE_ID and the like are heeded."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        import trackio

        self._run = trackio.init(PROJECT, name=name, config=dict(config))

    def log(self, values: dict[str, float], epoch: int) -> None:
        """Take in numbers."""
        self._run.log(values, step=epoch)

    def close(self) -> None:
        """Write all."""
        self._run.finish()


class TensorBoard(Tracker):
    """Into event files, for `tensorboard --logdir`."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder / "tensorboard")
        # Two spaces end a line of Markdown.
        self._writer.add_text("config", "  \n".join(f"{key}: {value}" for key, value in config.items()))

    def log(self, values: dict[str, float], epoch: int) -> None:
        """Take in numbers."""
        for key, value in values.items():
            self._writer.add_scalar(key, value, epoch)
        self._writer.flush()

    def close(self) -> None:
        """Write all."""
        self._writer.close()


class MLflow(Tracker):
    """Into a folder of files, for `mlflow ui --backend-store-uri`, without a server."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        # New versions ask whoever wants files, and count their users, unless told otherwise.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        self._client = MlflowClient((folder / "mlflow").resolve().as_uri())
        found = self._client.get_experiment_by_name(PROJECT)
        experiment = found.experiment_id if found else self._client.create_experiment(PROJECT)
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        for key, value in config.items():
            self._client.log_param(self._run, key, value)

    def log(self, values: dict[str, float], epoch: int) -> None:
        """Take in numbers."""
        for key, value in values.items():
            self._client.log_metric(self._run, key, value, step=epoch)

    def close(self) -> None:
        """Say that the run is over."""
        self._client.set_terminated(self._run)


class WandB(Tracker):
    """Into a folder that `wandb sync` takes; at once to the service where WANDB_MODE says so."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        if "WANDB_MODE" not in os.environ:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=PROJECT, name=name, dir=folder, config=dict(config), mode=mode, reinit="create_new"
        )

    def log(self, values: dict[str, float], epoch: int) -> None:
        """Take in numbers."""
        self._run.log(values, step=epoch)

    def close(self) -> None:
        """Write all."""
        self._run.finish()


TRACKERS: dict[str, type[Tracker]] = {
    "trackio": Trackio,
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}
"""By their name in `TrainingArguments.report_to`, which is that of the package too."""


def check_trackers(names: Sequence[str], folder: Path | None) -> None:
    """Refuse trackers that cannot follow a run.

    Raises:
        ConfigError: when a package is missing, or there is no folder to write to.
    """
    for name in names:
        if find_spec(name) is None:
            raise ConfigError(
                f"names {name}, which is not installed",
                option="report_to",
                remedy=f"install it with `pip install {name}`, or leave it out",
            )
    if names and folder is None:
        raise ConfigError(
            f"is {tuple(names)!r}, but there is no folder to write to",
            option="report_to",
            remedy=("give ", Option("output_dir"), ", whose name the run is given"),
        )


def make_trackers(names: Sequence[str], folder: Path, about: Mapping[str, Any]) -> list[Tracker]:
    """Trackers of a run, told what it is about.

    Args:
        names: of `TRACKERS`.
        folder: of the run, which gets its name from it.
        about: "arguments" and other entries, each a mapping, JSON values.
    """
    options, rest = about["arguments"], {key: value for key, value in about.items() if key != "arguments"}
    return [TRACKERS[name](folder.resolve().name, folder, {**options, **_flat(rest)}) for name in names]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names; lists, such as the names of all classes, by their lengths."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = len(value) if isinstance(value, list) else value
    return flat


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if math.isfinite(value)}
