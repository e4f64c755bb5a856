import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask, label_draws, partial_label_mask
from dualcoop.errors import ConfigError, DataError

# A busy machine must not fail a test by its pace.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

names = st.lists(st.integers(0, 999).map(lambda number: f"{number}.jpg"), unique=True, min_size=1, max_size=12)
class_names = st.lists(st.text(min_size=1, max_size=5), unique=True, min_size=1, max_size=6)
seeds = st.integers(0, 2**63)


def fully_labelled(images=200, classes=50):
    matrix = np.random.default_rng(0).choice([-1, 1], (images, classes), p=[0.9, 0.1])
    return LabelledImages.from_arrays([f"{i}.jpg" for i in range(images)], matrix, [f"c{i}" for i in range(classes)])


@steady
@given(names, class_names, seeds, st.randoms(use_true_random=False))
def test_the_draw_of_a_label_does_not_depend_on_the_order_or_the_company(images, classes, seed, shuffle):
    draws = label_draws(images, classes, seed)
    rows = list(range(len(images)))
    columns = list(range(len(classes)))
    shuffle.shuffle(rows)
    shuffle.shuffle(columns)
    columns = columns[: max(1, len(columns) // 2)]
    other = label_draws([images[row] for row in rows], [classes[column] for column in columns], seed)
    np.testing.assert_array_equal(other, draws[np.ix_(rows, columns)])


@steady
@given(names, class_names, seeds, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_larger_fraction_keeps_all_that_a_smaller_one_does(images, classes, seed, one, other):
    data = LabelledImages.from_arrays(images, -np.ones((len(images), len(classes))), classes)
    small, large = (partial_label_mask(data, fraction, seed).keep for fraction in sorted((one, other)))
    assert not (small & ~large).any()


@steady
@given(names, class_names, seeds, st.floats(0.01, 1), st.data())
def test_applying_a_mask_only_takes_labels_away(images, classes, seed, fraction, source):
    size = len(images) * len(classes)
    values = source.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=size, max_size=size))
    data = LabelledImages(tuple(images), np.array(values).reshape(len(images), len(classes)), tuple(classes))
    mask = partial_label_mask(data, fraction, seed)
    masked = mask.apply(data)
    np.testing.assert_array_equal(masked.labels[mask.keep], data.labels[mask.keep])
    assert not masked.labels[~mask.keep].any()
    assert (masked.names, masked.classes) == (data.names, data.classes)


def test_the_whole_keeps_everything():
    data = fully_labelled()
    np.testing.assert_array_equal(partial_label_mask(data, 1.0).apply(data).labels, data.labels)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_present_and_absent_labels_are_kept_alike(fraction):
    data = fully_labelled()
    keep = partial_label_mask(data, fraction, seed=3).keep
    for value in (-1, 1):
        chosen = keep[data.labels == value]
        spread = (fraction * (1 - fraction) / len(chosen)) ** 0.5
        assert abs(chosen.mean() - fraction) < 4 * spread


def test_labels_of_one_image_or_class_are_kept_independently():
    keep = partial_label_mask(fully_labelled(400, 100), 0.5).keep
    assert 0.6 < keep.mean(axis=0).std() / (0.5 / 400**0.5) < 1.4
    assert 0.6 < keep.mean(axis=1).std() / (0.5 / 100**0.5) < 1.4


def test_another_seed_keeps_other_labels():
    data = fully_labelled()
    assert (partial_label_mask(data, 0.5, 0).keep != partial_label_mask(data, 0.5, 1).keep).mean() > 0.4


def test_masks_stay_the_same_between_releases():
    draws = label_draws(["a.jpg", "b.jpg"], ["dog", "café"], seed=0)
    expected = [[0.8170419633954161, 0.7992469694863661], [0.7272057024861986, 0.6398881673971435]]
    np.testing.assert_allclose(draws, expected, rtol=1e-12)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_fractions_outside_their_range_are_refused(fraction):
    with pytest.raises(ConfigError, match="known_fraction is"):
        partial_label_mask(fully_labelled(2, 2), fraction)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed is -1"):
        partial_label_mask(fully_labelled(2, 2), 0.5, seed=-1)


def test_images_of_the_same_name_are_refused():
    data = LabelledImages.from_arrays(["a.jpg", "a.jpg"], [[1], [-1]], ["dog"])
    with pytest.raises(DataError, match="two images have the same name"):
        partial_label_mask(data, 0.5)


@pytest.mark.parametrize("shape", [(7, 3), (1, 1), (16, 8)])
def test_a_saved_mask_is_loaded_as_it_was(tmp_path, shape):
    data = fully_labelled(*shape)
    mask = partial_label_mask(data, 0.5, seed=4)
    files = mask.save(tmp_path / "masks" / "half.npz")
    assert [file.name for file in files] == ["half.npz", "half.json"]
    for path in (tmp_path / "masks" / "half.npz", str(tmp_path / "masks" / "half")):
        loaded = LabelMask.load(path)
        np.testing.assert_array_equal(loaded.keep, mask.keep)
        assert (loaded.known_fraction, loaded.seed, loaded.fingerprint) == (0.5, 4, data.fingerprint())


def test_a_name_with_a_dot_is_kept(tmp_path):
    files = partial_label_mask(fully_labelled(3, 3), 0.1).save(tmp_path / "known_0.1")
    assert [file.name for file in files] == ["known_0.1.npz", "known_0.1.json"]


def test_the_description_is_readable(tmp_path):
    data = fully_labelled(7, 3)
    mask = partial_label_mask(data, 0.5, seed=4)
    description = json.loads(mask.save(tmp_path / "half")[1].read_text())
    assert description["known_fraction"] == 0.5
    assert description["seed"] == 4
    assert (description["images"], description["classes"]) == (7, 3)
    assert description["kept"] == mask.keep.sum()
    assert description["data_fingerprint"] == data.fingerprint()


def test_a_mask_takes_one_bit_for_each_label(tmp_path):
    array_file, _ = partial_label_mask(fully_labelled(1000, 80), 0.5).save(tmp_path / "half")
    assert array_file.stat().st_size < 1000 * 80 / 8 + 1000


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.subset(range(len(data) - 1)),
        lambda data: data.subset(list(reversed(range(len(data))))),
        lambda data: data.with_labels(-data.labels),
        lambda data: LabelledImages(data.paths, data.labels, tuple(reversed(data.classes))),
    ],
)
def test_a_mask_of_other_data_is_refused(change):
    data = fully_labelled(9, 4)
    mask = partial_label_mask(data, 0.5)
    with pytest.raises(DataError, match=r"9 images x 4 classes.*was drawn for other data.*draw a new mask"):
        mask.apply(change(data))


