"""Saved models: what is written, that it comes back the same, and everything that must be refused."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from dualcoop import DualCoOp
from dualcoop.backbones.loading import registry
from dualcoop.errors import BackboneError, ConfigError, ModelError
from dualcoop.prompts import PromptConfig, TemplateConfig
from tiny import TinyBackbone, tiny_image
from tolerances import assert_agree

CLASSES = ("dog", "traffic_light", "Zürich")
FILES = {"model.safetensors", "text_features.safetensors", "config.json", "README.md"}
IMAGES = [tiny_image(number) for number in range(3)]


def trained(prompts=None, **options):
    """A model whose contexts and thresholds are nobody's initial values."""
    model = DualCoOp(TinyBackbone(), CLASSES, prompts, **options)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for context in model.prompts.parameters():
            context.add_(0.1 * torch.randn(context.shape, generator=generator))
    model.set_thresholds([0.2, 0.4, 0.7])
    return model


@pytest.fixture
def saved(tmp_path):
    trained().save_pretrained(tmp_path / "out")
    return tmp_path / "out"


def load(folder, **options):
    return DualCoOp.from_pretrained(folder, **{"backbone": TinyBackbone(), **options})


def edit(folder, change):
    """Change the saved config.json as a person might."""
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    "prompts",
    [
        PromptConfig(),
        PromptConfig(class_specific=False, positive_tokens=9),
        PromptConfig(mode="positive"),
        PromptConfig(mode="negative", full_stop=False),
        PromptConfig.paper_partial_labels(seed=4),
        TemplateConfig(),
        TemplateConfig.contextless(),
    ],
)
def test_loaded_model_predicts_exactly_as_the_saved_one(tmp_path, prompts):
    model = trained(prompts, aggregation="maximum", image_size=64, spatial_scale=3, logit_scale=4, logit_bias=-1.5)
    model.save_pretrained(tmp_path / "out")
    loaded = load(tmp_path / "out")
    assert loaded.predict(IMAGES) == model.predict(IMAGES)
    assert loaded.classes == CLASSES
    assert loaded.prompts.config == model.prompts.config
    for name in ("aggregation", "image_size", "spatial_scale", "logit_scale", "logit_bias"):
        assert getattr(loaded, name) == getattr(model, name)


def test_loaded_model_can_be_trained_further(saved):
    model = load(saved)
    model(torch.rand(1, 3, 32, 32)).positive.sum().backward()
    assert float(model.prompts.positive_context.grad.abs().sum()) > 0
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "prompts.positive_context",
        "prompts.negative_context",
        "prompts.positive_residual",
        "prompts.negative_residual",
    }


def test_four_small_files_are_written_and_none_is_a_pickle(saved):
    assert {path.name for path in saved.iterdir()} == FILES
    assert set(load_file(saved / "model.safetensors")) == {
        "prompts.positive_context",
        "prompts.negative_context",
        "prompts.positive_residual",
        "prompts.negative_residual",
        "thresholds",
        "class_bias",
    }
    assert sum(path.stat().st_size for path in saved.iterdir()) < 20_000


@pytest.mark.parametrize("name", ["model.safetensors", "text_features.safetensors", "backbone.safetensors"])
def test_the_same_model_gives_the_same_bytes(tmp_path, name):
    contents = set()
    for attempt in range(8):
        finetuned().save_pretrained(tmp_path / str(attempt))
        contents.add((tmp_path / str(attempt) / name).read_bytes())
    assert len(contents) == 1


def test_configuration_is_readable(saved):
    text = (saved / "config.json").read_text(encoding="utf-8")
    values = json.loads(text)
    assert values["classes"] == list(CLASSES)
    assert "Zürich" in text
    assert values["backbone"] == {
        "name": "tiny",
        "fingerprint": TinyBackbone().fingerprint(),
        "finetuned": False,
    }
    assert values["prompts"]["positive_init"] == "a photo of a"
    assert (values["image_size"], values["aggregation"]) == (32, "softmax")


