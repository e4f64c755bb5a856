"""What every model does with images, around one that needs no more than their mean colour."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from dualcoop.errors import ConfigError, DataError, ModelError
from dualcoop.inference.prediction import Prediction
from dualcoop.inference.predictor import Predictor

READABLE = [True, False, True, False, False, True]


class MeanColour(Predictor):
    """The probability of a colour is how much of it an image has."""

    classes = ("red", "green", "blue")
    image_size = 4

    def preprocessing(self):
        return lambda image: np.asarray(image, np.float32).mean(axis=(0, 1))

    def probabilities_of(self, pixels):
        return pixels / np.float32(255)

    def threshold_values(self):
        return np.full(3, 0.5, np.float32)


def plain(red, green, blue):
    return Image.new("RGB", (4, 4), (red, green, blue))


def content(image):
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def model():
    return MeanColour()


@pytest.fixture
def images():
    """Six images of which three cannot be read."""
    return [content(plain(51 * n, 0, 255)) if readable else b"broken" for n, readable in enumerate(READABLE)]


def test_content_of_a_file_is_one_image_and_has_no_path(model):
    found = model.predict(content(plain(255, 0, 51)))
    assert isinstance(found, Prediction)
    assert found.path is None
    assert found.scores == pytest.approx({"red": 1.0, "green": 0.0, "blue": 0.2})


@pytest.mark.parametrize(
    ("thresholds", "labels"),
    [
        (None, ("red",)),
        (0.1, ("red", "blue")),
        ([1.0, 0.5, 0.1], ("blue",)),
        ({"blue": 0.1}, ("red", "blue")),
    ],
)
def test_thresholds_of_a_call_decide_in_that_call_alone(model, thresholds, labels):
    image = plain(255, 0, 51)
    assert model.predict(image, thresholds=thresholds).labels == labels
    assert next(model.iter_predictions([image], thresholds=thresholds)).labels == labels
    assert model.predict(image).labels == ("red",)


def test_senseless_thresholds_are_refused(model):
    with pytest.raises(ConfigError, match=r"thresholds are \[0\.5, 0\.5\] .* expected one number, 3 numbers"):
        model.predict(plain(0, 0, 0), thresholds=[0.5, 0.5])
    with pytest.raises(ModelError, match="'pink' is none of the model's 3 classes"):
        model.predict(plain(0, 0, 0), thresholds={"pink": 0.5})


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_skipped_images_have_rows_of_nan(model, images, batch_size):
    found = model.predict_proba(images, batch_size, on_error="skip", workers=1)
    assert found.dtype == np.float32
    assert np.isfinite(found).all(axis=1).tolist() == READABLE
    assert np.isnan(found[~np.array(READABLE)]).all()
    np.testing.assert_allclose(found[READABLE][:, 0], [0, 0.4, 1], rtol=1e-6)


def test_where_nothing_can_be_read_all_is_nan(model):
    assert np.isnan(model.predict_proba([b"broken"] * 2, on_error="skip")).tolist() == [[True] * 3] * 2
    assert model.predict_proba([], on_error="skip").shape == (0, 3)


def test_what_is_wrong_with_an_image_is_kept_as_data(model, images):
    wrong = model.predict(images, on_error="skip")[1]
    assert wrong.message.what == "this is not an image that Pillow can read"
    assert wrong.error == "this is not an image that Pillow can read. Convert it to JPEG or PNG, or leave it out."


def test_limits_hold_for_every_form_of_an_image(model):
    image = plain(0, 0, 0)
    for form in (image, content(image), np.asarray(image)):
        for call in (model.predict, model.predict_proba):
            with pytest.raises(DataError, match="4 x 4 = 16 pixels, over the limit of 15"):
                call(form, max_pixels=15)
            call(form, max_pixels=16)
    for call in (model.predict, model.predict_proba):
        with pytest.raises(DataError, match="over the limit of 9"):
            call(content(image), max_bytes=9)
        assert call([image, content(image)], on_error="skip", max_bytes=9) is not None


@pytest.mark.parametrize("call", ["predict", "predict_proba"])
def test_progress_of_a_single_image_is_told(model, call):
    calls = []
    getattr(model, call)(plain(0, 0, 0), progress=lambda *done: calls.append(done))
    assert calls == [(1, 1)]


@pytest.mark.parametrize("call", ["predict", "predict_proba"])
def test_senseless_options_are_refused(model, call):
    with pytest.raises(ConfigError, match="on_error is 'hide', expected one of raise, skip"):
        getattr(model, call)([], on_error="hide")
    with pytest.raises(ConfigError, match="workers is 0"):
        getattr(model, call)([], workers=0)
