"""Writing one ONNX file: parity with the model for every kind of tower, what stands in it, what is refused."""

import numpy as np
import onnx
import pytest
import torch

from backbones.tiny_models import CONFIGS
from dualcoop.errors import BackboneError, ConfigError, DataError, ModelError
from dualcoop.export import OnnxTagger, onnx_file
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.prompts import PromptConfig
from export.conftest import CLASSES, tiny_tagger
from tolerances import probability_rounding

OTHER_SIZE = 96
# Between two computations of a probability through any of the tiny towers.
SAME = probability_rounding(terms=768, layers=25, logit_scale=3.0, regions=37)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_supported_tower_gives_the_models_probabilities(family, photographs, tmp_path):
    model = tiny_tagger(family)
    model.export_onnx(tmp_path / "tagger.onnx")
    found = OnnxTagger(tmp_path / "tagger.onnx").predict_proba(photographs)
    np.testing.assert_allclose(found, model.predict_proba(photographs), rtol=0, atol=SAME)


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("clip_resnet", {"aggregation": "maximum"}),
        ("clip_resnet", {"aggregation": "attention", "image_size": OTHER_SIZE}),
        ("vit", {"aggregation": "average", "image_size": OTHER_SIZE}),
        ("siglip", {"prompts": PromptConfig(mode="positive"), "image_size": OTHER_SIZE}),
        ("clip_resnet", {"prompts": PromptConfig(mode="negative")}),
    ],
)
def test_every_head_and_other_sizes_give_the_models_probabilities(family, options, photographs, tmp_path):
    model = tiny_tagger(family, **options)
    model.export_onnx(tmp_path / "tagger.onnx")
    found = OnnxTagger(tmp_path / "tagger.onnx").predict_proba(photographs)
    np.testing.assert_allclose(found, model.predict_proba(photographs), rtol=0, atol=SAME)


def test_lite_gives_the_models_predictions_on_photographs(photographs, tmp_path):
    model = DualCoOp.zero_shot("lite", ["castle", "fish", "wave", "guitar"], device="cpu")
    result = model.export_onnx(tmp_path / "tagger.onnx")
    assert result.size == (tmp_path / "tagger.onnx").stat().st_size
    assert result.max_difference < 1e-3
    tagger = OnnxTagger(tmp_path / "tagger.onnx")
    for found, expected in zip(tagger.predict(photographs), model.predict(photographs), strict=True):
        assert found.scores == pytest.approx(expected.scores, abs=1e-3)
        assert (found.path, found.labels) == (expected.path, expected.labels)


def test_one_file_says_everything_and_names_no_folder_of_this_machine(exported):
    model, path = exported
    assert [file.name for file in path.parent.iterdir()] == ["tagger.onnx"]
    description = OnnxTagger(path).description
    assert description.classes == CLASSES
    assert description.thresholds == (pytest.approx(0.4), 0.5, 0.625)
    assert description.image_size == model.image_size
    assert description.interpolation == "bicubic"
    assert (description.mean, description.std) == (model.backbone.mean, model.backbone.std)
    assert description.backbone_fingerprint == model.backbone.fingerprint()
    assert (description.backbone, description.precision) == ("tiny clip_resnet", "float32")
    content = path.read_bytes()
    assert str(onnx_file.__file__).encode() not in content
    assert b"site-packages" not in content


def test_input_is_bytes_of_any_number_of_squashed_images(exported):
    graph = onnx.load(exported[1]).graph
    (pixels,), (scores,) = graph.input, graph.output
    assert (pixels.name, scores.name) == ("pixels", "probabilities")
    assert pixels.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [size.dim_value for size in pixels.type.tensor_type.shape.dim] == [0, 64, 64, 3]
    assert [size.dim_value for size in scores.type.tensor_type.shape.dim] == [0, len(CLASSES)]


def test_int8_is_smaller_near_the_model_and_says_so(photographs, exported, traced_before, tmp_path):
    model, _ = exported
    result = model.export_onnx(tmp_path / "small.onnx", quantize="int8", calibration=photographs)
    tagger = OnnxTagger(tmp_path / "small.onnx")
    assert tagger.description.precision == "int8"
    assert result.compared == len(photographs)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node}
    difference = np.abs(tagger.predict_proba(photographs) - model.predict_proba(photographs))
    assert 0 < difference.mean() < 0.05
    assert result.max_difference == pytest.approx(difference.max(), abs=1e-5)