def test_training_record_comes_back_as_plain_values(tmp_path):
    model = trained()
    model.training_record = {
        "training": {"epochs": 3, "data": Path("photos/labels.csv"), "seeds": (0, 1)},
        "metrics": {"mAP": np.float32(50.5), "per_class": np.array([1.0, np.nan])},
    }
    model.save_pretrained(tmp_path / "out")
    assert load(tmp_path / "out").training_record == {
        "training": {"epochs": 3, "data": str(Path("photos/labels.csv")), "seeds": [0, 1]},
        "metrics": {"mAP": 50.5, "per_class": [1.0, None]},
    }
    assert "50.5" in (tmp_path / "out" / "README.md").read_text()


def test_record_that_json_cannot_hold_is_refused_and_nothing_written(tmp_path):
    model = trained()
    model.training_record = {"training": {"optimizer": object()}}
    with pytest.raises(ModelError, match=r"training_record\['training'\]\['optimizer'\] is a object"):
        model.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_saving_again_replaces_the_model_and_leaves_other_files(saved):
    (saved / "curves.csv").write_text("epoch,loss\n")
    other = trained(PromptConfig(class_specific=False))
    other.save_pretrained(saved)
    assert load(saved).predict(IMAGES) == other.predict(IMAGES)
    assert {path.name for path in saved.iterdir()} == {*FILES, "curves.csv"}


def test_interrupted_saving_leaves_the_old_model(saved, monkeypatch):
    old = load(saved).predict(IMAGES)
    written = []

    def fsync(descriptor):
        written.append(descriptor)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        trained(PromptConfig(mode="positive")).save_pretrained(saved)
    assert load(saved).predict(IMAGES) == old
    assert {path.name for path in saved.iterdir()} == FILES


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"file.*cannot be saved here"):
        trained().save_pretrained(tmp_path / "file")


def test_backbone_is_rebuilt_by_the_saved_name(saved, monkeypatch):
    asked = []
    monkeypatch.setattr(registry, "create_backbone", lambda name, device: asked.append(name) or TinyBackbone())
    assert DualCoOp.from_pretrained(str(saved), device="cpu").classes == CLASSES
    assert asked == ["tiny"]


def test_backbone_that_cannot_be_had_is_named(saved, monkeypatch):
    def create_backbone(name, device):
        raise BackboneError("no network.")

    monkeypatch.setattr(registry, "create_backbone", create_backbone)
    with pytest.raises(ModelError, match=r"needs the backbone tiny, .*: no network\. If .*pass backbone="):
        DualCoOp.from_pretrained(saved)


def test_another_backbone_is_refused_and_both_are_named(saved):
    other = TinyBackbone(seed=1, name="other")
    with pytest.raises(ModelError) as caught:
        load(saved, backbone=other)
    message = str(caught.value)
    for part in ("tiny", TinyBackbone().fingerprint()[:12], "other", other.fingerprint()[:12]):
        assert part in message


def test_same_name_with_other_weights_is_refused(saved):
    with pytest.raises(ModelError, match="whose weights or settings differ"):
        load(saved, backbone=TinyBackbone(seed=1))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["dog", "traffic_light"], "saved for 3 classes, and 2 of them are asked for"),
        (["dog", "traffic_light", "cat"], "'cat' is not among them"),
        (["Zürich", "dog", "traffic_light"], "in another order"),
    ],
)
def test_other_classes_are_refused_with_the_way_to_get_them(saved, classes, message):
    with pytest.raises(ModelError, match=rf"{message}.*with_classes"):
        load(saved, classes=classes)
    assert load(saved, classes=CLASSES).classes == CLASSES


def test_options_of_the_saved_model_can_be_overridden_where_it_makes_sense(saved):
    model = load(saved, aggregation="average", image_size=64)
    assert (model.aggregation, model.image_size) == ("average", 64)
    with pytest.raises(ConfigError, match="its own prompts"):
        load(saved, prompts=PromptConfig())
    with pytest.raises(ModelError, match="aggregation is 'mean'"):
        load(saved, aggregation="mean")
    with pytest.raises(ModelError, match="image size is 33"):
        load(saved, image_size=33)


@pytest.mark.parametrize(("scale", "expected"), [(None, 80.0), (7.0, 7.0)])
def test_a_scale_that_follows_the_image_size_follows_another_one(tmp_path, monkeypatch, scale, expected):
    monkeypatch.setattr(TinyBackbone, "spatial_scale_at", lambda self, size: 20.0 * (size / 32) ** 2)
    DualCoOp(TinyBackbone(), CLASSES, spatial_scale=scale).save_pretrained(tmp_path)
    assert load(tmp_path, image_size=64).spatial_scale == expected


