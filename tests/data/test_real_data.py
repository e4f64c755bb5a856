"""The photographs beside the checkout load with the counts that their files give."""

import warnings

import numpy as np
import pytest

from dualcoop.data import (
    DataWarning,
    LabelMask,
    generalized_test_images,
    load_dataset,
    open_image,
    partial_label_mask,
    seen_unseen_split,
    zero_shot_test_images,
    zero_shot_training_images,
)


@pytest.fixture(scope="module")
def coco663(shared_data):
    return load_dataset(shared_data / "coco663")


def test_coco663_has_its_images_classes_and_labels(coco663):
    assert (len(coco663.train), len(coco663.test), len(coco663.classes)) == (334, 326, 80)
    assert coco663.notes == ("left out 3 images without any annotation",)
    assert coco663.problems == []
    assert coco663.classes[:3] == ("person", "bicycle", "car")
    assert coco663.train.known.all()
    assert min(coco663.train.positives.min(), coco663.test.positives.min()) >= 2


def test_coco663_divides_into_seen_and_unseen_classes(coco663):
    split = seen_unseen_split("coco-48-17")
    train = zero_shot_training_images(coco663.train, split)
    unseen = zero_shot_test_images(coco663.test, split)
    both = generalized_test_images(coco663.test, split)
    assert (len(train.classes), len(unseen.classes), len(both.classes)) == (48, 17, 65)
    assert (train.positives > 0).all()
    assert (both.labels > 0).any(axis=1).all()
    assert len(unseen) < len(both) <= len(coco663.test)


def test_a_mask_of_coco663_survives_saving(coco663, tmp_path):
    mask = partial_label_mask(coco663.train, 0.1, seed=0)
    mask.save(tmp_path / "mask")
    known = LabelMask.load(tmp_path / "mask").apply(load_dataset(coco663.source).train)
    np.testing.assert_array_equal(known.labels, mask.apply(coco663.train).labels)
    assert known.known.mean() == pytest.approx(0.1, abs=0.01)


def test_photographs_open(coco663):
    for path in coco663.test.paths[:5]:
        image = open_image(path, draft_size=224)
        assert image.mode == "RGB"
        assert min(image.size) >= 224


def test_corel5k_has_its_images_words_and_splits(shared_data):
    table = shared_data / "corel5k" / "labels.csv"
    with pytest.warns(DataWarning, match="except in 7 rows with an empty labels cell"):
        data = load_dataset(table)
    assert (len(data.train), len(data.test), len(data.classes)) == (4500, 499, 260)
    assert data.classes == tuple((shared_data / "corel5k" / "classes.txt").read_text().split())
    assert data.problems == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = load_dataset(table, unlisted="absent")
    assert whole.train.known.all()
    assert whole.train.positives.sum() == data.train.positives.sum() == 15223
