"""Images as paths, PIL images and arrays, batch by batch."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dualcoop.backbones.preprocessing import SquashAndNormalise
from dualcoop.errors import ConfigError, DataError
from dualcoop.inference.images import image_batches, is_single_image, read_image
from tiny import TinyBackbone, tiny_image


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    tiny_image().save(path)
    return path


def test_all_forms_of_one_image_are_the_same_pixels(photo):
    expected = np.asarray(tiny_image())
    for form in (photo, str(photo), photo.read_bytes(), Image.open(photo), tiny_image(), expected):
        assert np.array_equal(np.asarray(read_image(form)), expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_any_image_mode_becomes_rgb(mode):
    assert read_image(tiny_image().convert(mode)).mode == "RGB"


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"shape \(4, 4, 3\) and dtype float32"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\)"),
        (np.zeros((3, 4, 4), np.uint8), r"shape \(3, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (3, "an image is of type int"),
        (None, "an image is of type NoneType"),
        (Path("nowhere/at/all.jpg"), "nowhere"),
    ],
)
def test_what_is_no_image_is_refused(image, message):
    with pytest.raises(DataError, match=message):
        read_image(image)


@pytest.mark.parametrize(
    ("images", "single"),
    [
        ("a.jpg", True),
        (b"content", True),
        (Path("a.jpg"), True),
        (Image.new("L", (2, 2)), True),
        (np.zeros((2, 2, 3), np.uint8), True),
        (np.zeros((5, 2, 2, 3), np.uint8), False),
        (["a.jpg"], False),
        ([b"content"], False),
        (np.array(["a.jpg", "b.jpg"]), False),
        (("a.jpg",), False),
    ],
)
def test_one_image_is_told_from_many(images, single):
    assert is_single_image(images) is single


def test_every_form_of_an_image_has_a_limit_of_pixels(photo):
    for form in (photo, photo.read_bytes(), tiny_image(), np.asarray(tiny_image())):
        with pytest.raises(DataError, match=r"48 x 36 = 1,728 pixels, over the limit of 1,000.* max_pixels=1728"):
            read_image(form, max_pixels=1000)
        assert read_image(form, max_pixels=1728).size == (48, 36)


def test_files_and_their_content_have_a_limit_of_bytes(photo):
    content = photo.read_bytes()
    for form in (photo, content):
        with pytest.raises(DataError, match=rf"over the limit of 7\. .* max_bytes={len(content)}"):
            read_image(form, max_bytes=7)
        assert read_image(form, max_bytes=len(content)).size == (48, 36)


def test_batches_keep_order_and_hold_the_rest_in_the_last(photo):
    images = [photo, tiny_image(1), np.asarray(tiny_image(2)), photo, photo]
    batches = list(image_batches(images, TinyBackbone().preprocess(), batch_size=2))
    assert [batch.pixels.shape for batch in batches] == [(2, 3, 32, 32), (2, 3, 32, 32), (1, 3, 32, 32)]
    assert [path for batch in batches for path in batch.paths] == [photo, None, None, photo, photo]
    assert not (batches[0].pixels[0] == batches[0].pixels[1]).all()
    assert (batches[0].pixels[0] == batches[2].pixels[0]).all()


def test_images_are_read_only_as_their_batch_is_wanted(photo):
    taken = []

    def images():
        for number in range(10):
            taken.append(number)
            yield photo

    batches = image_batches(images(), TinyBackbone().preprocess(), batch_size=3)
    next(batches)
    assert taken == [0, 1, 2]


def test_unreadable_images_are_skipped_with_their_reason(photo, tmp_path):
    empty = tmp_path / "empty.jpg"
    empty.touch()
    skipping = image_batches([photo, empty, empty], TinyBackbone().preprocess(), batch_size=2, on_error="skip")
    first, second = skipping
    assert first.pixels.shape[0] == 1
    assert first.errors[0] is None
    assert first.errors[1].where == str(empty)
    assert second.pixels is None
    with pytest.raises(DataError, match=r"empty\.jpg"):
        list(image_batches([photo, empty], TinyBackbone().preprocess(), batch_size=2))


def test_what_holds_no_images_is_refused():
    with pytest.raises(DataError, match="images are of type int, expected one image or several"):
        list(image_batches(3, TinyBackbone().preprocess(), batch_size=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 2.0}, r"batch_size is 2\.0"),
        ({"batch_size": 1, "workers": 0}, "workers is 0"),
        ({"batch_size": 1, "on_error": "ignore"}, "on_error is 'ignore', expected one of raise, skip"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        list(image_batches([], TinyBackbone().preprocess(), **options))


class Widths:
    """A transform that notes in which thread it ran."""

    def __init__(self):
        self.threads = []

    def __call__(self, image):
        self.threads.append(threading.current_thread().name)
        return torch.full((3, 2, 2), float(image.width))


class FirstIsLast(Widths):
    """One to which an image of width 48 is done after one of another width."""

    def __init__(self):
        super().__init__()
        self.another = threading.Event()

    def __call__(self, image):
        if image.width != 48:
            self.another.set()
        assert self.another.wait(60)
        return super().__call__(image)


def readers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("dualcoop-read")]


def test_threads_keep_the_order_of_images_that_are_read_at_different_speeds():
    images = [tiny_image(size=(48 + n % 4, 36)) for n in range(12)]
    batches = image_batches(images, FirstIsLast(), batch_size=5, workers=4)
    widths = torch.cat([batch.pixels[:, 0, 0, 0] for batch in batches]).tolist()
    assert widths == [48 + n % 4 for n in range(12)]


def test_of_a_list_one_batch_is_read_ahead_and_no_more():
    taken = []

    class Images(list):
        def __iter__(self):
            for image in super().__iter__():
                taken.append(image)
                yield image

    batches = image_batches(Images([tiny_image()] * 10), Widths(), batch_size=2, workers=1)
    next(batches)
    assert len(taken) == 4
    batches.close()


def test_transforms_that_need_an_order_run_in_the_callers_thread():
    transform = Widths()
    list(image_batches([tiny_image()] * 3, transform, batch_size=2, in_order=True))
    assert set(transform.threads) == {threading.current_thread().name}


@pytest.mark.parametrize("end", ["exhausted", "closed", "left by an exception", "stopped by the user"])
def test_no_thread_outlives_its_generator(end):
    batches = image_batches([tiny_image()] * 9, Widths(), batch_size=2, workers=2)
    next(batches)
    assert readers()
    if end == "exhausted":
        list(batches)
    elif end == "closed":
        batches.close()
    else:
        error = KeyboardInterrupt if end == "stopped by the user" else RuntimeError
        with pytest.raises(error):
            batches.throw(error)
    assert readers() == []


def test_a_image_that_stops_the_reading_leaves_no_thread(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jpg"):
        list(image_batches([tiny_image(), tmp_path / "nowhere.jpg"] * 4, Widths(), batch_size=2))
    assert readers() == []


def test_what_a_transform_raises_reaches_the_caller():
    def broken(image):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(image_batches([tiny_image()], broken, batch_size=1, on_error="skip"))


def test_pixels_lie_channels_last_in_memory():
    (batch,) = image_batches([tiny_image()] * 2, TinyBackbone().preprocess(), batch_size=2)
    assert batch.pixels.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("unreadable", [[], [1], [0, 4], [0, 1, 2]])
def test_pixels_written_in_place_are_those_of_images_one_by_one(unreadable, tmp_path):
    transform = SquashAndNormalise(16, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    images = [tmp_path / "nowhere.jpg" if n in unreadable else tiny_image(n) for n in range(5)]
    in_place = list(image_batches(images, transform, batch_size=3, on_error="skip"))
    # A plain function has no place to write to.
    one_by_one = list(image_batches(images, lambda image: transform(image), batch_size=3, on_error="skip"))
    for got, expected in zip(in_place, one_by_one, strict=True):
        assert got.errors == expected.errors
        if expected.pixels is None:
            assert got.pixels is None
        else:
            assert torch.equal(got.pixels, expected.pixels)
            assert got.pixels.is_contiguous(memory_format=torch.channels_last)


def test_in_place_no_image_is_made_by_itself(monkeypatch):
    monkeypatch.setattr(SquashAndNormalise, "__call__", lambda *_: pytest.fail("an image was made by itself"))
    transform = SquashAndNormalise(16, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    (batch,) = image_batches([tiny_image(1), tiny_image(2)], transform, batch_size=2)
    assert batch.pixels.shape == (2, 3, 16, 16)