@pytest.mark.parametrize("keep", [0, 1, 7, 100, 0.5, -1])
def test_cut_off_tensors_are_refused(saved, keep):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(ModelError, match=r"model\.safetensors: the content is not what config\.json says"):
        load(saved)


def test_changed_tensors_are_refused(saved):
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="was changed"):
        load(saved)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"thresholds": torch.zeros(3)},
            r"\(class_bias, prompts.negative_context, .*missing\)",
        ),
        ("no bias", r"do not fit dualcoop .* \(class_bias missing\); load the model with the version in config.json"),
        ("more", r"\(momentum unknown\)"),
        (None, "not what config.json says"),
        ("short", r"prompts\.positive_context is \(2, 5, 24\), this model needs \(3, 5, 24\)"),
        ("text", "no valid safetensors"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_even_with_the_right_hash(saved, tensors, message):
    import hashlib

    path = saved / "model.safetensors"
    values = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    metadata = {"classes_sha256": hashlib.sha256(json.dumps(values["classes"]).encode()).hexdigest()}
    if tensors == "text":
        path.write_bytes(b"not a tensor in sight")
    elif isinstance(tensors, str):
        content = load_file(path)
        if tensors == "short":
            content["prompts.positive_context"] = content["prompts.positive_context"][:2].clone()
        elif tensors == "no bias":
            del content["class_bias"]
        else:
            content["momentum"] = torch.zeros(1)
        save_file(content, path, metadata)
    else:
        save_file(tensors or {"thresholds": torch.ones(3)}, path, metadata)
    if tensors is not None:
        right = hashlib.sha256(path.read_bytes()).hexdigest()
        edit(saved, lambda v: v["files"].update({"model.safetensors": right}))
    with pytest.raises(ModelError, match=message):
        load(saved)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_missing_files_are_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors: cannot be read|holds no saved model"):
        load(saved)


@pytest.mark.parametrize("keep", [40, 200, -2])
def test_cut_off_configuration_is_refused(saved, keep):
    path = saved / "config.json"
    path.write_bytes(path.read_bytes()[:keep].rstrip())
    with pytest.raises(ModelError, match=r"config\.json: not valid JSON"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("classes"), '"classes" is missing, expected a list'),
        (lambda v: v.update(classes="dog"), "\"classes\" is 'dog', expected a list"),
        (lambda v: v.update(classes=["dog", "dog", "cat"]), "'dog' is given twice"),
        (lambda v: v["classes"].reverse(), "the classes are not those that model.safetensors was saved for"),
        (lambda v: v["classes"].append("cat"), "the classes are not those"),
        (lambda v: v.pop("backbone"), '"backbone" is missing'),
        (lambda v: v["backbone"].pop("name"), '"name" is missing, expected a str'),
        (lambda v: v["backbone"].update(fingerprint="0" * 64), r"\(fingerprint 000000000000"),
        (lambda v: v["backbone"].update(finetuned=True), r"backbone\.safetensors: cannot be read"),
        (lambda v: v["backbone"].update(finetuned="no"), "\"finetuned\" is 'no', expected a bool"),
        (lambda v: v.update(image_size="large"), "\"image_size\" is 'large', expected a int"),
        (lambda v: v.update(image_size=True), '"image_size" is True'),
        (lambda v: v.update(image_size=33), "image size is 33"),
        (lambda v: v.update(logit_scale=None), '"logit_scale" is None, expected a number'),
        (lambda v: v.update(logit_scale=float("inf")), '"logit_scale" is inf'),
        (lambda v: v.update(aggregation="mean"), "aggregation is 'mean'"),
        (lambda v: v["prompts"].update(kind="soft"), "kind 'soft'"),
        (lambda v: v["prompts"].update(positive_tokens=2), "the phrase 'a photo of a' has 5 tokens"),
        (
            lambda v: v["prompts"].update(positive_tokens=9),
            r"positive_context is \(3, 5, 24\), .* \(3, 9, 24\)",
        ),
        (lambda v: v["prompts"].update(extra=1), "unknown options extra"),
        (lambda v: v.update(files={}), "content is not what config.json says"),
        (lambda v: v.update(files=[]), r'"files" is \[\], expected a dict'),
        (lambda v: v.update(format_version=2), "reads up to 1; install a newer version"),
        (lambda v: v.update(training_record=3), '"training_record" is 3'),
    ],
)
def test_senseless_edits_of_the_configuration_are_refused(saved, change, message):
    edit(saved, change)
    with pytest.raises(ModelError, match=message):
        load(saved)


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intact")
    trained().save_pretrained(folder)
    return folder


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_damage_to_the_configuration_is_refused_or_harmless(intact, data):
    content = (intact / "config.json").read_bytes()
    position = data.draw(st.integers(0, len(content)))
    removed = data.draw(st.integers(0, 12))
    inserted = data.draw(st.binary(max_size=6))
    with tempfile.TemporaryDirectory() as folder:
        for name in ("model.safetensors", "text_features.safetensors"):
            shutil.copy(intact / name, folder)
        damaged = content[:position] + inserted + content[position + removed :]
        (Path(folder) / "config.json").write_bytes(damaged)
        try:
            model = load(folder, aggregation="softmax", image_size=32)
        except ModelError:
            return
    contexts = dict(model.prompts.named_parameters())
    assert torch.equal(contexts["positive_context"], load(intact).prompts.positive_context)
    assert model.classes == CLASSES


