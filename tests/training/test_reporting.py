"""What experiment trackers really write, read back with their own readers; all of it stays on the machine."""

import importlib.util
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from coloured import CLASSES, make_model
from dualcoop import Trainer
from dualcoop.errors import ConfigError
from dualcoop.evaluation import evaluate
from dualcoop.training import TrainingArguments, TrainingResult
from dualcoop.training.reporting import TRACKERS, Tracker, check_trackers

ABOUT = {
    "arguments": {"epochs": 2, "batch_size": None, "loss": "asymmetric", "seed": 0},
    "model": {"backbone": "tiny", "classes": ["red", "green", "blue"]},
    "data": {"train": {"images": 14}},
}
CONFIG = {"epochs": 2, "loss": "asymmetric", "seed": 0, "model.backbone": "tiny", "model.classes": 3}
CONFIG["data.train.images"] = 14
ROWS = [
    {"epoch": 1, "learning_rate": 0.25, "loss": 0.75, "seconds": 0.1, "valid_loss": 0.5, "valid_map": math.nan},
    {"epoch": 2, "learning_rate": 0.125, "loss": 0.5, "seconds": 0.1, "valid_loss": 0.25, "valid_map": 62.5},
]
CURVES = {
    "learning_rate": {1: 0.25, 2: 0.125},
    "loss": {1: 0.75, 2: 0.5},
    "valid_loss": {1: 0.5, 2: 0.25},
    # Undefined at first, which is no number to draw.
    "valid_map": {2: 62.5},
}


@pytest.fixture
def report():
    return evaluate(np.array([[0.9, 0.2, 0.4]]), np.array([[1, -1, 1]]), CLASSES)


@pytest.fixture
def tracked(tmp_path, report, monkeypatch):
    """Follows a run of two epochs with one tracker; its folder."""

    def follow(name):
        needed = {"mlflow": "mlflow-skinny"}.get(name, name)
        pytest.importorskip(name, reason=f"pip install {needed}, to see what it writes")
        monkeypatch.delenv("WANDB_MODE", raising=False)
        folder = tmp_path / "sunset"
        folder.mkdir()
        tracker = Tracker(name, folder, ABOUT)
        for row in ROWS:
            tracker.epoch(row)
        tracker.end(TrainingResult(tuple(ROWS), 2, 1.0, validation=report))
        return folder

    return follow


def assert_final(values, report):
    """The metrics of the report, all that are defined, and the chosen epoch."""
    expected = {
        f"validation/{metric.key.replace('@', '_at_')}": metric.value
        for metric in report.metrics
        if math.isfinite(metric.value)
    }
    assert {"validation/mAP", "validation/P_at_3"} <= set(expected)
    assert {key: values[key] for key in expected} == pytest.approx(expected)
    assert values["chosen_epoch"] == 2


