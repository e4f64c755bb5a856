"""The model for images and names: prediction, explanation, other classes, construction by name."""

import numpy as np
import pytest
import torch

from dualcoop.backbones.loading import registry
from dualcoop.errors import BackboneError, ConfigError, DataError, ModelError
from dualcoop.functional import probabilities
from dualcoop.inference.prediction import Prediction
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.prompts import PromptConfig, TemplateConfig
from tiny import TinyBackbone, tiny_image
from tolerances import probability_rounding, rounding

CLASSES = ("dog", "traffic_light", "skateboard", "kite")
SHARED = PromptConfig(class_specific=False)
SAME = probability_rounding(terms=3 * 8 * 8, layers=11, logit_scale=100.0, regions=17)
"""Between two computations of a probability: three products for an image and eight for words, in float32."""


@pytest.fixture
def model():
    return DualCoOp(TinyBackbone(), CLASSES)


@pytest.fixture
def photos(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        tiny_image(number).save(path)
    return paths


@pytest.fixture
def photos_and_one_broken(photos):
    photos[2].write_bytes(photos[2].read_bytes()[:40])
    return photos


def test_new_model_by_name_loads_the_backbone_of_that_name(monkeypatch):
    asked = []

    def create_backbone(name, *, device):
        asked.append((name, str(device)))
        return TinyBackbone(name=name)

    monkeypatch.setattr(registry, "create_backbone", create_backbone)
    model = DualCoOp.from_pretrained("RN50", CLASSES, device="cpu", image_size=64, aggregation="average")
    assert asked == [("RN50", "cpu")]
    assert (model.classes, model.image_size, model.aggregation) == (CLASSES, 64, "average")


@pytest.mark.parametrize("name", ["lite", "RN50/openai", "ViT-B/32", "some words"])
def test_new_model_without_classes_says_that_it_needs_them(name):
    with pytest.raises(ConfigError, match=r"is not a saved model\. Name the classes"):
        DualCoOp.from_pretrained(name)


def test_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="holds no saved model"):
        DualCoOp.from_pretrained(tmp_path)


def test_unknown_backbone_is_refused_by_its_own_error():
    with pytest.raises(BackboneError, match="no such thing"):
        DualCoOp.from_pretrained("no such thing", CLASSES)


def test_one_image_in_one_prediction_out_and_a_list_for_a_list(model, photos):
    single = model.predict(photos[0])
    assert isinstance(single, Prediction)
    assert model.predict([photos[0]]) == [single]
    assert model.predict(iter(photos[:1])) == [single]
    assert model.predict([]) == []
    assert isinstance(model.predict(np.asarray(tiny_image())), Prediction)
    assert len(model.predict(np.stack([np.asarray(tiny_image(n)) for n in range(3)]))) == 3


def test_predictions_do_not_depend_on_the_batch_size(model, photos):
    together, singly = model.predict(photos, 8), model.predict(photos, 1)
    assert [p.path for p in together] == photos
    for one, other in zip(together, singly, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=SAME)


def test_scores_are_the_probabilities_of_the_logits(model, photos):
    pixels = torch.stack([model.backbone.preprocess()(tiny_image(n)) for n in range(5)])
    with torch.no_grad():
        expected = probabilities(model(pixels)).numpy()
    scores = model.predict_proba(photos, batch_size=2)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, rtol=0, atol=SAME)
    assert list(model.predict(photos[3]).scores.values()) == pytest.approx(expected[3].tolist(), abs=SAME)
    assert model.predict_proba(photos[0]).shape == (1, 4)
    assert model.predict_proba([]).shape == (0, 4)


def test_decisions_follow_the_models_thresholds(model, photos):
    scores = model.predict(photos[0]).scores
    model.set_thresholds({"dog": scores["dog"] - SAME, "kite": scores["kite"] + SAME})
    decisions = model.predict(photos[0]).decisions
    assert decisions["dog"]
    assert not decisions["kite"]


