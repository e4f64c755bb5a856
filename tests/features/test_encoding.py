"""Features encoded once: what is in them, where they lie, and what happens to images that cannot be read."""

from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from coloured import CLASSES, make_model, with_unreadable
from dualcoop.data.images import open_image
from dualcoop.data.labels import LabelledImages
from dualcoop.errors import DataError
from dualcoop.features import encode_images_once, encoding, store
from dualcoop.methods.dualcoop import DualCoOp

HALF = {"rtol": 0, "atol": torch.finfo(torch.float16).eps}
"""Features of unit length are kept in float16: where two computations lie on two sides of it, a step of that apart."""


@pytest.fixture(scope="module")
def model() -> DualCoOp:
    return make_model()


@pytest.fixture
def encoded_images(model: DualCoOp, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of images that went through the image tower, call by call."""
    calls = []
    encode = model.backbone.encode_regions

    def counted(images: torch.Tensor, **options: bool) -> torch.Tensor:
        calls.append(len(images))
        return encode(images, **options)

    monkeypatch.setattr(model.backbone, "encode_regions", counted)
    return calls


def test_one_view_is_what_the_model_encodes(model, train_data):
    encoded = encode_images_once(model, train_data)
    expected = model.encode_images(train_data.paths)
    assert (len(encoded), encoded.images, encoded.views) == (14, 14, 1)
    assert encoded.region_shape == tuple(expected.shape[1:])
    assert encoded.kept.tolist() == list(range(14))
    assert encoded.problems == ()
    batch = encoded.batch(np.array([3, 0]))
    assert batch.dtype == torch.float32
    torch.testing.assert_close(batch, expected[[3, 0]], **HALF)


def test_attention_pooling_gives_one_region(train_data):
    model = make_model(aggregation="attention")
    encoded = encode_images_once(model, train_data)
    assert encoded.region_shape == (1, 16)
    torch.testing.assert_close(encoded.batch(np.arange(14)), model.encode_images(train_data.paths), **HALF)


def test_every_view_of_every_image_is_encoded_once(model, train_data, encoded_images):
    encode_images_once(model, train_data, views=3, augmentation="published")
    assert sum(encoded_images) == 3 * 14


def test_every_image_is_read_once_however_many_views(model, train_data, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "dualcoop.inference.images.read_image",
        lambda path, **options: opened.append(path) or open_image(path, **options),
    )
    encode_images_once(model, train_data, views=3, augmentation="published")
    assert opened == list(train_data.paths)


def test_the_first_view_is_plain_and_the_flipped_one_is_the_mirror_image(model, train_data):
    encoded = encode_images_once(model, train_data, views=2, augmentation="flip")
    plain = encoded.batch(np.arange(14), 0)
    torch.testing.assert_close(plain, model.encode_images(train_data.paths), **HALF)
    images = [
        open_image(path).transpose(method=0)  # FLIP_LEFT_RIGHT
        for path in train_data.paths
    ]
    torch.testing.assert_close(encoded.batch(np.arange(14), 1), model.encode_images(images), **HALF)


@pytest.mark.parametrize("augmentation", ["crop", "published"])
def test_random_views_differ_and_depend_on_the_seed_alone(model, train_data, augmentation):
    def views(seed: int) -> torch.Tensor:
        encoded = encode_images_once(model, train_data, views=3, augmentation=augmentation, seed=seed)
        return torch.stack([encoded.batch(np.arange(14), view) for view in range(3)])

    first = views(0)
    torch.manual_seed(1234)
    assert torch.equal(views(0), first)
    other = views(1)
    assert torch.equal(other[0], first[0])
    assert not torch.equal(other[1], first[1])
    assert not torch.equal(first[1], first[2])


def test_encoding_leaves_the_global_random_numbers_alone(model, train_data):
    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    encode_images_once(model, train_data, views=2, augmentation="published")
    assert torch.equal(torch.rand(2), expected)


def test_large_features_lie_in_a_file_with_the_same_values_that_leaves_nothing_behind(
    model, train_data, tmp_path, monkeypatch
):
    data = with_unreadable(train_data, tmp_path / "broken", 2)
    in_memory = encode_images_once(model, data)
    monkeypatch.setattr(store, "MEMORY_BYTES", 100)
    in_file = encode_images_once(model, data, folder=tmp_path / "new")
    # An image that is missing must not draw the file into memory.
    assert isinstance(in_file.blocks[0], np.memmap)
    assert not isinstance(in_memory.blocks[0], np.memmap)
    rows = np.arange(13)
    assert torch.equal(in_file.batch(rows), in_memory.batch(rows))
    assert (in_file.global_regions() == in_memory.global_regions()).all()
    assert list((tmp_path / "new").iterdir()) == []


def test_too_little_room_for_the_file_is_said_before_it_is_written(model, train_data, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MEMORY_BYTES", 100)
    usage = namedtuple("usage", "total used free")(10**6, 10**6, 50)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(DataError, match=r"features of 14 views .* GiB free\. Make room, .* or .* with views=0"):
        encode_images_once(model, train_data, folder=tmp_path)


@pytest.mark.parametrize("views", [1, 2])
def test_unreadable_images_are_left_out_and_named(model, train_data, tmp_path, views):
    data = with_unreadable(train_data, tmp_path, 0, 5)
    augmentation = "none" if views == 1 else "flip"
    encoded = encode_images_once(model, data, views=views, augmentation=augmentation)
    assert encoded.kept.tolist() == [i for i in range(14) if i not in (0, 5)]
    assert (len(encoded), encoded.images) == (12, 14)
    whole = encode_images_once(model, train_data, views=views, augmentation=augmentation)
    for view in range(views):
        rows = np.arange(12)
        torch.testing.assert_close(encoded.batch(rows, view), whole.batch(encoded.kept, view), **HALF)
    first, second = encoded.problems
    broken = tmp_path / "broken-0.png"
    assert str(first) == (
        f"{broken}: this is not an image that Pillow can read. Convert it to JPEG or PNG, or leave it out. "
        "The image was left out."
    )
    assert second.path == str(tmp_path / "broken-5.png")


def test_strict_stops_at_the_first_unreadable_image(model, train_data, tmp_path):
    data = with_unreadable(train_data, tmp_path, 3, 5)
    with pytest.raises(DataError, match="broken-3"):
        encode_images_once(model, data, strict=True)


def test_no_readable_image_gives_no_features(model, train_data, tmp_path):
    encoded = encode_images_once(model, with_unreadable(train_data, tmp_path, *range(14)))
    assert (len(encoded), encoded.images, len(encoded.problems)) == (0, 14, 14)


def test_progress_counts_views_of_all_images_readable_or_not(model, train_data, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "READ_AT_ONCE", 10)
    heard = []
    data = with_unreadable(train_data, tmp_path, 0)
    encode_images_once(
        model, data, views=2, augmentation="flip", progress=lambda done, total: heard.append((done, total))
    )
    assert heard == [(10, 28), (20, 28), (28, 28)]


def test_low_precision_stays_near_full_precision(model, train_data):
    full = encode_images_once(model, train_data).batch(np.arange(14))
    low = encode_images_once(model, train_data, precision="bfloat16").batch(np.arange(14))
    assert not torch.equal(low, full)
    assert torch.nn.functional.cosine_similarity(low, full, dim=-1).min() > 0.999


def test_readable_images_are_found_without_encoding(model, train_data, tmp_path, encoded_images):
    data = with_unreadable(train_data, tmp_path, 2)
    kept, problems = encoding.readable_images(data, 32)
    assert kept.tolist() == [i for i in range(14) if i != 2]
    assert [problem.path for problem in problems] == [str(tmp_path / "broken-2.png")]
    assert encoded_images == []
    with pytest.raises(DataError, match="broken-2"):
        encoding.readable_images(data, 32, strict=True)


def test_no_images_give_no_features(model):
    empty = LabelledImages((), np.zeros((0, 3)), CLASSES, Path())
    assert len(encode_images_once(model, empty)) == 0