def test_tensorboard_gets_event_files(tracked, report):
    folder = tracked("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    found = {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    assert {tag: found[tag] for tag in CURVES} == CURVES
    assert_final({tag: values[2] for tag, values in found.items()}, report)
    (config,) = events.Tensors("config/text_summary")
    text = config.tensor_proto.string_val[0].decode()
    assert set(text.split("  \n")) == {f"{key}: {value}" for key, value in (CONFIG | {"batch_size": None}).items()}


def test_mlflow_gets_a_store_of_files(tracked, report):
    folder = tracked("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient((folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("dualcoop")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("sunset", "FINISHED")
    assert run.data.params == {key: str(value) for key, value in (CONFIG | {"batch_size": None}).items()}
    for key, values in CURVES.items():
        assert {m.step: m.value for m in client.get_metric_history(run.info.run_id, key)} == values
    assert_final(run.data.metrics, report)


def test_mlflow_keeps_runs_of_one_folder_apart(tracked, tmp_path):
    folder = tracked("mlflow")
    from mlflow import MlflowClient

    Tracker("mlflow", folder, ABOUT)
    client = MlflowClient((folder / "mlflow").as_uri())
    (experiment,) = (each for each in client.search_experiments() if each.name == "dualcoop")
    assert len(client.search_runs([experiment.experiment_id])) == 2


def wandb_records(path):
    """Records of a .wandb file: LevelDB's log format, in blocks of 32 KiB, under a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts, records = path.read_bytes(), 7, b"", []
    while place + 7 <= len(data):
        room = 32768 - place % 32768
        if room < 7:
            place += room
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        # Whole, or the last part of several.
        if kind in (1, 4):
            records.append(Record.FromString(parts))
            parts = b""
    return records


def test_wandb_gets_a_run_that_waits_to_be_synchronised(tracked, report):
    folder = tracked("wandb")
    import wandb

    # The process that writes ends, so that all is on the disk.
    wandb.teardown()
    (path,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    records = wandb_records(path)
    (run,) = (record.run for record in records if record.HasField("run"))
    assert (run.project, run.display_name) == ("dualcoop", "sunset")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {key: config[key] for key in CONFIG} == CONFIG
    curves, last = {}, {}
    for record in records:
        if record.HasField("history"):
            items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            last |= items
            for key in CURVES.keys() & items.keys():
                curves.setdefault(key, {})[items["_step"]] = items[key]
    assert curves == CURVES
    assert_final(last, report)


def test_wandb_is_offline_unless_the_user_says_otherwise(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="pip install wandb, to see what it writes")
    modes = []

    def init(**options):
        modes.append(options["mode"])
        return SimpleNamespace(finish=None)

    monkeypatch.setattr(wandb, "init", init)
    for mode in (None, "online"):
        monkeypatch.delenv("WANDB_MODE", raising=False)
        if mode:
            monkeypatch.setenv("WANDB_MODE", mode)
        Tracker("wandb", tmp_path, ABOUT)
    assert modes == ["offline", "online"]


def test_trackio_gets_a_local_database(tracked, report, tmp_path, monkeypatch):
    for module in ("trackio.sqlite_storage", "trackio.utils"):
        if importlib.util.find_spec("trackio"):
            monkeypatch.setattr(f"{module}.TRACKIO_DIR", tmp_path / "trackio")
    tracked("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    assert SQLiteStorage.get_runs("dualcoop") == ["sunset"]
    config = SQLiteStorage.get_run_config("dualcoop", "sunset")
    assert {key: config[key] for key in CONFIG} == CONFIG
    logs = SQLiteStorage.get_logs("dualcoop", "sunset")
    found = {key: {log["step"]: log[key] for log in logs if key in log} for key in CURVES}
    assert found == CURVES
    assert_final(logs[-1], report)


# Runs


def test_a_run_is_followed_by_the_trackers_that_it_names(train_data, valid_data, tmp_path):
    pytest.importorskip("tensorboard", reason="pip install tensorboard, to see what it writes")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    arguments = TrainingArguments(epochs=3, output_dir=tmp_path / "run", report_to=("tensorboard",))
    result = Trainer(make_model(), arguments, train=train_data, valid=valid_data).train()
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    losses = [event.value for event in events.Scalars("loss")]
    assert losses == pytest.approx([row["loss"] for row in result.history])
    assert events.Scalars("validation/mAP")[0].value == pytest.approx(result.validation["mAP"])
    (config,) = events.Tensors("config/text_summary")
    text = config.tensor_proto.string_val[0].decode().split("  \n")
    assert {"epochs: 3", "model.backbone: tiny", "data.valid.images: 10", "model.classes: 3"} <= set(text)


def test_all_trackers_that_can_be_named_are_there():
    assert TrainingArguments(report_to=tuple(TRACKERS)).report_to == ("trackio", "tensorboard", "mlflow", "wandb")


def test_a_missing_package_is_named_before_anything_is_computed(train_data, tmp_path, monkeypatch):
    monkeypatch.setattr("dualcoop.training.reporting.find_spec", lambda name: None)
    arguments = TrainingArguments(output_dir=tmp_path / "run", report_to=("mlflow",))
    with pytest.raises(ConfigError, match=r"report_to names mlflow, .*`pip install mlflow`") as error:
        Trainer(make_model(), arguments, train=train_data)
    assert error.value.message.option == "report_to"
    assert not (tmp_path / "run").exists()


def test_trackers_need_a_folder():
    with pytest.raises(ConfigError, match=r"report_to .* there is no folder to write to. Give output_dir"):
        check_trackers(["tensorboard"], None)
    check_trackers([], None)