def finetuned():
    model = trained()
    model.unfreeze_backbone("image_projection.*")
    with torch.no_grad():
        model.backbone.image_projection.weight.mul_(1.5)
        model.backbone.image_projection.bias.add_(0.3)
    return model


def test_fine_tuned_tensors_are_saved_and_come_back(tmp_path):
    model = finetuned()
    model.save_pretrained(tmp_path / "out")
    assert set(load_file(tmp_path / "out" / "backbone.safetensors")) == {
        "image_projection.weight",
        "image_projection.bias",
    }
    backbone = TinyBackbone()
    loaded = load(tmp_path / "out", backbone=backbone)
    assert loaded.predict(IMAGES) == model.predict(IMAGES)
    assert loaded.predict(IMAGES) != trained().predict(IMAGES)
    assert backbone.fingerprint() == TinyBackbone().fingerprint()
    loaded.save_pretrained(tmp_path / "again")
    assert load(tmp_path / "again").predict(IMAGES) == model.predict(IMAGES)


def test_frozen_model_saved_over_a_fine_tuned_one_leaves_no_tensors_of_it(tmp_path):
    finetuned().save_pretrained(tmp_path)
    trained().save_pretrained(tmp_path)
    assert not (tmp_path / "backbone.safetensors").exists()
    assert load(tmp_path).predict(IMAGES) == trained().predict(IMAGES)


def test_fine_tuned_backbone_is_refused_for_a_model_of_the_original(saved):
    with pytest.raises(ModelError, match="weights or settings differ"):
        load(saved, backbone=finetuned().backbone)


def test_damaged_fine_tuned_tensors_are_refused(tmp_path):
    finetuned().save_pretrained(tmp_path)
    path = tmp_path / "backbone.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ModelError, match=r"backbone\.safetensors: the content is not"):
        load(tmp_path)


def test_unknown_fine_tuned_tensors_are_refused_when_saving(tmp_path):
    model = finetuned()
    model.backbone_delta.add("layer9.weight")
    with pytest.raises(ModelError, match=r"'layer9\.weight', which tiny does not have"):
        model.save_pretrained(tmp_path)


