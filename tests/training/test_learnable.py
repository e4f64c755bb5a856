"""Which parameters a run trains, and in which state it leaves the others."""

import pytest
import torch

from backbones.tiny_models import tiny_backbone
from coloured import CLASSES, make_model
from dualcoop import DualCoOp, PromptConfig
from dualcoop.errors import ConfigError
from dualcoop.training import TrainingArguments
from dualcoop.training.learnable import assign, copies, learnable_parameters, make_optimizer
from tiny import TinyBackbone

CONTEXTS = ["prompts.negative_context", "prompts.positive_context"]
POOLING = sorted([f"{part}_proj.{kind}" for part in "qkvc" for kind in ("weight", "bias")] + ["positional_embedding"])


@pytest.fixture
def clip_model():
    prompts = PromptConfig(2, 2, positive_init=None, negative_init=None, residual=False)
    return DualCoOp(tiny_backbone("clip_resnet"), CLASSES, prompts)


def names_in_training(model):
    return sorted(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def test_the_contexts_learn_and_nothing_else(clip_model):
    with learnable_parameters(clip_model, "none") as learnable:
        assert sorted(learnable) == CONTEXTS == names_in_training(clip_model)


def test_one_prompt_alone_is_all_that_learns():
    model = make_model(prompts=PromptConfig(mode="negative"))
    with learnable_parameters(model, "none") as learnable:
        assert list(learnable) == ["prompts.negative_context", "prompts.negative_residual"]


def test_pooling_adds_the_attention_pooling_and_nothing_else(clip_model):
    with learnable_parameters(clip_model, "pooling") as learnable:
        pooling = [f"backbone.image.visual.attnpool.{name}" for name in POOLING]
        assert sorted(learnable) == pooling + CONTEXTS == names_in_training(clip_model)


def test_backbone_adds_the_whole_image_tower_and_no_text(clip_model):
    image = [f"backbone.image.{name}" for name, _ in clip_model.backbone.image.named_parameters()]
    with learnable_parameters(clip_model, "backbone") as learnable:
        assert sorted(learnable) == sorted(image) + CONTEXTS == names_in_training(clip_model)


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_the_tower_is_frozen_again_and_no_gradient_is_left(clip_model, fails):
    try:
        with learnable_parameters(clip_model, "backbone") as learnable:
            for parameter in learnable.values():
                parameter.grad = torch.ones_like(parameter)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert names_in_training(clip_model) == CONTEXTS
    assert all(parameter.grad is None for parameter in clip_model.parameters())
    assert len(clip_model.backbone_delta) == len(learnable) - 2


@pytest.mark.parametrize("finetune", ["pooling", "backbone"])
def test_a_backbone_with_nothing_to_tune_is_refused(finetune, monkeypatch):
    monkeypatch.delattr(TinyBackbone, "image_parameters")
    monkeypatch.delattr(TinyBackbone, "pooling_parameters")
    message = f"finetune is '{finetune}', but tiny has nothing there that can be fine-tuned. Give finetune='none'."
    with pytest.raises(ConfigError, match=message), learnable_parameters(make_model(), finetune):
        pass


@pytest.mark.parametrize(("kind", "expected"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_contexts_and_tower_have_learning_rates_of_their_own(clip_model, kind, expected):
    arguments = TrainingArguments(
        optimizer=kind,
        learning_rate=0.5,
        backbone_learning_rate=0.25,
        weight_decay=0.125,
        momentum=0.75,
        finetune="pooling",
    )
    with learnable_parameters(clip_model, "pooling") as learnable:
        optimizer = make_optimizer(arguments, learnable)
    assert type(optimizer) is expected
    groups = optimizer.param_groups
    assert [(len(group["params"]), group["peak"]) for group in groups] == [(2, 0.5), (9, 0.25)]
    assert all(group["weight_decay"] == 0.125 for group in groups)
    if kind == "sgd":
        assert all(group["momentum"] == 0.75 for group in groups)


def test_copies_do_not_follow_and_are_assigned_by_name():
    model = make_model()
    with learnable_parameters(model, "none") as learnable:
        before = copies(learnable)
        with torch.no_grad():
            for parameter in learnable.values():
                parameter.add_(1)
        assert not any(torch.equal(before[name], learnable[name]) for name in before)
        assign(learnable, before)
        assert all(torch.equal(before[name], learnable[name]) for name in before)
        with pytest.raises(KeyError):
            assign(learnable, {})


def test_residuals_have_a_learning_rate_of_their_own():
    model = make_model(prompts=PromptConfig())
    with learnable_parameters(model, "none") as learnable:
        optimizer = make_optimizer(TrainingArguments(learning_rate=0.5, residual_learning_rate=0.25), learnable)
    groups = {group["peak"]: group["params"] for group in optimizer.param_groups}
    assert {peak: [id(value) for value in values] for peak, values in groups.items()} == {
        0.5: [id(model.prompts.positive_context), id(model.prompts.negative_context)],
        0.25: [id(model.prompts.positive_residual), id(model.prompts.negative_residual)],
    }