@pytest.mark.parametrize(("aggregation", "count"), [("softmax", 17), ("attention", 1)])
def test_encoded_images_give_the_same_logits_later(model, photos, aggregation, count):
    model.aggregation = aggregation
    regions = model.encode_images(photos, batch_size=2)
    assert regions.shape == (5, count, 16)
    assert not regions.requires_grad
    scores = probabilities(model.logits_from_regions(regions))
    np.testing.assert_allclose(scores.detach().numpy(), model.predict_proba(photos), rtol=0, atol=SAME)
    scores.sum().backward()
    assert model.prompts.positive_context.grad is not None
    assert model.encode_images([]).shape == (0, count, 16)


def test_larger_input_gives_more_regions(photos):
    model = DualCoOp(TinyBackbone(), CLASSES, image_size=64)
    assert model.encode_images(photos[:1]).shape == (1, 65, 16)
    assert model.explain(photos[0], "dog").shape == (8, 8)


def test_progress_counts_images_and_knows_their_number(model, photos):
    calls = []
    model.predict(photos, 2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(2, 5), (4, 5), (5, 5)]
    calls.clear()
    model.predict_proba(iter(photos), 3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(3, None), (5, None)]


def test_predictions_come_while_later_images_are_still_unread(model, photos):
    taken = []

    def images():
        for path in photos:
            taken.append(path)
            yield path

    stream = model.iter_predictions(images(), 2)
    assert next(stream).path == photos[0]
    assert taken == photos[:2]


def test_unreadable_image_stops_by_default_and_is_named(model, photos_and_one_broken):
    for call in (model.predict, model.predict_proba, model.encode_images):
        with pytest.raises(DataError, match=r"2\.png"):
            call(photos_and_one_broken)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_skipped_image_keeps_its_place_and_the_others_their_scores(model, photos_and_one_broken, batch_size):
    predictions = model.predict(photos_and_one_broken, batch_size, on_error="skip")
    assert [p.path for p in predictions] == photos_and_one_broken
    assert [p.error is None for p in predictions] == [True, True, False, True, True]
    assert "2.png" in predictions[2].error
    assert predictions[3].scores == pytest.approx(model.predict(photos_and_one_broken[3]).scores, abs=SAME)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_features_of_a_skipped_image_are_nan(model, photos_and_one_broken, batch_size):
    readable = [True, True, False, True, True]
    found = model.encode_images(photos_and_one_broken, batch_size, on_error="skip", workers=2)
    assert found.isfinite().all(dim=(1, 2)).tolist() == readable
    assert found[2].isnan().all()
    others = [path for path, there in zip(photos_and_one_broken, readable, strict=True) if there]
    torch.testing.assert_close(found[readable], model.encode_images(others, batch_size))
    assert model.encode_images([b"broken"], on_error="skip").shape == found[:1].shape


def test_explanation_is_the_softmax_of_the_grid_without_the_global_region(model, photos):
    with torch.no_grad():
        regions = model.encode_images(photos[:1])[0]
        similarities = 20 * regions @ model.text_features()["positive"][1]
    weights = torch.softmax(similarities, dim=0)[1:]
    expected = (weights / weights.sum()).reshape(4, 4).numpy()
    found = model.explain(photos[0], "traffic light")
    assert found.dtype == np.float32
    # A similarity that is off by an error moves the weight, its exponential, by 20 times that.
    bound = 20 * rounding(torch.float32, terms=3 * 8 * 8, layers=11)
    np.testing.assert_allclose(found, expected, rtol=bound)
    assert float(found.sum()) == pytest.approx(1, abs=rounding(torch.float32, terms=16))


@pytest.mark.parametrize("aggregation", ["average", "maximum", "attention"])
def test_explanation_does_not_depend_on_the_aggregation(model, aggregation):
    other = DualCoOp(model.backbone, CLASSES, aggregation=aggregation)
    np.testing.assert_array_equal(other.explain(tiny_image(), "dog"), model.explain(tiny_image(), "dog"))


