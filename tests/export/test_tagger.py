"""An exported file at work."""

import copy
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest

from dualcoop.errors import ConfigError, DataError, ModelError
from dualcoop.export import OnnxTagger
from tiny import tiny_image

WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "open_clip", "timm", "onnx", "onnxscript"):
    sys.modules[name] = None
"""


@pytest.fixture(scope="module")
def tagger(exported):
    return OnnxTagger(exported[1])


def test_predictions_are_the_models(exported, tagger, photographs):
    expected = exported[0].predict(photographs)
    for found, other in zip(tagger.predict(photographs, 3), expected, strict=True):
        assert found.scores == pytest.approx(other.scores, abs=1e-4)
        assert (found.path, found.labels, found.decisions) == (other.path, other.labels, other.decisions)


def test_one_image_in_one_prediction_out_and_a_list_for_a_list(tagger, photographs):
    single = tagger.predict(photographs[0])
    assert tagger.predict([photographs[0]]) == [single]
    assert tagger.predict([]) == []
    assert tagger.predict_proba([]).shape == (0, 3)
    assert tagger.predict_proba(tiny_image()).dtype == np.float32


def test_unreadable_images_keep_their_place(tagger, photographs, tmp_path):
    (tmp_path / "empty.jpg").touch()
    images = [photographs[0], tmp_path / "empty.jpg", photographs[1]]
    assert [found.error is None for found in tagger.predict(images, on_error="skip")] == [True, False, True]
    with pytest.raises(DataError, match=r"empty\.jpg"):
        tagger.predict(images)


def test_thresholds_decide_and_can_be_changed(exported, photographs):
    tagger = OnnxTagger(exported[1])
    tagger.set_thresholds(0.0)
    assert len(tagger.predict(photographs[0]).labels) == 3
    tagger.set_thresholds({"traffic_light": 1.0})
    assert set(tagger.predict(photographs[0]).labels) == {"dog", "naïve kite"}
    with pytest.raises(ModelError, match="'cat' is none of the model's 3 classes"):
        tagger.set_thresholds({"cat": 1.0})


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda tagger: pickle.loads(pickle.dumps(tagger))])
def test_copies_open_the_file_again_and_predict_the_same(exported, photographs, duplicate, monkeypatch):
    monkeypatch.chdir(exported[1].parent)
    tagger = OnnxTagger(exported[1].name)
    tagger.set_thresholds({"dog": 0.125})
    before = len(pickle.dumps(tagger))
    expected = tagger.predict(photographs)
    assert len(pickle.dumps(tagger)) == before
    monkeypatch.undo()
    assert duplicate(tagger).predict(photographs) == expected


def test_a_pickle_of_a_file_that_was_replaced_is_refused(exported, tmp_path):
    path = tmp_path / "tagger.onnx"
    path.write_bytes(exported[1].read_bytes())
    pickled = pickle.dumps(OnnxTagger(path))
    proto = onnx.load(path)
    next(entry for entry in proto.metadata_props if entry.key.endswith("thresholds")).value = "[0.1, 0.2, 0.3]"
    onnx.save(proto, path)
    with pytest.raises(ModelError, match=r"tagger\.onnx: the file is not the one that this tagger was opened from"):
        pickle.loads(pickled)
    path.unlink()
    with pytest.raises(ModelError, match=r"tagger\.onnx: the file is missing\. Write it with `dualcoop export"):
        pickle.loads(pickled)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_many_threads_call_a_tagger_at_once(exported, photographs, precision):
    if precision == "bfloat16":
        pytest.importorskip("openvino", reason="needs the package of the extra `openvino`")
    tagger = OnnxTagger(exported[1], precision=precision)
    all_are_there = threading.Barrier(6, timeout=60)

    def scores(_):
        all_are_there.wait()
        return [tagger.predict_proba(photographs, 1) for _ in range(4)]

    expected = tagger.predict_proba(photographs, 1)
    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(scores, range(6)):
            np.testing.assert_allclose(found, [expected] * 4, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_near_float32(exported, photographs):
    pytest.importorskip("openvino", reason="needs the package of the extra `openvino`")
    low = OnnxTagger(exported[1], precision="bfloat16")
    assert low.description == OnnxTagger(exported[1]).description
    np.testing.assert_allclose(low.predict_proba(photographs), exported[0].predict_proba(photographs), atol=0.05)


def test_tags_without_torch(exported, photographs):
    use = "from dualcoop.export import OnnxTagger; print(OnnxTagger(sys.argv[1]).predict(sys.argv[2]))"
    code = WITHOUT_TORCH + use
    command = [sys.executable, "-c", code, exported[1], photographs[0]]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(OnnxTagger(exported[1]).predict(photographs[0]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, "precision is 'float16', expected one of float32, bfloat16"),
        ({"device": "abacus"}, "device is 'abacus', which the installed onnxruntime does not have"),
        ({"threads": 0}, "threads is 0, expected a whole number of at least 1"),
    ],
)
def test_senseless_options_are_refused(exported, options, message):
    with pytest.raises(ConfigError, match=message):
        OnnxTagger(exported[1], **options)


@pytest.mark.parametrize(("module", "precision"), [("onnxruntime", "float32"), ("openvino", "bfloat16")])
def test_missing_packages_are_named_with_what_installs_them(exported, monkeypatch, module, precision):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=rf"the package {module} .* pip install 'dualcoop\["):
        OnnxTagger(exported[1], precision=precision)


def test_missing_and_damaged_files_are_refused(exported, tmp_path):
    with pytest.raises(ModelError, match="the file is missing"):
        OnnxTagger(tmp_path / "nowhere.onnx")
    content = exported[1].read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"cut\.onnx: this is not a complete ONNX file"):
        OnnxTagger(tmp_path / "cut.onnx")


def test_files_of_another_origin_are_refused(exported, tmp_path):
    proto = onnx.load(exported[1])
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="was not written by `dualcoop export`"):
        OnnxTagger(tmp_path / "other.onnx")


def test_pixels_of_another_size_are_refused(tagger):
    with pytest.raises(ConfigError, match=r"pixels are uint8 \(1, 32, 32, 3\), expected uint8 \(B, 64, 64, 3\)"):
        tagger.probabilities_of(np.zeros((1, 32, 32, 3), np.uint8))
