"""Models without training: which prompts and which scale a backbone gets."""

import pytest

from dualcoop.backbones.loading import registry
from dualcoop.errors import ConfigError
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.prompts import TemplateConfig
from tiny import TinyBackbone, tiny_image
from tolerances import assert_agree

CLASSES = ("dog", "traffic_light")


def biased(name, scale=None):
    backbone = TinyBackbone(name=name)
    backbone.logit_bias = -4.0
    backbone.zero_shot_scale = scale
    return backbone


def test_backbone_with_a_bias_is_asked_for_presence_alone():
    model = DualCoOp.zero_shot("siglip", CLASSES, backbone=biased("siglip"))
    assert model.prompts.config == TemplateConfig("a photo of a {}.", None)
    assert "negative" not in model.text_features()


def test_backbone_without_a_bias_decides_between_two_sentences():
    model = DualCoOp.zero_shot("clip", CLASSES, backbone=TinyBackbone())
    sentences = ["a photo without a dog.", "a photo without a traffic light."]
    assert_agree(model.text_features()["negative"], model.backbone.encode_text(sentences), terms=77, layers=8)


def test_scale_is_the_backbones_own_unless_another_is_known_to_be_better():
    assert DualCoOp.zero_shot("clip", CLASSES, backbone=TinyBackbone(name="clip")).logit_scale == 100
    assert DualCoOp.zero_shot("sharp", CLASSES, backbone=biased("sharp", 25.0)).logit_scale == 25


def test_scores_are_those_of_the_same_prompts_and_scale():
    backbone = biased("sharp", 25.0)
    prompts = TemplateConfig("a photo of a {}.", None)
    expected = DualCoOp(backbone, CLASSES, prompts, logit_scale=25.0)
    found = DualCoOp.zero_shot("sharp", CLASSES, backbone=backbone)
    assert found.predict(tiny_image()).scores == expected.predict(tiny_image()).scores


def test_templates_and_options_of_ones_own():
    own = TemplateConfig(("an image of many {}.", "{}"), None)
    model = DualCoOp.zero_shot(
        "clip", CLASSES, prompts=own, aggregation="average", image_size=64, backbone=TinyBackbone()
    )
    assert (model.prompts.config, model.aggregation, model.image_size) == (own, "average", 64)


def test_backbone_is_loaded_by_name(monkeypatch):
    asked = []

    def create_backbone(name, *, device):
        asked.append((name, str(device)))
        return TinyBackbone(name=name)

    monkeypatch.setattr(registry, "create_backbone", create_backbone)
    assert DualCoOp.zero_shot("RN50", CLASSES, device="cpu").backbone.name == "RN50"
    assert asked == [("RN50", "cpu")]


def test_no_words_are_refused():
    with pytest.raises(ConfigError, match="class"):
        DualCoOp.zero_shot("clip", [], backbone=TinyBackbone())
