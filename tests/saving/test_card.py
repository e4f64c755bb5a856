"""The model card is written from the saved configuration alone."""

import dataclasses

import pytest
from huggingface_hub import ModelCard

from dualcoop.prompts import PromptConfig, TemplateConfig
from dualcoop.saving.card import backbone_title, model_card
from dualcoop.saving.config import SavedConfig

CONFIG = SavedConfig(
    classes=("dog", "traffic_light"),
    settings={
        "prompts": PromptConfig().to_dict(),
        "aggregation": "softmax",
        "image_size": 320,
        "spatial_scale": 20.0,
        "logit_scale": 100.0,
        "logit_bias": 0.0,
    },
    backbone_name="lite",
    backbone_fingerprint="ab" * 32,
    finetuned=False,
    files={},
)


def card(prompts=None, **changes):
    if prompts is not None:
        changes["settings"] = {**CONFIG.settings, "prompts": prompts.to_dict()}
    return model_card(dataclasses.replace(CONFIG, **changes))


def test_metadata_is_valid_for_the_hub():
    data = ModelCard(card()).data
    assert data.library_name == "dualcoop"
    assert data.pipeline_tag == "image-classification"
    assert "multi-label" in data.tags


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "learned positive and negative prompts, class-specific"),
        ({"prompts": PromptConfig(class_specific=False)}, "prompts, shared by all classes"),
        ({"prompts": PromptConfig(mode="negative")}, "learned negative prompts alone"),
        ({"prompts": TemplateConfig()}, "hand-crafted templates"),
        ({"finetuned": True}, "with fine-tuned tensors, saved here"),
        ({"classes": ("dog",)}, "A multi-label tagger for 1 class\n"),
        ({"classes": tuple(f"c{n}" for n in range(1200))}, "c199, and 1000 more in `config.json`"),
        ({"backbone_fingerprint": "cd" * 32}, "cd" * 32),
    ],
)
def test_card_says_what_the_model_is(changes, text):
    assert text in card(**changes)


def test_card_of_another_method_names_it_and_how_to_open_it():
    text = card(method="linear", settings={"image_size": 320})
    assert "A `linear` model of the package dualcoop, over the vision-language backbone" in text
    assert "from dualcoop.methods.registry import load_method" in text
    assert "prompts" not in text.partition("## Use")[2].replace("prompt-learning", "")
    assert "with_classes" not in text


def test_names_are_shown_as_they_are_and_break_no_table():
    assert "## Classes\n\n{{ 1 }}, <b>&, a\\|b\n\n## Limits" in card(classes=("{{ 1 }}", "<b>&", "a|b"))


def test_training_and_measurements_become_tables():
    text = card(
        training_record={
            "training": {"epochs": 20, "optimizer": {"name": "sgd", "rates": list(range(20))}, "note": None},
            "metrics": {"mAP": 51.23456789, "a|b": "x\ny", "top": [3, 5]},
        }
    )
    for row in (
        "| epochs | 20 |",
        "| optimizer: name | sgd |",
        "| optimizer: rates | 20 values, in `config.json` |",
        "| mAP | 51.2346 |",
        "| a\\|b | x y |",
        "| top | 3, 5 |",
    ):
        assert row in text
    assert "| note |" not in text
    assert "No measurements are recorded" not in text


def test_card_of_an_untrained_model_says_so():
    text = card()
    assert "The training of these prompts is not recorded" in text
    assert "No measurements are recorded" in text
    assert "## Training" not in text


def test_other_names_are_offered_only_where_prompts_carry_over():
    assert "with_classes" not in card()
    assert "with_classes" in card(prompts=PromptConfig(class_specific=False))
    assert "with_classes" in card(prompts=TemplateConfig())


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("lite", "lite"),
        ("RN50/openai", "RN50/openai"),
        ("hf-hub:timm/ViT", "hf-hub:timm/ViT"),
        ("RN50/openai@/home/ann/secret/weights.pt", "RN50/openai (weights.pt)"),
        ("/home/ann/secret/RN50.pt", "RN50.pt"),
    ],
)
def test_folders_of_local_checkpoints_stay_private(name, title):
    assert backbone_title(name) == title
    assert "secret" not in card(backbone_name=name)
