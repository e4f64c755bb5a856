"""What every method in the registry can do, whatever it is: a new one is tested by its line in the table."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import dualcoop.backbones.lite
from backbones.tiny_models import tiny_backbone
from coloured import CLASSES
from dualcoop.cli.app import app
from dualcoop.errors import ConfigError, ModelError
from dualcoop.evaluation import evaluate
from dualcoop.export import OnnxTagger
from dualcoop.features import encode_images_once
from dualcoop.features.scoring import evaluate_images, region_scores
from dualcoop.methods.base import Method
from dualcoop.methods.registry import METHODS, load_method, method_class
from dualcoop.network import RegionClassifier
from dualcoop.saving.config import DEFAULT_METHOD
from tiny import TinyBackbone, tiny_image
from tolerances import rounding

# A logit of a cosine, scaled: the sigmoid's slope is 1 / 4 at most.
SCORE_ROUNDING = rounding(torch.float32, terms=17 * 16, layers=2) * 100 / 4


def tiny_lite():
    return TinyBackbone(name="lite")


@pytest.fixture(params=METHODS)
def kind(request):
    return method_class(request.param)


@pytest.fixture
def model(kind):
    return kind(tiny_lite(), CLASSES)


@pytest.fixture
def fitted(model, train_data, valid_data):
    return model.fit(*_labelled(model, train_data), _labelled(model, valid_data))


@pytest.fixture
def folder(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "out")
    return tmp_path / "out"


def _labelled(model, data):
    features = encode_images_once(model, data)
    return features, data.labels[features.kept]


def test_the_registry_names_methods_by_their_own_names(kind):
    assert issubclass(kind, Method)
    assert METHODS[kind.method].endswith(f":{kind.__name__}")


def test_a_name_that_is_no_method_is_refused_with_those_that_are():
    with pytest.raises(ConfigError, match=f"'quadratic', expected one of {', '.join(METHODS)}"):
        method_class("quadratic")


def test_fitting_gives_back_the_model_with_what_it_learned_from(model, fitted, train_data):
    assert fitted is model
    training = fitted.training_record.get("training", {})
    if training:
        assert training["data"]["train"]["images"] == len(train_data)
        assert training["data"]["train"]["known_labels"] == int(train_data.known.sum())
        json.dumps(fitted.training_record, allow_nan=False)


def test_scores_are_probabilities_and_the_same_from_images_and_from_features(fitted, valid_data):
    scores = region_scores(fitted, encode_images_once(fitted, valid_data))
    assert scores.shape == (10, 3)
    assert scores.dtype == np.float32
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    # Kept features are float16.
    np.testing.assert_allclose(scores, fitted.predict_proba(valid_data.paths), atol=5e-3)


def test_thresholds_are_chosen_on_held_out_images_and_decide(model, fitted, valid_data):
    assert not np.allclose(fitted.threshold_values(), 0.5)
    fitted.set_thresholds([0.2, 0.5, 0.8])
    for prediction in fitted.predict(valid_data.paths):
        assert list(prediction.decisions.values()) == [
            score > threshold for score, threshold in zip(prediction.scores.values(), (0.2, 0.5, 0.8), strict=True)
        ]


def test_images_without_a_known_label_have_no_effect(kind, train_data, valid_data):
    labels = train_data.labels.copy()
    labels[5:9] = 0
    order = np.arange(len(labels))
    order[5:9] = order[5:9][::-1]
    scores = []
    for rows in (np.arange(len(labels)), order):
        model = kind(tiny_lite(), CLASSES)
        features = encode_images_once(model, train_data).subset(rows)
        model.fit(features, labels, _labelled(model, valid_data))
        scores.append(region_scores(model, encode_images_once(model, valid_data)))
    np.testing.assert_allclose(scores[0], scores[1], atol=SCORE_ROUNDING)


def test_labels_of_other_images_or_classes_are_refused(model, train_data, valid_data):
    features, labels = _labelled(model, train_data)
    valid = _labelled(model, valid_data)
    for wrong in (labels[1:], labels[:, 1:]):
        with pytest.raises(ConfigError, match="labels of features are"):
            model.fit(features, wrong, valid)
    with pytest.raises(ConfigError, match="labels of valid are"):
        model.fit(features, labels, (valid[0], valid[1][1:]))


def test_features_of_another_image_size_are_refused(kind, model, train_data, valid_data):
    other = kind(tiny_lite(), CLASSES, image_size=64)
    with pytest.raises(ConfigError, match=r"65 regions of 16, needed are .* 17 regions of 16"):
        model.fit(*_labelled(other, train_data), _labelled(model, valid_data))


def test_a_saved_model_comes_back_as_its_class_with_its_scores(fitted, folder, valid_data):
    for loaded in (
        load_method(folder, backbone=tiny_lite()),
        type(fitted).from_pretrained(folder, backbone=tiny_lite()),
    ):
        assert type(loaded) is type(fitted)
        assert loaded.predict(valid_data.paths) == fitted.predict(valid_data.paths)
        assert loaded.training_record == fitted.training_record
    written = json.loads((folder / "config.json").read_text())
    assert written.get("method", DEFAULT_METHOD) == fitted.method


def test_a_subclass_stays_that_subclass(kind, folder):
    class Mine(kind):
        pass

    mine = Mine.from_pretrained(folder, backbone=tiny_lite())
    assert type(mine) is Mine
    new = Mine.from_pretrained("lite", CLASSES, backbone=tiny_lite())
    assert type(new) is Mine
    for other in (mine, new):
        if Mine.with_classes is not RegionClassifier.with_classes:
            assert type(other.with_classes(CLASSES[:2])) is Mine


def test_a_folder_of_another_method_is_refused_with_what_opens_it(kind, folder):
    for name in METHODS:
        if name != kind.method:
            with pytest.raises(ModelError, match=f"the method '{kind.method}' was saved here.*load_method"):
                method_class(name).from_pretrained(folder, backbone=tiny_lite())


def test_a_folder_of_an_unknown_method_is_refused(folder):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "method": "quadratic"}))
    with pytest.raises(ModelError, match="method is 'quadratic'"):
        load_method(folder, backbone=tiny_lite())


def test_image_sizes_other_than_the_saved_one_are_taken(folder):
    assert load_method(folder, backbone=tiny_lite(), image_size=64).image_size == 64


def test_a_method_explains_by_places_or_says_that_it_cannot(fitted):
    if type(fitted).region_weights is RegionClassifier.region_weights:
        with pytest.raises(ModelError, match=f"{fitted.method!r} weighs no regions"):
            fitted.explain(tiny_image(), "red")
        return
    weights = fitted.explain(tiny_image(), "red")
    assert weights.shape == (4, 4)
    assert weights.sum() == pytest.approx(1, abs=1e-5)


def test_a_method_takes_other_names_or_says_that_it_cannot(fitted):
    if type(fitted).with_classes is RegionClassifier.with_classes:
        with pytest.raises(ModelError, match=f"{fitted.method!r} .* knows nothing of other names"):
            fitted.with_classes(["blue", "red"])
        return
    other = fitted.with_classes(["blue", "red"])
    old, new = fitted.predict(tiny_image()).scores, other.predict(tiny_image()).scores
    assert new == pytest.approx({name: old[name] for name in ("blue", "red")}, abs=SCORE_ROUNDING)


def test_measuring_images_is_measuring_their_scores(fitted, valid_data):
    report, problems = evaluate_images(fitted, valid_data)
    scores = region_scores(fitted, encode_images_once(fitted, valid_data))
    assert problems == ()
    expected = evaluate(scores, valid_data.labels, CLASSES, threshold=fitted.threshold_values())
    assert report.to_dict() == expected.to_dict()
    part, _ = evaluate_images(fitted, valid_data.select_classes(["blue"]), columns=np.array([2]))
    assert part.per_class[0].f1 == expected.per_class[2].f1


def test_the_command_line_opens_it(fitted, folder, valid_data, monkeypatch):
    monkeypatch.setattr(dualcoop.backbones.lite, "load_lite", tiny_lite)
    path = valid_data.paths[0]
    result = CliRunner().invoke(app, ["tag", str(path), "--model", str(folder), "--format", "jsonl"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["labels"] == list(fitted.predict(path).labels)
    described = CliRunner().invoke(app, ["info", str(folder)])
    assert described.exit_code == 0, described.output
    assert fitted.method in described.stdout


def test_the_exported_file_gives_the_models_probabilities(kind, train_data, valid_data, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the packages of the extra `export`")
    model = kind(tiny_backbone("clip_resnet"), CLASSES)
    model.fit(*_labelled(model, train_data), _labelled(model, valid_data))
    exported = model.export_onnx(tmp_path / "tagger.onnx")
    tagger = OnnxTagger(exported.path)
    np.testing.assert_allclose(tagger.predict_proba(valid_data.paths), model.predict_proba(valid_data.paths), atol=1e-3)
    np.testing.assert_array_equal(tagger.thresholds, model.threshold_values())
