"""Experiment trackers that follow a run, each over the package of its name; nothing leaves the machine by default."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from dualcoop.errors import ConfigError, Option
from dualcoop.training.callbacks import Callback
from dualcoop.training.result import TrainingResult

PROJECT = "dualcoop"


class OpenRun(NamedTuple):
    """A run in a tracker: `log` takes in numbers by name after an epoch, from 1; `close` says that it is over."""

    log: Callable[[dict[str, float], int], Any]
    close: Callable[[], Any]


def _trackio(name: str, folder: Path, config: dict[str, Any]) -> OpenRun:
    import trackio

    run = trackio.init(PROJECT, name=name, config=config)
    return OpenRun(lambda values, epoch: run.log(values, step=epoch), run.finish)


def _tensorboard(name: str, folder: Path, config: dict[str, Any]) -> OpenRun:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder / "tensorboard")
    # Two spaces end a line of Markdown.
    writer.add_text("config", "  \n".join(f"{key}: {value}" for key, value in config.items()))

    def log(values: dict[str, float], epoch: int) -> None:
        for key, value in values.items():
            writer.add_scalar(key, value, epoch)
        writer.flush()

    return OpenRun(log, writer.close)


def _mlflow(name: str, folder: Path, config: dict[str, Any]) -> OpenRun:
    # New versions ask whoever wants files whether they mean it, and count their users, unless told otherwise.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    client = MlflowClient((folder / "mlflow").resolve().as_uri())
    found = client.get_experiment_by_name(PROJECT)
    run = client.create_run(found.experiment_id if found else client.create_experiment(PROJECT), run_name=name)
    for key, value in config.items():
        client.log_param(run.info.run_id, key, value)

    def log(values: dict[str, float], epoch: int) -> None:
        for key, value in values.items():
            client.log_metric(run.info.run_id, key, value, step=epoch)

    return OpenRun(log, lambda: client.set_terminated(run.info.run_id))


def _wandb(name: str, folder: Path, config: dict[str, Any]) -> OpenRun:
    if "WANDB_MODE" not in os.environ:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    mode: Any = os.environ.get("WANDB_MODE", "offline")
    run = wandb.init(project=PROJECT, name=name, dir=folder, config=config, mode=mode, reinit="create_new")
    return OpenRun(lambda values, epoch: run.log(values, step=epoch), run.finish)


TRACKERS = {"trackio": _trackio, "tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
"""Called with the name of a run, its folder and its flat configuration; the keys are packages too."""


class Tracker(Callback):
    """Tells a tracker the numbers of every epoch, and the metrics at the end.

    Args:
        name: of `TRACKERS`.
        folder: of the run, which gets its name from it.
        about: what the run is about: "arguments" and other entries, each a mapping, JSON values.
    """

    def __init__(self, name: str, folder: Path, about: Mapping[str, Any]) -> None:
        rest = {key: value for key, value in about.items() if key != "arguments"}
        self._run = TRACKERS[name](folder.resolve().name, folder, {**about["arguments"], **_flat(rest)})

    def epoch(self, row: dict[str, Any]) -> None:
        """Tell the losses, the validation mAP and the learning rate."""
        self._log({key: value for key, value in row.items() if key not in ("epoch", "seconds")}, row["epoch"])

    def end(self, result: TrainingResult) -> None:
        """Tell the metrics on the validation images, and the epoch that the model is of."""
        report = () if result.validation is None else result.validation.metrics
        # MLflow takes no @ in a name.
        values = {f"validation/{metric.key.replace('@', '_at_')}": metric.value for metric in report}
        self._log({**values, "chosen_epoch": result.epoch}, len(result.history))
        self._run.close()

    def _log(self, values: dict[str, float], epoch: int) -> None:
        self._run.log({key: value for key, value in values.items() if math.isfinite(value)}, epoch)


def check_trackers(names: Sequence[str], folder: Path | None) -> None:
    """Refuse trackers that cannot follow a run.

    Raises:
        ConfigError: when a package is missing, or there is no folder to write to.
    """
    for name in names:
        if find_spec(name) is None:
            remedy = f"install it with `pip install {name}`, or leave it out"
            raise ConfigError(f"names {name}, which is not installed", option="report_to", remedy=remedy)
    if names and folder is None:
        what = f"is {tuple(names)!r}, but there is no folder to write to"
        remedies = ("give ", Option("output_dir"), ", whose name the run is given")
        raise ConfigError(what, option="report_to", remedy=remedies)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names; lists, such as the names of all classes, by their lengths."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = len(value) if isinstance(value, list) else value
    return flat
