import numpy as np
import pytest
import torch
from PIL import Image

from dualcoop.errors import ConfigError, DataError, ModelError
from dualcoop.explain import draw_heat_maps, heat_maps, overlay, save_heat_maps, upsampled
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.methods.linear import Linear
from tiny import TinyBackbone, tiny_image
from tolerances import probability_rounding, rounding

CLASSES = ("dog", "traffic_light", "kite")


@pytest.fixture(scope="module")
def model():
    return DualCoOp(TinyBackbone(), CLASSES)


@pytest.fixture(scope="module")
def image():
    return tiny_image(3, (60, 40))


def test_maps_carry_the_models_scores_decisions_and_weights(model, image):
    prediction = model.predict(image)
    maps = heat_maps(model, image, ["kite", "traffic light"])
    assert [each.label for each in maps] == ["kite", "traffic_light"]
    for each in maps:
        bound = probability_rounding(terms=77, layers=8, logit_scale=model.logit_scale, regions=17)
        assert each.score == pytest.approx(prediction.scores[each.label], rel=0, abs=bound)
        assert each.present is prediction.decisions[each.label]
        # A softmax over 16 regions of a cosine of 16 numbers, times 20.
        bound = 20 * rounding(torch.float32, terms=16)
        np.testing.assert_allclose(each.weights, model.explain(image, each.label), rtol=bound)


@pytest.mark.parametrize(("aggregation", "encoded"), [("softmax", ["regions"]), ("attention", ["regions", "pooled"])])
def test_the_image_is_encoded_once_for_all_labels(image, monkeypatch, aggregation, encoded):
    model = DualCoOp(TinyBackbone(), CLASSES, aggregation=aggregation)
    calls = []
    for name in ("regions", "pooled"):
        encode = getattr(model.backbone, f"encode_{name}")
        listened = lambda *inputs, name=name, encode=encode: calls.append(name) or encode(*inputs)  # noqa: E731
        monkeypatch.setattr(model.backbone, f"encode_{name}", listened)
    scores = [each.score for each in heat_maps(model, image, CLASSES)]
    assert calls == encoded
    assert scores == pytest.approx(list(model.predict(image).scores.values()), abs=1e-5)


def test_a_method_that_weighs_no_regions_is_refused(image):
    with pytest.raises(ModelError, match="'linear' weighs no regions"):
        heat_maps(Linear(TinyBackbone(), CLASSES), image, ["dog"])


def test_a_label_is_explained_once(model, image):
    assert [each.label for each in heat_maps(model, image, ["dog", "kite", "dog"])] == ["dog", "kite"]


def test_unknown_labels_and_no_labels_are_refused(model, image):
    with pytest.raises(ModelError, match="'cat' is none of the model's 3 classes"):
        heat_maps(model, image, ["cat"])
    with pytest.raises(ConfigError, match="at least one label"):
        heat_maps(model, image, [])


def test_upsampled_weights_keep_place_and_range():
    weights = np.zeros((4, 4), dtype=np.float32)
    weights[0, 3] = 0.7
    large = upsampled(weights, (80, 40))
    assert large.shape == (40, 80)
    assert large.min() >= 0
    assert large.max() == pytest.approx(0.7, abs=1e-6)
    row, column = np.unravel_index(large.argmax(), large.shape)
    assert row < 10
    assert column >= 60


def test_equal_weights_stay_equal():
    np.testing.assert_allclose(upsampled(np.full((3, 5), 0.2, dtype=np.float32), (50, 30)), 0.2, rtol=1e-5)


def test_overlay_leaves_the_image_where_the_weight_is_zero(image):
    weights = np.zeros((4, 4), dtype=np.float32)
    weights[3, 0] = 1
    heated = overlay(image, weights)
    assert heated.size == image.size
    before, after = np.asarray(image, dtype=int), np.asarray(heated, dtype=int)
    np.testing.assert_array_equal(after[:15, 40:], before[:15, 40:])
    assert np.abs(after[-8:, :8] - before[-8:, :8]).mean() > 20


def test_overlay_of_no_weight_at_all_is_the_image(image):
    heated = overlay(image, np.zeros((2, 2), dtype=np.float32))
    np.testing.assert_array_equal(np.asarray(heated), np.asarray(image))


@pytest.mark.parametrize(("labels", "rows"), [(1, 1), (3, 1), (5, 2)])
def test_figure_has_the_image_a_panel_for_each_label_and_colour_bars(image, labels, rows):
    names = [f"class {letter}" for letter in "abcde"[:labels]]
    maps = heat_maps(DualCoOp(TinyBackbone(), names), image, names)
    figure = draw_heat_maps(image, maps)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["image", *(each.title for each in maps)]
    bars = [bar for axes in figure.axes for bar in axes.child_axes]
    assert len(bars) == labels
    assert all(bar.get_ylim()[1] == pytest.approx(each.weights.max()) for bar, each in zip(bars, maps, strict=True))
    heights = {round(axes.get_subplotspec().get_gridspec().nrows) for axes in figure.axes[:1]}
    assert heights == {rows}


def test_png_is_written_with_its_folder(model, image, tmp_path):
    path = save_heat_maps(tmp_path / "new" / "heat.png", image, heat_maps(model, image, ["dog"]))
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width > image.height


@pytest.mark.parametrize("name", ["heat.xyz", "file.txt/heat.png"])
def test_a_file_that_cannot_be_written_is_named(model, image, tmp_path, name):
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(DataError, match="the heat map cannot be written"):
        save_heat_maps(tmp_path / name, image, heat_maps(model, image, ["dog"]))
