"""What is refused before anything is computed."""

from dataclasses import replace

import numpy as np
import pytest

from coloured import make_model, with_unreadable
from dualcoop import PromptConfig, TemplateConfig, Trainer
from dualcoop.data.masks import partial_label_mask
from dualcoop.errors import ConfigError, DataError, ModelError
from dualcoop.features import encode_images_once
from dualcoop.training import TrainingArguments


def refusal(kind, *, model=None, arguments=None, **data):
    with pytest.raises(kind) as caught:
        Trainer(model or make_model(), arguments or TrainingArguments(), **data)
    return str(caught.value)


def test_templates_have_nothing_to_train(train_data):
    message = refusal(ConfigError, model=make_model(prompts=TemplateConfig()), train=train_data)
    assert "hand-crafted templates, so there is nothing to train" in message


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("red", "green", "violet"), "Only in the model: blue. Only in the data: violet."),
        (("green", "red", "blue"), "Their order or spelling differs."),
        (("red", "green"), "the data's 2 classes are not the model's 3. Only in the model: blue. "),
    ],
)
@pytest.mark.parametrize("part", ["train", "valid"])
def test_other_classes_are_refused_with_what_differs(train_data, valid_data, classes, message, part):
    data = {"train": train_data, "valid": valid_data}
    data[part] = replace(data[part], classes=classes, labels=data[part].labels[:, : len(classes)])
    found = refusal(ModelError, **data)
    assert message in found
    assert "Load the data with classes=model.classes" in found


def test_many_differing_classes_are_cut_short(train_data):
    names = tuple(f"c{i}" for i in range(12))
    data = replace(train_data, classes=names, labels=np.ones((14, 12)))
    assert "c7, c8, c9 and 2 more." in refusal(ModelError, train=data)


@pytest.mark.parametrize("label", [0, -1])
def test_training_images_without_a_positive_are_refused(train_data, label):
    data = train_data.with_labels(np.full_like(train_data.labels, label))
    assert "there are 14 training images, and no label among them is known to be present" in refusal(
        DataError, train=data
    )


def test_no_training_images_are_refused(train_data):
    assert "there are 0 training images" in refusal(DataError, train=train_data.subset([]))


def test_the_best_epoch_cannot_be_chosen_without_validation_images(train_data):
    best = TrainingArguments(select="best")
    for valid in (None, train_data.subset([])):
        message = refusal(ConfigError, arguments=best, train=train_data, valid=valid)
        assert "select is 'best', but there are no validation images to choose by" in message


def test_the_best_epoch_cannot_be_chosen_without_a_validation_positive(train_data, valid_data):
    absent = valid_data.with_labels(-np.ones_like(valid_data.labels))
    message = refusal(ConfigError, arguments=TrainingArguments(select="best"), train=train_data, valid=absent)
    assert "no validation label is known as present to choose by" in message


def test_more_sampled_classes_than_classes_are_refused(train_data):
    message = refusal(ConfigError, arguments=TrainingArguments(class_sample=4), train=train_data)
    assert message == "class_sample is 4, but there are only 3 classes"


def test_all_classes_may_be_sampled(train_data):
    Trainer(make_model(), TrainingArguments(class_sample=3), train=train_data)


def test_a_mask_that_was_not_applied_is_noticed(valid_data):
    mask = partial_label_mask(valid_data, 0.5)
    assert "Train on mask.apply(data)" in refusal(DataError, train=valid_data, mask=mask)
    Trainer(make_model(), train=mask.apply(valid_data), mask=mask)


def test_a_mask_of_other_data_is_noticed(train_data, valid_data):
    mask = partial_label_mask(valid_data, 0.5)
    assert "did not go through the mask" in refusal(DataError, train=train_data, mask=mask)


def test_features_of_other_images_are_noticed(train_data, valid_data):
    features = encode_images_once(make_model(), valid_data)
    message = refusal(ConfigError, train=train_data, train_features=features)
    assert message.startswith(
        "train_features are of 10 images in 1 view, 17 regions of 16, needed are 14 images in 1 view, 17 regions of 16"
    )
    assert "valid_features" in refusal(ConfigError, train=train_data, valid_features=features)


def test_features_of_another_size_pooling_or_too_few_views_are_noticed(train_data):
    features = encode_images_once(make_model(image_size=64), train_data)
    assert "65 regions of 16" in refusal(ConfigError, train=train_data, train_features=features)
    features = encode_images_once(make_model(aggregation="attention"), train_data)
    assert "1 regions of 16" in refusal(ConfigError, train=train_data, train_features=features)
    features = encode_images_once(make_model(), train_data)
    two = TrainingArguments(views=2, augmentation="flip")
    assert "needed are 14 images in 2 views" in refusal(
        ConfigError, arguments=two, train=train_data, train_features=features
    )


def test_features_that_a_run_would_not_use_are_refused(train_data):
    features = encode_images_once(make_model(), train_data)
    for options in ({"views": 0}, {"finetune": "pooling"}):
        message = refusal(
            ConfigError, arguments=TrainingArguments(**options), train=train_data, train_features=features
        )
        assert "train_features are given, but this run encodes images anew in every epoch" in message


def test_features_with_unreadable_images_fit_their_data(train_data, tmp_path):
    data = with_unreadable(train_data, tmp_path, 3)
    features = encode_images_once(make_model(), data)
    Trainer(make_model(), train=data, train_features=features)


def test_a_source_that_is_no_json_is_refused_before_the_training_and_not_after(train_data):
    message = refusal(ModelError, train=train_data, source={"table": object()})
    assert message == "source['table'] is a object, which cannot be written as JSON"


def test_one_prompt_alone_can_be_trained(train_data):
    Trainer(make_model(prompts=PromptConfig(mode="positive")), train=train_data)