def test_explanation_of_negative_prompts_alone_uses_them():
    model = DualCoOp(TinyBackbone(), CLASSES, PromptConfig(mode="negative"))
    assert model.explain(tiny_image(), "dog").shape == (4, 4)


def test_explaining_an_unknown_label_suggests_near_ones(model):
    with pytest.raises(ModelError, match="'skatebord' is none of the model's 4 classes; near it are 'skateboard'"):
        model.explain(tiny_image(), "skatebord")


def test_shared_prompts_carry_over_to_new_names(photos):
    model = DualCoOp(TinyBackbone(), CLASSES, SHARED)
    with torch.no_grad():
        model.prompts.positive_context.normal_(generator=torch.Generator().manual_seed(1))
    other = model.with_classes(["zebra", "kite"])
    assert other.classes == ("zebra", "kite")
    assert other.backbone is model.backbone
    assert torch.equal(other.prompts.positive_context, model.prompts.positive_context)
    old, new = model.predict(photos[0]).scores, other.predict(photos[0]).scores
    assert new["kite"] == pytest.approx(old["kite"], abs=SAME)
    with torch.no_grad():
        other.prompts.positive_context.zero_()
    assert model.predict(photos[0]).scores == old


def test_class_specific_prompts_follow_known_names_in_any_order(photos):
    model = DualCoOp(TinyBackbone(), CLASSES)
    with torch.no_grad():
        model.prompts.positive_context.normal_(generator=torch.Generator().manual_seed(1))
    other = model.with_classes(["kite", "traffic light"])
    old, new = model.predict(photos[0]).scores, other.predict(photos[0]).scores
    assert new["kite"] == pytest.approx(old["kite"], abs=SAME)
    assert new["traffic light"] == pytest.approx(old["traffic_light"], abs=SAME)


def test_class_specific_prompts_refuse_new_names(model):
    with pytest.raises(ModelError, match=r"nothing of 'zebra'; only prompts shared .*class_specific=False"):
        model.with_classes(["kite", "zebra"])


def test_templates_serve_any_names():
    model = DualCoOp(TinyBackbone(), CLASSES, TemplateConfig("a {}", None))
    expected = DualCoOp(TinyBackbone(), ["zebra"], TemplateConfig("a {}", None))
    assert model.with_classes(["zebra"]).predict(tiny_image()) == expected.predict(tiny_image())


def test_thresholds_carry_over_by_name_and_new_names_get_the_median():
    model = DualCoOp(TinyBackbone(), CLASSES, SHARED)
    model.set_thresholds([0.1, 0.2, 0.4, 0.9])
    other = model.with_classes(["traffic light", "zebra", "kite"])
    assert other.thresholds.tolist() == pytest.approx([0.2, 0.3, 0.9])


def test_new_names_keep_everything_else_of_the_model():
    model = DualCoOp(
        TinyBackbone(),
        CLASSES,
        SHARED,
        aggregation="maximum",
        image_size=64,
        spatial_scale=3,
        logit_scale=5,
        logit_bias=-1,
    )
    model.training_record = {"training": {"epochs": 3}}
    model.unfreeze_backbone("image_projection.bias")
    other = model.with_classes(["zebra"])
    for name in ("aggregation", "image_size", "spatial_scale", "logit_scale", "logit_bias", "backbone_delta"):
        assert getattr(other, name) == getattr(model, name)
    assert other.backbone_fingerprint() == model.backbone_fingerprint()
    assert other.training_record == model.training_record
    assert other.training_record["training"] is not model.training_record["training"]


def test_the_head_computes_in_float32_under_autocast(model, photos):
    with torch.autocast("cpu", torch.bfloat16):
        regions = model.encode_images(photos)
        scores = model.predict_proba(photos)
    expected = probabilities(model.logits_from_regions(regions.float())).detach().numpy()
    np.testing.assert_allclose(scores, expected, rtol=0, atol=SAME)


def test_scores_do_not_depend_on_the_number_of_reading_threads(model, photos):
    assert model.predict(photos, 2, workers=1) == model.predict(photos, 2, workers=4)