def saved(tmp_path, name, images=9):
    return partial_label_mask(fully_labelled(images, 4), 0.5).save(tmp_path / name)


def test_a_missing_half_is_named(tmp_path):
    _, text_file = saved(tmp_path, "half")
    text_file.unlink()
    with pytest.raises(DataError, match=r"half\.json: the file of the mask is missing"):
        LabelMask.load(tmp_path / "half")


def test_halves_of_two_masks_are_refused(tmp_path):
    _, text_file = saved(tmp_path, "one", images=9)
    _, other = saved(tmp_path, "two", images=10)
    shutil.copy(other, text_file)
    with pytest.raises(DataError, match=r"one\.npz: it does not belong to .*one\.json"):
        LabelMask.load(tmp_path / "one")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x93NUMPY"])
def test_a_damaged_array_is_refused(tmp_path, content):
    array_file, _ = saved(tmp_path, "half")
    array_file.write_bytes(content)
    with pytest.raises(DataError, match=r"half\.npz: the mask cannot be read"):
        LabelMask.load(tmp_path / "half")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": "many"}'])
def test_a_damaged_description_is_refused(tmp_path, text):
    _, text_file = saved(tmp_path, "half")
    text_file.write_text(text)
    with pytest.raises(DataError, match=r"half\.json: this does not describe a mask"):
        LabelMask.load(tmp_path / "half")


def test_a_later_format_is_refused(tmp_path):
    _, text_file = saved(tmp_path, "half")
    text_file.write_text(text_file.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(DataError, match="format version 2, this release reads 1"):
        LabelMask.load(tmp_path / "half")
