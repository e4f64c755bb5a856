"""Options of a run: what is refused, in which words, and what the recipes say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dualcoop.errors import ConfigError
from dualcoop.training import TrainingArguments

WHOLE = "expected a whole number of at least"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"output_dir": 3}, "output_dir is 3, expected a folder"),
        ({"cache_dir": 3}, "cache_dir is 3, expected a folder"),
        ({"cache_size": 0}, "cache_size is 0, expected a number above 0"),
        ({"feature_precision": "int4"}, "feature_precision is 'int4', expected one of float16, int8"),
        ({"epochs": -1}, f"epochs is -1, {WHOLE} 0"),
        ({"epochs": 2.0}, f"epochs is 2.0, {WHOLE} 0"),
        ({"epochs": True}, f"epochs is True, {WHOLE} 0"),
        ({"batch_size": 0}, f"batch_size is 0, {WHOLE} 1"),
        ({"batch_size": "32"}, f"batch_size is '32', {WHOLE} 1"),
        ({"optimizer": "adam"}, "optimizer is 'adam', expected one of adamw, sgd"),
        ({"learning_rate": 0}, "learning_rate is 0, expected a number above 0"),
        ({"learning_rate": "high"}, "learning_rate is 'high', expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a number above 0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf, expected a number above 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, expected a number of at least 0"),
        ({"momentum": 1}, "momentum is 1, expected a number of at least 0 and under 1"),
        ({"momentum": -0.5}, "momentum is -0.5, expected a number of at least 0 and under 1"),
        ({"warmup_epochs": 0.5}, f"warmup_epochs is 0.5, {WHOLE} 0"),
        ({"warmup_learning_rate": -1}, "warmup_learning_rate is -1, expected a number of at least 0"),
        ({"loss": "sum"}, "loss is 'sum', expected one of asymmetric"),
        ({"loss": "published"}, "loss is 'published', which is how it is summed up. Give reduction='published'."),
        ({"reduction": "sum"}, "reduction is 'sum', expected one of normalised, published"),
        (
            {"report_to": ("wandb", "paper")},
            "report_to is ('wandb', 'paper'), expected some of trackio, tensorboard, mlflow, wandb",
        ),
        ({"report_to": "wandb"}, "report_to is 'wandb', expected some of"),
        ({"loss_weight": 0.0}, "loss_weight is 0.0, expected a number above 0"),
        ({"gamma_positive": -1}, "gamma_positive is -1, expected a number of at least 0"),
        ({"gamma_negative": None}, "gamma_negative is None, expected a number of at least 0"),
        ({"margin": 1.0}, "margin is 1.0, expected a number of at least 0 and under 1"),
        ({"anchor": -2}, "anchor is -2, expected a number of at least 0"),
        ({"class_prior": 1}, "class_prior is 1, expected True or False"),
        ({"views": -1}, f"views is -1, {WHOLE} 0"),
        ({"augmentation": "mixup"}, "augmentation is 'mixup', expected one of none, flip, crop, published"),
        (
            {"views": 2},
            "without augmentation all would be the same. Give augmentation='flip', augmentation='crop', augmen",
        ),
        ({"views": 3}, "all would be the same. Give augmentation='crop', augmentation='published' or views=1."),
        ({"views": 3, "augmentation": "flip"}, "Give views=2, augmentation='crop' or augmentation='published'."),
        ({"augmentation": "flip"}, "the only view is the plain image. Give views=2 or more or views=0 to"),
        ({"augmentation": "crop"}, "augmentation is 'crop', but the only view is the plain image"),
        ({"finetune": "all"}, "finetune is 'all', expected one of none, pooling, backbone"),
        (
            {"finetune": "pooling", "views": 2, "augmentation": "flip"},
            "features that are encoded once do not follow an image tower in training. Give views=0",
        ),
        ({"backbone_learning_rate": 0}, "backbone_learning_rate is 0, expected a number above 0"),
        ({"class_sample": 0}, f"class_sample is 0, {WHOLE} 1"),
        ({"select": "first"}, "select is 'first', expected one of last, best"),
        ({"select": ["best"]}, r"select is ['best'], expected one of last, best"),
        ({"patience": 0, "select": "best"}, f"patience is 0, {WHOLE} 1"),
        ({"patience": 3}, "Give select='best' or leave patience out"),
        ({"fit_thresholds": "no"}, "fit_thresholds is 'no', expected True or False"),
        ({"checkpoint_every": 0}, f"checkpoint_every is 0, {WHOLE} 1"),
        ({"resume": 1, "output_dir": "out"}, "resume is 1, expected True or False"),
        ({"resume": True}, "resume needs the output_dir of the run to go on with"),
        ({"strict": None}, "strict is None, expected True or False"),
        ({"seed": -1}, f"seed is -1, {WHOLE} 0"),
        ({"precision": "float16"}, "precision is 'float16', expected one of float32, bfloat16"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(values, message):
    with pytest.raises(ConfigError) as caught:
        TrainingArguments(**values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 0},
        {"views": 0, "augmentation": "none"},
        {"views": 0, "augmentation": "flip"},
        {"views": 2, "augmentation": "flip"},
        {"views": 5, "augmentation": "published"},
        {"views": 5, "augmentation": "crop"},
        {"views": 0, "augmentation": "crop"},
        {"finetune": "backbone", "views": 0, "augmentation": "published"},
        {"finetune": "pooling"},
        {"select": "best", "patience": 1},
        {"weight_decay": 1},
        {"momentum": 0},
        {"margin": 0},
    ],
)
def test_values_at_the_edge_of_sense_are_taken(values):
    arguments = TrainingArguments(**values)
    assert {name: getattr(arguments, name) for name in values} == values


def test_a_folder_given_as_text_becomes_a_path():
    assert TrainingArguments(output_dir="out").output_dir == Path("out")
    assert TrainingArguments(cache_dir="cache").cache_dir == Path("cache")


def test_default_loss_weights_are_equal_at_the_published_setting():
    """COCO: batch 32, 80 classes, half of the labels known, so 1280 known pairs a step."""
    normalised = TrainingArguments().effective_loss_weight
    published = TrainingArguments(reduction="published").effective_loss_weight
    assert published == 0.03
    assert normalised == pytest.approx(published * 1280)


def test_a_loss_weight_given_is_used_as_it_is():
    assert TrainingArguments(loss_weight=2.5).effective_loss_weight == 2.5


@pytest.mark.parametrize(("images", "expected"), [(1, 32), (512, 32), (513, 33), (4500, 282), (82000, 512)])
def test_batch_size_left_open_gives_about_16_steps(images, expected):
    assert TrainingArguments().images_per_step(images) == expected


def test_batch_size_given_is_used_whatever_the_number_of_images():
    assert TrainingArguments(batch_size=8).images_per_step(82000) == 8


def test_the_published_recipe_is_the_papers():
    recipe = TrainingArguments.published()
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (50, 32, 0.002)
    assert (recipe.warmup_epochs, recipe.warmup_learning_rate) == (1, 1e-5)
    assert (recipe.loss, recipe.reduction, recipe.loss_weight) == ("asymmetric", "published", 0.03)
    assert (recipe.gamma_positive, recipe.gamma_negative, recipe.margin) == (1, 2, 0.05)
    assert (recipe.anchor, recipe.class_prior) == (0, False)
    assert (recipe.views, recipe.augmentation, recipe.finetune) == (0, "published", "none")


def test_the_published_recipe_has_variants_and_takes_changes():
    voc = TrainingArguments.published(voc=True)
    assert (voc.learning_rate, voc.batch_size) == (0.001, 8)
    zero_shot = TrainingArguments.published(zero_shot=True, class_sample=100)
    assert (zero_shot.loss_weight, zero_shot.class_sample) == (0.01, 100)


def test_arguments_survive_json():
    arguments = TrainingArguments(
        output_dir="out",
        cache_dir="cache",
        views=4,
        augmentation="published",
        loss_weight=0.1,
        seed=5,
        report_to=("mlflow",),
    )
    assert TrainingArguments.from_dict(json.loads(json.dumps(arguments.to_dict()))) == arguments


@pytest.mark.parametrize("reduction", ["normalised", "published"])
def test_a_record_in_which_the_loss_names_the_reduction_is_read(reduction):
    values = {**TrainingArguments().to_dict(), "loss": reduction}
    del values["reduction"]
    assert TrainingArguments.from_dict(values) == TrainingArguments(reduction=reduction)


def test_unknown_options_are_named_with_the_known_ones():
    values = {**TrainingArguments().to_dict(), "lr": 0.1}
    with pytest.raises(ConfigError, match=r"unknown training options: lr; known are .*learning_rate"):
        TrainingArguments.from_dict(values)


def test_a_damaged_record_is_refused_like_any_bad_value():
    with pytest.raises(ConfigError, match="epochs is None"):
        TrainingArguments.from_dict({**TrainingArguments().to_dict(), "epochs": None})


def test_changes_are_checked_too():
    with pytest.raises(ConfigError, match="views is 3"):
        replace(TrainingArguments(), views=3)
