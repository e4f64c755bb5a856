"""Names of models and of their weights."""

import pytest

from dualcoop.backbones import list_backbones, list_pretrained
from dualcoop.backbones.loading.names import (
    common_pixels,
    default_tag,
    known_model,
    names_backbone,
    split_tag,
    tag_config,
    unknown_name,
)
from dualcoop.errors import BackboneError, Option


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("RN101", ("RN101", None)),
        ("rn50", ("RN50", None)),
        ("RN50/yfcc15m", ("RN50", "yfcc15m")),
        ("ViT-B/32", ("ViT-B-32", None)),
        ("vit-b/16/openai", ("ViT-B-16", "openai")),
        ("RN50-quickgelu", ("RN50-quickgelu", None)),
        ("ViT-B-16-SigLIP/webli", ("ViT-B-16-SigLIP", "webli")),
        ("RN", None),
        ("owner/name", None),
        ("", None),
        ("/", None),
    ],
)
def test_models_and_tags_are_told_apart(given: str, expected: tuple[str, str | None] | None) -> None:
    assert split_tag(given) == expected


def test_every_listed_name_is_known_and_lite_comes_first() -> None:
    names = list_backbones()
    assert names[0] == "lite"
    assert len(names) == len(set(names)) > 50
    assert all(known_model(name) == name for name in names[1:])
    for name in ("RN50", "RN101", "RN50x64", "ViT-B-16", "ViT-L-14", "ViT-B-16-SigLIP", "MobileCLIP-S1"):
        assert name in names
    for name in ("coca_ViT-B-32", "roberta-ViT-B-32", "PE-Core-B-16", "EVA02-B-16", "RN50-quickgelu"):
        assert name not in names


@pytest.mark.parametrize(
    ("model", "tag"), [("RN101", "openai"), ("ViT-B-16-SigLIP", "webli"), ("RN50-quickgelu", "openai")]
)
def test_default_weights(model: str, tag: str) -> None:
    assert default_tag(model) == tag


def test_several_weights_without_a_default_must_be_named() -> None:
    with pytest.raises(BackboneError, match=r"MobileCLIP-B: .*_lt\. Name one, for example .MobileCLIP-B/datacompdr"):
        default_tag("MobileCLIP-B")


def test_a_model_without_published_weights_needs_a_file() -> None:
    with pytest.raises(BackboneError, match="knows no weights for ViT-S-16\\. Give a file, create_backbone"):
        default_tag("ViT-S-16")


def test_tags_are_read_in_either_spelling() -> None:
    assert tag_config("ViT-B-16", "LAION2B-s34b-b88k")[0] == "laion2b_s34b_b88k"
    assert tag_config("RN50-quickgelu", "openai")[1]["quick_gelu"]
    with pytest.raises(BackboneError, match=r"'webli' is neither .* RN50; known are openai, yfcc15m, cc12m"):
        tag_config("RN50", "webli")


def test_pixel_statistics_are_common_only_where_all_weights_agree() -> None:
    assert common_pixels("ViT-B-16-SigLIP")["mean"] == (0.5, 0.5, 0.5)
    assert common_pixels("RN50")["mean"][0] == pytest.approx(0.48145466)
    assert common_pixels("ViT-L-14") == {}


def test_tags_are_listed() -> None:
    assert list_pretrained("RN50") == ["openai", "yfcc15m", "cc12m"]
    assert list_pretrained("lite") == []
    with pytest.raises(BackboneError, match="Did you mean RN50"):
        list_pretrained("RN5")


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("RN5O", "Did you mean RN50"),
        ("vit-b-61", "ViT-B-16"),
        ("litte", "Did you mean lite"),
        ("zzzzz", "Known are lite"),
    ],
)
def test_unknown_names_come_with_suggestions(given: str, hint: str) -> None:
    assert hint in str(unknown_name(given))
    assert repr(given) in str(unknown_name(given))


class Shell:
    """A front end without Python's arguments."""

    name = "shell"

    def spelled(self, option: Option) -> str | None:
        return None


def test_remedies_speak_the_shells_language_too() -> None:
    with pytest.raises(BackboneError) as caught:
        default_tag("ViT-S-16")
    assert str(caught.value).endswith('Give a file, create_backbone("ViT-S-16", pretrained="path/to/file").')
    assert caught.value.message.rendered(Shell()).endswith("Give a file, --backbone ViT-S-16@path/to/file.")


@pytest.mark.parametrize("name", ["lite", "LITE", "RN50", "ViT-B/32", "RN50/openai@file.pt", "weights/clip.pt"])
def test_backbones_are_told_by_their_names(name: str) -> None:
    assert names_backbone(name)


@pytest.mark.parametrize("name", ["runs/voc", "owner/model", "", "tagger.onnx"])
def test_other_names_are_no_backbones(name: str) -> None:
    assert not names_backbone(name)
