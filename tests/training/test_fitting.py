"""Training on region features at hand: the same steps as on images, without any image or folder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from coloured import make_model, with_unreadable
from dualcoop import TemplateConfig, Trainer
from dualcoop.errors import ConfigError, DataError
from dualcoop.features import encode_images_once
from dualcoop.training import Callback, TrainingArguments, fit_prompts


def quick(**options):
    return TrainingArguments(**{"epochs": 3, "batch_size": 5, **options})


def encoded(model, data, **views):
    features = encode_images_once(model, data, **views)
    return features, data.labels[features.kept]


def without_seconds(result):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result.history]


class Listener(Callback):
    def __init__(self):
        self.heard = []

    def epoch(self, row):
        self.heard.append(row)

    def end(self, result):
        self.heard.append(result)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"select": "best", "anchor": 0.0},
        {"views": 2, "augmentation": "flip", "optimizer": "sgd", "learning_rate": 0.02},
        {"class_sample": 2, "precision": "bfloat16"},
    ],
)
def test_features_at_hand_give_the_very_run_that_their_images_give(train_data, valid_data, options):
    on_images, on_features = make_model(logit_bias=-4.0), make_model(logit_bias=-4.0)
    expected = Trainer(on_images, quick(**options), train=train_data, valid=valid_data).train()
    views = {"views": 2, "augmentation": "flip"} if options.get("views") else {}
    precision = options.get("precision", "float32")
    train = encoded(on_features, train_data, precision=precision, **views)
    valid = encoded(on_features, valid_data, precision=precision)
    result = fit_prompts(on_features, *train, valid, quick(**options))
    assert without_seconds(result) == without_seconds(expected)
    assert (result.epoch, result.problems) == (expected.epoch, ())
    assert result.validation.to_dict() == expected.validation.to_dict()
    for name, value in on_images.state_dict().items():
        assert torch.equal(on_features.state_dict()[name], value), name


def test_callbacks_hear_of_every_epoch_and_of_the_end(train_data):
    model, listeners = make_model(), [Listener(), Listener()]
    result = fit_prompts(model, *encoded(model, train_data), arguments=quick(), callbacks=listeners)
    assert result.validation is None
    for listener in listeners:
        assert listener.heard == [*result.history, result]


def test_a_callback_that_changes_a_row_changes_nothing_else(train_data):
    class Meddler(Callback):
        def epoch(self, row):
            row.clear()

    model, listener = make_model(), Listener()
    result = fit_prompts(model, *encoded(model, train_data), arguments=quick(), callbacks=[Meddler(), listener])
    assert listener.heard[:3] == [*result.history]
    assert result.history[2]["epoch"] == 3


def test_no_file_is_touched(train_data, tmp_path, monkeypatch):
    model = make_model()
    features, labels = encoded(model, train_data)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("PIL.Image.open", lambda *args: pytest.fail("an image was opened"))
    fit_prompts(model, features, labels, arguments=quick())
    assert list(tmp_path.iterdir()) == []


def test_validation_without_images_is_none(train_data):
    model = make_model()
    features, labels = encoded(model, train_data)
    nothing = features.subset(np.array([], dtype=int)), labels[:0]
    result = fit_prompts(model, features, labels, nothing, quick())
    assert "valid_map" not in result.history[0]


@pytest.mark.parametrize(
    ("options", "option"),
    [({"views": 0}, "views"), ({"finetune": "pooling"}, "finetune"), ({"output_dir": "run"}, "output_dir")],
)
def test_what_needs_images_or_a_folder_is_refused(train_data, options, option):
    model = make_model()
    with pytest.raises(ConfigError, match=f"^{option} is .* region features at hand .*Trainer") as caught:
        fit_prompts(model, *encoded(model, train_data), arguments=quick(**options))
    assert caught.value.message.option == option


def test_features_and_labels_that_do_not_fit_are_refused(train_data, tmp_path):
    model = make_model()
    features, labels = encoded(model, train_data)
    with pytest.raises(ConfigError, match=r"labels of features are \(13, 3\), expected \(14, 3\)"):
        fit_prompts(model, features, labels[1:])
    with pytest.raises(ConfigError, match=r"labels of valid are \(14, 2\), expected \(14, 3\)"):
        fit_prompts(model, features, labels, (features, labels[:, 1:]))
    with pytest.raises(ConfigError, match=r"features are of 14 images in 1 view, .* needed are 14 images in 2 views"):
        fit_prompts(model, features, labels, arguments=quick(views=2, augmentation="flip"))
    with pytest.raises(ConfigError, match=r"valid are of 14 images in 1 view, 17 regions of 16, needed .* 65 regions"):
        fit_prompts(
            make_model(image_size=64),
            *encoded(make_model(image_size=64), train_data),
            (features, labels),
        )
    broken = with_unreadable(train_data, tmp_path, 3)
    with pytest.raises(ConfigError, match=r"\(14, 3\), expected \(13, 3\): a row for each image that could be read"):
        fit_prompts(model, encode_images_once(model, broken), broken.labels)


def test_what_cannot_be_learned_is_refused(train_data):
    model = make_model()
    features, labels = encoded(model, train_data)
    with pytest.raises(DataError, match="no label among them is known to be present"):
        fit_prompts(model, features, -np.abs(labels))
    with pytest.raises(ConfigError, match="no validation images to choose by"):
        fit_prompts(model, features, labels, arguments=quick(select="best"))
    with pytest.raises(ConfigError, match="class_sample is 4"):
        fit_prompts(model, features, labels, arguments=replace(quick(), class_sample=4))
    with pytest.raises(ConfigError, match="hand-crafted templates"):
        fit_prompts(make_model(prompts=TemplateConfig()), features, labels)
