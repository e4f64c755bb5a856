"""Training parts of the image tower along with the contexts (appendix B, Table 6)."""

import copy
import functools
import json

import pytest
import torch

from backbones.tiny_models import tiny_backbone
from coloured import CLASSES
from dualcoop import DualCoOp, PromptConfig, Trainer
from dualcoop.training import Callback, TrainingArguments
from dualcoop.training.checkpoints import read_checkpoint

PROMPTS = PromptConfig(2, 2, positive_init=None, negative_init=None, residual=False)
POOL = "backbone.image.visual.attnpool."


@functools.cache
def original():
    return tiny_backbone("clip_resnet")


def fresh_backbone():
    return copy.deepcopy(original())


def make_clip(**options):
    return DualCoOp(fresh_backbone(), CLASSES, PROMPTS, **options)


def quick(**options):
    return TrainingArguments(
        **{"epochs": 2, "batch_size": 7, "warmup_epochs": 0, "backbone_learning_rate": 1e-3, **options}
    )


def changed_tensors(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def train(model, arguments, **data):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = Trainer(model, arguments, **data).train()
    return result, changed_tensors(model, before) - {"thresholds"}


@pytest.mark.parametrize(("aggregation", "unused"), [("attention", ()), ("softmax", ("q_proj", "k_proj"))])
def test_pooling_changes_the_pooling_and_the_contexts_alone(train_data, aggregation, unused):
    """Regions take the value path only, so that queries and keys stay as they are there."""
    model = make_clip(aggregation=aggregation)
    pooling = {name for name in model.state_dict() if name.startswith(POOL)}
    _, changed = train(model, quick(finetune="pooling"), train=train_data)
    expected = {name for name in pooling if not any(part in name for part in unused)}
    # A bias of the keys moves all of a softmax's inputs alike, so that its gradient is rounding.
    expected -= {f"{POOL}k_proj.bias"}
    assert changed - {f"{POOL}k_proj.bias"} == expected | {
        "prompts.positive_context",
        "prompts.negative_context",
    }


def test_backbone_changes_the_image_tower_and_keeps_text_and_batch_statistics(train_data):
    model = make_clip(aggregation="attention")
    image = {f"backbone.{name}" for name, _ in model.backbone.named_parameters() if name.startswith("image.")}
    _, changed = train(model, quick(finetune="backbone"), train=train_data)
    assert changed <= image | {"prompts.positive_context", "prompts.negative_context"}
    assert "backbone.image.visual.conv1.weight" in changed
    assert "backbone.image.visual.bn1.weight" in changed
    assert not any("running_" in name or "num_batches" in name for name in changed)


@pytest.mark.parametrize("finetune", ["pooling", "backbone"])
def test_tuned_tensors_are_saved_and_loaded_over_the_original_backbone(train_data, tmp_path, finetune):
    model = make_clip()
    fresh = fresh_backbone()
    Trainer(model, quick(finetune=finetune, output_dir=tmp_path), train=train_data).train()
    expected = model.predict_proba(train_data.paths)
    loaded = DualCoOp.from_pretrained(tmp_path, backbone=fresh)
    assert (loaded.predict_proba(train_data.paths) == expected).all()
    plain = DualCoOp(fresh, CLASSES, model.prompts)
    assert abs(plain.predict_proba(train_data.paths) - expected).max() > 1e-3
    assert json.loads((tmp_path / "config.json").read_text())["backbone"]["finetuned"] is True
    assert (tmp_path / "backbone.safetensors").is_file()


def test_after_training_the_tower_is_frozen_again(train_data):
    model = make_clip()
    Trainer(model, quick(finetune="backbone"), train=train_data).train()
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.backbone.image.training


def test_the_tower_alone_can_bring_the_loss_down(train_data):
    model = make_clip(aggregation="attention", logit_scale=20)
    result, _ = train(model, quick(finetune="backbone", learning_rate=1e-12, epochs=8), train=train_data)
    assert result.history[-1]["loss"] < 0.95 * result.history[0]["loss"]


def test_validation_follows_the_tower(train_data, valid_data):
    """Contexts that hardly move, over a tower that does: scores change from epoch to epoch all the same."""
    model = make_clip()
    arguments = quick(finetune="backbone", learning_rate=1e-12, epochs=3)
    result, _ = train(model, arguments, train=train_data, valid=valid_data)
    losses = [row["valid_loss"] for row in result.history]
    assert len(set(losses)) == 3
    report = model.training_record["metrics"]["validation"]["metrics"]["mAP"]["value"]
    assert report == pytest.approx(result.history[-1]["valid_map"], abs=1e-6)


def test_the_report_is_about_the_chosen_tower(train_data, valid_data, monkeypatch):
    values = iter([50.0, 40.0, 30.0])
    monkeypatch.setattr("dualcoop.training.validation.mean_average_precision", lambda scores, labels: next(values))
    model = make_clip()
    trainer = Trainer(model, quick(finetune="backbone", select="best", epochs=3), train=train_data, valid=valid_data)
    assert trainer.train().epoch == 1
    report = model.training_record["metrics"]["validation"]["metrics"]
    again = trainer.evaluate(valid_data)
    assert again["mAP"] == pytest.approx(report["mAP"]["value"], abs=1e-6)


class Killed(BaseException):
    pass


class Killer(Callback):
    def epoch(self, row):
        raise Killed


@pytest.mark.parametrize("finetune", ["pooling", "backbone"])
def test_a_killed_run_is_resumed_exactly(train_data, tmp_path, finetune):
    options = {"finetune": finetune, "epochs": 3, "views": 0, "augmentation": "flip"}
    whole = make_clip()
    Trainer(whole, quick(output_dir=tmp_path / "whole", **options), train=train_data).train()
    with pytest.raises(Killed):
        Trainer(
            make_clip(), quick(output_dir=tmp_path / "parts", **options), train=train_data, callbacks=[Killer()]
        ).train()
    resumed = make_clip()
    Trainer(resumed, quick(output_dir=tmp_path / "parts", resume=True, **options), train=train_data).train()
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    moments = [read_checkpoint(tmp_path / name)[0] for name in ("whole", "parts")]
    assert all(torch.equal(value, moments[1][name]) for name, value in moments[0].items())
