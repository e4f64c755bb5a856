"""Whole runs on a small problem: what learns, what is chosen, what is written down."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from coloured import CLASSES, make_model, with_unreadable
from dualcoop import DualCoOp, PromptConfig, Trainer
from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import partial_label_mask
from dualcoop.errors import ConfigError, DataError, ModelError
from dualcoop.evaluation import class_thresholds, mean_average_precision
from dualcoop.features import encode_images_once, store
from dualcoop.features.scoring import region_scores
from dualcoop.prompts import prompts_from_dict
from dualcoop.training import Callback, TrainingArguments, validation
from dualcoop.training.class_prior import class_log_odds
from tiny import TinyBackbone
from tolerances import assert_agree


def contexts_of(model):
    return {name: value.detach().clone() for name, value in model.prompts.named_parameters()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


class Listener(Callback):
    """A callback that keeps what it hears, and the contexts after each epoch."""

    def __init__(self, model):
        self.model = model
        self.encoded = []
        self.rows = []
        self.contexts = []
        self.results = []

    def encoding(self, done, total):
        self.encoded.append((done, total))

    def epoch(self, row):
        self.rows.append(row)
        self.contexts.append(contexts_of(self.model))

    def end(self, result):
        self.results.append(result)


def quick(**options):
    return TrainingArguments(**{"epochs": 3, "batch_size": 5, **options})


@pytest.fixture
def image_calls(monkeypatch):
    """Numbers of images that went through any tiny image tower."""
    calls = []
    encode = TinyBackbone.encode_regions

    def counted(self, images, **options):
        calls.append(len(images))
        return encode(self, images, **options)

    monkeypatch.setattr(TinyBackbone, "encode_regions", counted)
    return calls


# What learns


@pytest.mark.parametrize("options", [{}, {"views": 0, "augmentation": "published"}, {"optimizer": "sgd"}])
def test_contexts_change_and_nothing_else_does(train_data, valid_data, options):
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []

    class Watcher(Listener):
        def epoch(self, row):
            seen.append({name for name, value in model.named_parameters() if value.grad is not None})

    Trainer(
        model, quick(fit_thresholds=False, **options), train=train_data, valid=valid_data, callbacks=[Watcher(model)]
    ).train()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"prompts.positive_context", "prompts.negative_context"}
    assert "backbone.image_norm.running_mean" in before
    assert seen == [{"prompts.positive_context", "prompts.negative_context"}] * 3
    assert all(value.grad is None for value in model.parameters())
    assert not any(value.requires_grad for value in model.backbone.parameters())


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 0.005},
        {"learning_rate": 0.001, "optimizer": "sgd"},
        {"learning_rate": 0.005, "precision": "bfloat16"},
    ],
)
def test_a_run_learns_what_can_be_learned(train_data, valid_data, options):
    model = make_model(logit_scale=20)
    before = mean_average_precision(model.predict_proba(valid_data.paths), valid_data.labels)
    result = Trainer(model, quick(epochs=25, batch_size=7, **options), train=train_data).train()
    after = mean_average_precision(model.predict_proba(valid_data.paths), valid_data.labels)
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]
    fitted = mean_average_precision(model.predict_proba(train_data.paths), train_data.labels)
    assert fitted > 95
    assert after > before + 30


def test_the_prior_of_each_class_takes_the_place_of_a_constant_bias(train_data):
    model, constant = make_model(logit_bias=-4.0), make_model(logit_bias=-4.0)
    Trainer(model, quick(), train=train_data).train()
    expected = torch.from_numpy(class_log_odds(train_data.labels)).float()
    assert_agree(model.class_bias + model.logit_bias, expected, terms=2, scale=4.0)
    Trainer(constant, quick(class_prior=False), train=train_data).train()
    assert not constant.class_bias.any()


@pytest.mark.parametrize(
    "prompts",
    [
        PromptConfig(mode="positive"),
        PromptConfig(mode="negative"),
        PromptConfig(class_specific=False),
        PromptConfig(positive_tokens=6, negative_tokens=8),
    ],
)
@pytest.mark.parametrize("aggregation", ["softmax", "average", "maximum", "attention"])
def test_every_ablation_trains(train_data, prompts, aggregation):
    model = make_model(prompts=prompts, aggregation=aggregation)
    before = contexts_of(model)
    result = Trainer(model, quick(epochs=2, anchor=1.0), train=train_data).train()
    assert all(np.isfinite(row["loss"]) for row in result.history)
    assert not any(torch.equal(value, before[name]) for name, value in contexts_of(model).items())


def test_a_run_depends_on_its_seed_alone(train_data):
    def train(seed):
        model = make_model()
        Trainer(model, quick(views=2, augmentation="flip", class_sample=2, seed=seed), train=train_data).train()
        return contexts_of(model)

    first = train(0)
    torch.manual_seed(1234)
    np.random.default_rng(3).random()
    assert same(train(0), first)
    assert not same(train(1), first)


def test_no_epochs_leave_the_contexts_and_fit_thresholds(train_data, valid_data, tmp_path):
    model = make_model()
    before = contexts_of(model)
    arguments = quick(epochs=0, output_dir=tmp_path / "out")
    result = Trainer(model, arguments, train=train_data, valid=valid_data).train()
    assert (result.epoch, result.history) == (0, ())
    assert same(contexts_of(model), before)
    assert not (model.thresholds == 0.5).all()
    assert DualCoOp.from_pretrained(tmp_path / "out", backbone=TinyBackbone()).classes == CLASSES


# Images


@pytest.mark.parametrize(
    ("options", "encoded"),
    [
        ({}, 14 + 10),
        ({"views": 2, "augmentation": "flip"}, 2 * 14 + 10),
        ({"views": 4, "augmentation": "published"}, 4 * 14 + 10),
        ({"views": 0, "augmentation": "published"}, 3 * 14 + 10),
    ],
)
def test_frozen_images_are_encoded_once_a_run_unless_asked_for_more(
    train_data, valid_data, image_calls, options, encoded
):
    Trainer(make_model(), quick(**options), train=train_data, valid=valid_data).train()
    assert sum(image_calls) == encoded


def test_features_at_hand_are_not_encoded_again_and_give_the_same_run(train_data, valid_data, image_calls):
    model = make_model()
    expected = Trainer(model, quick(), train=train_data, valid=valid_data).train()
    other = make_model()
    parts = {
        "train_features": encode_images_once(other, train_data, views=3, augmentation="published"),
        "valid_features": encode_images_once(other, valid_data),
    }
    image_calls.clear()
    result = Trainer(other, quick(), train=train_data, valid=valid_data, **parts).train()
    assert image_calls == []
    assert same(contexts_of(other), contexts_of(model))
    assert [row["loss"] for row in result.history] == [row["loss"] for row in expected.history]


def test_features_in_a_file_give_the_same_run_and_leave_no_file(train_data, tmp_path, monkeypatch):
    model = make_model()
    Trainer(model, quick(), train=train_data).train()
    monkeypatch.setattr(store, "MEMORY_BYTES", 10)
    other = make_model()
    Trainer(other, quick(output_dir=tmp_path), train=train_data).train()
    assert same(contexts_of(other), contexts_of(model))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "checkpoint.safetensors",
        "config.json",
        "curves.png",
        "history.csv",
        "model.safetensors",
        "run.json",
        "text_features.safetensors",
    ]


@pytest.mark.parametrize("options", [{}, {"views": 0, "augmentation": "flip"}])
def test_unreadable_images_are_left_out_and_reported(train_data, valid_data, tmp_path, options):
    train = with_unreadable(train_data, tmp_path / "broken", 2, 9)
    valid = with_unreadable(valid_data, tmp_path / "broken", 4)
    model = make_model()
    arguments = quick(output_dir=tmp_path / "out", **options)
    result = Trainer(model, arguments, train=train, valid=valid).train()
    broken = [str(tmp_path / "broken" / f"broken-{index}.png") for index in (2, 9, 4)]
    assert [problem.path for problem in result.problems] == broken
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [line.split(": ")[0] for line in run["left_out"]] == broken
    saved = [(tmp_path / "out" / name).read_text() for name in ("config.json", "README.md")]
    assert "broken-4.png" in saved[0]
    assert not any(str(tmp_path) in text for text in saved)
    rest = make_model()
    readable = train.subset([index for index in range(14) if index not in (2, 9)])
    Trainer(rest, quick(**options), train=readable).train()
    assert same(contexts_of(model), contexts_of(rest))


@pytest.mark.parametrize("options", [{}, {"views": 0, "augmentation": "flip"}])
@pytest.mark.parametrize("part", ["train", "valid"])
def test_strict_runs_stop_at_an_unreadable_image(train_data, valid_data, tmp_path, options, part):
    data = {"train": train_data, "valid": valid_data}
    data[part] = with_unreadable(data[part], tmp_path, 3)
    with pytest.raises(DataError, match="broken-3"):
        Trainer(make_model(), quick(strict=True, **options), **data).train()


@pytest.mark.parametrize("options", [{}, {"views": 0}])
def test_no_readable_image_is_an_error_that_names_one(train_data, tmp_path, options):
    data = with_unreadable(train_data, tmp_path, *range(14))
    with pytest.raises(DataError, match=r"none of the 14 images can be read, such as .*broken-0.png"):
        Trainer(make_model(), quick(**options), train=data).train()


def test_readable_images_without_a_positive_are_an_error(train_data, tmp_path):
    labels = -np.ones_like(train_data.labels)
    labels[3] = 1
    data = with_unreadable(train_data.with_labels(labels), tmp_path, 3)
    with pytest.raises(DataError, match="there are 13 training images, and no label"):
        Trainer(make_model(), quick(), train=data).train()


# Validation


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"select": "last"}, (3, 3)),
        ({"select": "best"}, (2, 3)),
        ({"select": "best", "patience": 1}, (2, 3)),
        ({"select": "best", "patience": 1, "epochs": 6}, (2, 3)),
        ({"select": "best", "patience": 2, "epochs": 6}, (5, 6)),
    ],
)
def test_the_epoch_is_chosen_by_validation_map(train_data, valid_data, monkeypatch, options, expected):
    judged = []
    values = iter([10.0, 30.0, 20.0, 30.0 - 1e-9, 40.0, 5.0])

    def told(scores, labels):
        judged.append(labels)
        return next(values)

    monkeypatch.setattr(validation, "mean_average_precision", told)
    model = make_model()
    listener = Listener(model)
    patience_runs_out = options.get("patience") == 2
    if patience_runs_out:
        values = iter([10.0, 30.0, 20.0, 31.0, 40.0, 5.0])
    result = Trainer(model, quick(**options), train=train_data, valid=valid_data, callbacks=[listener]).train()
    assert (result.epoch, len(result.history)) == expected
    assert same(contexts_of(model), listener.contexts[result.epoch - 1])
    assert not same(contexts_of(model), listener.contexts[0])
    # Nothing but the validation labels was ever judged.
    assert all((labels == valid_data.labels).all() for labels in judged)


def test_validation_has_no_part_in_what_is_learned(train_data, valid_data):
    alone, watched = make_model(), make_model()
    Trainer(alone, quick(), train=train_data).train()
    Trainer(watched, quick(), train=train_data, valid=valid_data).train()
    assert same(contexts_of(alone), contexts_of(watched))


def test_thresholds_are_fitted_to_the_chosen_contexts(train_data, valid_data):
    model = make_model()
    Trainer(model, quick(select="best"), train=train_data, valid=valid_data).train()
    scores = region_scores(model, encode_images_once(model, valid_data))
    expected = torch.from_numpy(class_thresholds(scores, valid_data.labels)).float()
    assert_agree(model.thresholds, expected, terms=1)


@pytest.mark.parametrize(("options", "validated"), [({"fit_thresholds": False}, True), ({}, False)])
def test_thresholds_stay_without_leave_or_images_to_fit_them(train_data, valid_data, options, validated):
    model = make_model()
    Trainer(model, quick(**options), train=train_data, valid=valid_data if validated else None).train()
    assert (model.thresholds == 0.5).all()


def test_validation_text_features_are_computed_once_an_epoch(train_data, valid_data, monkeypatch):
    monkeypatch.setattr("dualcoop.features.scoring.SCORE_BATCH", 2)
    model = make_model()
    calls = []
    encode = model.backbone.encode_prompts
    monkeypatch.setattr(
        model.backbone,
        "encode_prompts",
        lambda *inputs: calls.append(torch.is_grad_enabled()) or encode(*inputs),
    )
    Trainer(model, quick(anchor=0.0), train=train_data, valid=valid_data).train()
    # Three steps an epoch with two prompts each; after the last epoch the report finds them still at hand.
    assert calls.count(True) == 3 * 3 * 2
    assert calls.count(False) == 3 * 2


def test_evaluate_agrees_with_the_model_and_names_what_it_left_out(train_data, valid_data, tmp_path):
    model = make_model()
    trainer = Trainer(model, quick(), train=train_data)
    trainer.train()
    model.set_thresholds(0.3)
    report = trainer.evaluate(valid_data)
    scores = region_scores(model, encode_images_once(model, valid_data))
    assert report["mAP"] == pytest.approx(mean_average_precision(scores, valid_data.labels))
    assert report.images == 10
    data = with_unreadable(valid_data, tmp_path, 5)
    partial = trainer.evaluate(data)
    assert partial.images == 9
    assert "broken-5.png" in partial.notes[0]
    strict = Trainer(model, quick(strict=True), train=train_data)
    with pytest.raises(DataError, match="broken-5"):
        strict.evaluate(data)
    with pytest.raises(ModelError, match="not the model's"):
        trainer.evaluate(replace(valid_data, classes=("a", "b", "c")))


def test_evaluating_nothing_is_an_error(train_data):
    with pytest.raises(DataError, match="none of the 0 images"):
        Trainer(make_model(), train=train_data).evaluate(train_data.subset([]))


# What is heard and written


def test_callbacks_hear_of_encoding_of_every_epoch_and_of_the_end(train_data, valid_data):
    model = make_model()
    listener = Listener(model)
    result = Trainer(model, quick(), train=train_data, valid=valid_data, callbacks=[listener]).train()
    assert listener.encoded == [(14, 14), (10, 10)]
    assert tuple(listener.rows) == result.history
    assert listener.results == [result]
    assert result.validation.images == 10
    assert [row["epoch"] for row in result.history] == [1, 2, 3]
    assert result.seconds >= sum(row["seconds"] for row in result.history)


def test_history_and_curves_are_written(train_data, valid_data, tmp_path):
    arguments = quick(output_dir=tmp_path)
    result = Trainer(make_model(), arguments, train=train_data, valid=valid_data).train()
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "learning_rate", "loss", "seconds", "valid_loss", "valid_map"]
    assert [float(row["loss"]) for row in rows] == pytest.approx([row["loss"] for row in result.history])
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"


def test_a_run_is_repeated_from_its_record(valid_data, tmp_path):
    mask = partial_label_mask(valid_data, 0.8, seed=3)
    model = make_model(prompts=PromptConfig(class_specific=False, seed=5), logit_bias=-1.0)
    arguments = quick(output_dir=tmp_path / "first", seed=8, views=2, augmentation="flip", anchor=0.5)
    Trainer(model, arguments, train=mask.apply(valid_data), mask=mask, source={"from": "test"}).train()

    run = json.loads((tmp_path / "first" / "run.json").read_text())
    assert run["source"] == {"from": "test"}
    described = run["label_mask"]
    again_mask = partial_label_mask(valid_data, described["known_fraction"], described["seed"])
    data = again_mask.apply(valid_data)
    assert data.fingerprint() == run["data"]["train"]["fingerprint"]
    again = DualCoOp(
        TinyBackbone(),
        run["model"]["classes"],
        prompts_from_dict(run["prompts"]),
        aggregation=run["model"]["aggregation"],
        image_size=run["model"]["image_size"],
        logit_bias=run["model"]["logit_bias"],
    )
    assert again.backbone_fingerprint() == run["model"]["backbone_fingerprint"]
    repeated = replace(TrainingArguments.from_dict(run["arguments"]), output_dir=tmp_path / "second")
    result = Trainer(again, repeated, train=data).train()
    assert same(contexts_of(again), contexts_of(model))
    assert [row["loss"] for row in result.history] == [row["loss"] for row in run["history"]]


def test_the_saved_model_carries_contexts_thresholds_record_and_metrics(train_data, valid_data, tmp_path):
    model = make_model()
    Trainer(model, quick(output_dir=tmp_path), train=train_data, valid=valid_data).train()
    loaded = DualCoOp.from_pretrained(tmp_path, backbone=TinyBackbone())
    assert same(contexts_of(loaded), contexts_of(model))
    assert torch.equal(loaded.thresholds, model.thresholds)
    record = loaded.training_record
    assert record["training"]["arguments"]["epochs"] == 3
    assert record["training"]["data"]["valid"]["fingerprint"] == valid_data.fingerprint()
    assert record["training"]["chosen_epoch"] == 3
    metrics = record["metrics"]["validation"]
    assert metrics["images"] == 10
    assert "fitted to these same images" in metrics["metrics"]["CF1"]["protocol"]
    assert "Measurements" in (tmp_path / "README.md").read_text()


def test_without_a_folder_nothing_is_written(train_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Trainer(make_model(), quick(), train=train_data).train()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_stops_the_run_before_any_encoding(train_data, tmp_path, image_calls):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="where nothing can be written"):
            Trainer(make_model(), quick(output_dir=folder), train=train_data).train()
    assert image_calls == []


def test_an_interrupted_run_leaves_a_clean_model(train_data):
    model = make_model()

    class Stop(Listener):
        def epoch(self, row):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(model, quick(), train=train_data, callbacks=[Stop(model)]).train()
    assert all(value.grad is None for value in model.parameters())


def test_validation_images_that_are_none_count_as_none(train_data):
    empty = LabelledImages((), np.zeros((0, 3)), CLASSES)
    result = Trainer(make_model(), quick(), train=train_data, valid=empty).train()
    assert "valid_map" not in result.history[0]