def test_saved_model_can_be_moved(saved, tmp_path):
    shutil.move(saved, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere").predict(IMAGES) == trained().predict(IMAGES)


@pytest.fixture
def encoded(monkeypatch):
    """How many prompts every call of the text tower encodes."""
    counts = []
    original = TinyBackbone.encode_prompts

    def encode_prompts(backbone, embeddings, *others):
        counts.append(len(embeddings))
        return original(backbone, embeddings, *others)

    monkeypatch.setattr(TinyBackbone, "encode_prompts", encode_prompts)
    return counts


PROMPTS = [
    PromptConfig(),
    PromptConfig(class_specific=False),
    PromptConfig(mode="negative"),
    TemplateConfig(),
    TemplateConfig.contextless(),
]


@pytest.mark.parametrize("prompts", PROMPTS)
def test_a_loaded_model_predicts_without_its_text_tower(tmp_path, prompts, encoded):
    model = trained(prompts)
    model.save_pretrained(tmp_path)
    expected = model.predict(IMAGES)
    encoded.clear()
    loaded = load(tmp_path)
    assert loaded.predict(IMAGES) == expected
    loaded.explain(IMAGES[0], "dog")
    loaded.save_pretrained(tmp_path / "again")
    assert encoded == []


def test_saving_encodes_no_text_that_is_known(tmp_path, encoded):
    model = trained()
    model.predict(IMAGES)
    encoded.clear()
    model.save_pretrained(tmp_path)
    assert encoded == []


@pytest.mark.parametrize("prompts", [PromptConfig(class_specific=False), TemplateConfig()])
def test_only_new_names_are_encoded_and_only_once(tmp_path, prompts, encoded):
    trained(prompts).save_pretrained(tmp_path)
    loaded = load(tmp_path)
    encoded.clear()
    other = loaded.with_classes(["kite", "Zürich", "traffic light", "wave"])
    first = other.predict(IMAGES)
    assert encoded == [2, 2]
    assert other.predict(IMAGES) == first
    assert encoded == [2, 2]


def test_known_names_of_class_specific_prompts_are_not_encoded_again(saved, encoded):
    encoded.clear()
    load(saved).with_classes(["Zürich", "dog"]).predict(IMAGES)
    assert encoded == []


@pytest.mark.parametrize(
    "prompts",
    [PromptConfig(class_specific=False), PromptConfig(mode="negative", class_specific=False), TemplateConfig()],
)
def test_carried_over_text_features_are_those_of_the_prompts(tmp_path, prompts):
    trained(prompts).save_pretrained(tmp_path)
    other = load(tmp_path).with_classes(["kite", "Zürich", "wave", "dog"])
    computed = other.prompts.text_features(other.backbone).mapped(torch.Tensor.detach)
    kept = other.kept_text_features()
    assert list(kept) == list(computed)
    for name, features in kept.items():
        assert_agree(features, computed[name], terms=77, layers=8)


def test_learning_further_makes_saved_text_features_stale(saved, encoded):
    model = load(saved)
    stale = model.kept_text_features()
    with torch.no_grad():
        model.prompts.positive_context.mul_(torch.rand_like(model.prompts.positive_context))
        fresh = model.text_features()
    assert not torch.allclose(fresh["positive"], stale["positive"])
    assert encoded[-2:] == [3, 3]


def test_text_features_of_a_tower_that_learned_are_not_kept_from_before():
    model = trained(TemplateConfig())
    stale = model.text_features()["positive"]
    (weight,) = model.unfreeze_backbone("text_projection.weight")
    with torch.no_grad():
        weight.mul_(torch.rand_like(weight))
    weight.requires_grad_(False)
    assert not torch.allclose(model.text_features()["positive"], stale)


def test_text_features_of_a_fine_tuned_text_tower_come_back(tmp_path):
    model = trained(TemplateConfig())
    (weight,) = model.unfreeze_backbone("text_projection.weight")
    with torch.no_grad():
        weight.mul_(torch.rand_like(weight))
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    expected = loaded.prompts.text_features(loaded.backbone)["positive"]
    assert_agree(loaded.kept_text_features()["positive"], expected, terms=77, layers=8)


def test_models_saved_without_text_features_load_and_predict(saved):
    expected = load(saved).predict(IMAGES)
    (saved / "text_features.safetensors").unlink()
    edit(saved, lambda values: values["files"].pop("text_features.safetensors"))
    loaded = load(saved)
    assert loaded.kept_text_features() is None
    assert loaded.predict(IMAGES) == expected


def test_templates_changed_in_the_configuration_are_encoded_anew(tmp_path):
    trained(TemplateConfig()).save_pretrained(tmp_path)
    edit(tmp_path, lambda values: values["prompts"].update(positive=["{}!"]))
    changed = load(tmp_path)
    expected = trained(TemplateConfig("{}!")).text_features()["positive"]
    assert_agree(changed.text_features()["positive"], expected, terms=77, layers=8)


def test_damaged_text_features_are_refused(saved):
    path = saved / "text_features.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"text_features\.safetensors: the content is not what config\.json says"):
        load(saved)
