"""A backbone of somebody else's, which has nothing but what `Backbone` asks for, goes everywhere."""

import pytest
import torch

from coloured import CLASSES, make_model
from dualcoop import DualCoOp, Trainer
from dualcoop.backbones.base import Backbone
from dualcoop.training import TrainingArguments
from tiny import TinyBackbone, tiny_image


def changed_tensors(model, before):
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(
    ("finetune", "tuned"),
    [
        ("none", set()),
        ("pooling", {"image_projection"}),
        ("backbone", {"patches", "image_norm", "image_projection"}),
    ],
)
def test_its_image_tower_is_trained_as_far_as_asked(train_data, finetune, tuned):
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = {"views": 0} if finetune != "none" else {}
    Trainer(model, TrainingArguments(epochs=1, finetune=finetune, **options), train=train_data).train()
    changed = {name for name in changed_tensors(model, before) if name.startswith("backbone.")}
    assert {name.split(".")[1] for name in changed} == tuned
    assert all(name.endswith((".weight", ".bias")) for name in changed)


@pytest.mark.parametrize(("scale", "expected"), [(None, 100.0), (7.0, 7.0)])
def test_it_is_used_untrained_at_the_scale_that_it_names(scale, expected):
    backbone = TinyBackbone()
    backbone.zero_shot_scale = scale
    model = DualCoOp.zero_shot("", CLASSES, backbone=backbone)
    assert model.logit_scale == expected
    assert len(model.predict(tiny_image()).scores) == len(CLASSES)


def test_it_is_exported_with_its_preprocessing(tmp_path):
    pytest.importorskip("onnxscript", reason="needs the packages of the extra `export`")
    pytest.importorskip("onnxruntime", reason="needs the packages of the extra `export`")
    from dualcoop.export.tagger import OnnxTagger

    model = make_model(logit_scale=3.0)
    file = model.export_onnx(tmp_path / "tagger.onnx").path
    tagger = OnnxTagger(file, device="cpu")
    assert tagger.description.interpolation == model.backbone.interpolation == "bilinear"
    found, expected = (each.predict(tiny_image(3)).scores for each in (tagger, model))
    assert found == pytest.approx(expected, abs=1e-3)


def test_nothing_else_is_asked_of_it():
    public = {name for name, value in vars(TinyBackbone).items() if callable(value) and not name.startswith("_")}
    assert public <= set(dir(Backbone))