def test_a_graph_over_the_limit_keeps_its_constants_beside_it(
    exported, traced_before, photographs, tmp_path, monkeypatch
):
    model, path = exported
    monkeypatch.setattr(onnx_file, "PROTOBUF_LIMIT", 1000)
    result = model.export_onnx(tmp_path / "large.onnx")
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["large.onnx", "large.onnx.data"]
    assert result.size == sum((tmp_path / name).stat().st_size for name in files)
    expected = OnnxTagger(path).predict_proba(photographs)
    found = OnnxTagger(tmp_path / "large.onnx").predict_proba(photographs)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SAME)


def test_finetuned_tensors_are_in_the_file(exported, photographs, tmp_path):
    model = tiny_tagger()
    for parameter in model.unfreeze_backbone("image.visual.attnpool.v_proj.*"):
        parameter.data.mul_(1.5)
    model.export_onnx(tmp_path / "tagger.onnx")
    tagger = OnnxTagger(tmp_path / "tagger.onnx")
    assert tagger.description.finetuned
    assert tagger.description.backbone_fingerprint == exported[0].backbone.fingerprint()
    np.testing.assert_allclose(tagger.predict_proba(photographs), model.predict_proba(photographs), rtol=0, atol=SAME)


def test_weights_are_named_without_their_folders(traced_before, tmp_path):
    model = tiny_tagger()
    model.backbone.name = f"RN50@{tmp_path / 'weights.pt'}"
    model.export_onnx(tmp_path / "tagger.onnx")
    assert OnnxTagger(tmp_path / "tagger.onnx").description.backbone == "RN50@weights.pt"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tagger.bin", {}, r"has to end in \.onnx"),
        ("tagger.onnx", {"quantize": "int4"}, "quantize is 'int4', expected 'int8' or None"),
        ("tagger.onnx", {"calibration": ["a.jpg"]}, "calibration is for quantize='int8'"),
        ("tagger.onnx", {"quantize": "int8", "calibration": []}, "calibration holds no image"),
    ],
)
def test_senseless_options_are_refused(name, options, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        tiny_tagger().export_onnx(tmp_path / name, **options)


def test_missing_packages_are_named_with_what_installs_them(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match=r"needs no_such_package\. Install: pip install 'dualcoop\[export\]'"):
        tiny_tagger().export_onnx(tmp_path / "tagger.onnx")


def test_an_older_torch_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(ConfigError, match=r"needs torch 2\.6 or newer, this is 2\.5\.1"):
        tiny_tagger().export_onnx(tmp_path / "tagger.onnx")


def test_tower_that_cannot_be_traced_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    model = tiny_tagger()
    monkeypatch.setattr(model.backbone.image, "regions", lambda images, global_region: images.nonzero()[None].float())
    with pytest.raises(BackboneError, match="tiny clip_resnet cannot be written as ONNX"):
        model.export_onnx(tmp_path / "tagger.onnx")
    assert list(tmp_path.iterdir()) == []


def test_file_that_differs_from_the_model_is_not_kept(traced_before, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "PARITY", -1.0)
    with pytest.raises(BackboneError, match="gives other probabilities as ONNX"):
        tiny_tagger().export_onnx(tmp_path / "tagger.onnx")
    assert list(tmp_path.iterdir()) == []


def test_unreadable_calibration_image_is_named(traced_before, tmp_path):
    (tmp_path / "broken.jpg").touch()
    with pytest.raises(DataError, match=r"broken\.jpg"):
        tiny_tagger().export_onnx(tmp_path / "t.onnx", quantize="int8", calibration=[tmp_path / "broken.jpg"])


def test_place_that_cannot_be_written_is_named(traced_before, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="the file cannot be written"):
        tiny_tagger().export_onnx(tmp_path / "file" / "tagger.onnx")


def test_many_calibration_images_are_thinned_out_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "CALIBRATION_IMAGES", 4)
    images = [np.full((8, 8, 3), value, np.uint8) for value in range(10)]
    description = OnnxTagger.__new__(OnnxTagger)
    description.image_size, description.interpolation = 8, "bicubic"
    pixels = onnx_file._calibration_pixels(images, description)
    assert pixels[:, 0, 0, 0].tolist() == [0, 2, 5, 7]


def test_images_of_the_package_are_there():
    assert len(onnx_file._package_images()) >= onnx_file.CALIBRATION_IMAGES
