import json
import subprocess
import sys

import pytest

from backbones.tiny_models import tiny_backbone
from dualcoop.demo.content import FOLDER
from dualcoop.export import OnnxTagger

pytest.importorskip("onnxscript", reason="needs the packages of the extra `export`")
pytest.importorskip("onnxruntime", reason="needs the packages of the extra `export`")

LABELS = ("--labels", "dog, beach, kite")
WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "open_clip", "timm", "onnx", "onnxscript"):
    sys.modules[name] = None
from dualcoop.cli.app import main
main()
"""


@pytest.fixture(autouse=True)
def _small_resnet_in_place_of_lite(monkeypatch, _tiny_in_place_of_lite):
    def load_lite():
        backbone = tiny_backbone("clip_resnet")
        backbone.name = "lite"
        return backbone

    monkeypatch.setattr("dualcoop.backbones.lite.load_lite", load_lite)


def scores(text):
    return [json.loads(line)["scores"] for line in text.splitlines()]


def test_exported_words_are_tagged_as_by_the_backbone_itself(run, photos):
    result = run("export", "lite", *LABELS, "--output", "out/tagger.onnx")
    assert result.exit_code == 0, result.output
    assert "3 classes written to out/tagger.onnx" in result.stderr
    found = scores(run("tag", photos, "--model", "out/tagger.onnx", "-f", "jsonl").stdout)
    expected = scores(run("tag", photos, *LABELS, "--precision", "float32", "-f", "jsonl").stdout)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-3)


def test_trained_model_takes_its_labels_and_thresholds_along(run, photos, table):
    run("train", table, "--images", photos, "-o", "model", "--epochs", 1)
    assert run("export", "model").exit_code == 0
    tagger = OnnxTagger("tagger.onnx")
    assert set(tagger.classes) == {"dog", "beach", "kite"}
    config = json.loads(open("model/config.json", encoding="utf-8").read())  # noqa: PTH123, SIM115
    assert tagger.description.backbone_fingerprint in json.dumps(config)


def test_tag_of_an_exported_file_needs_no_torch(run):
    run("export", "lite", *LABELS)
    photo = FOLDER / "wave.jpg"
    command = [sys.executable, "-c", WITHOUT_TORCH, "tag", photo, "--model", "tagger.onnx", "-f", "jsonl", "-k", "3"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert scores(result.stdout)[0] == pytest.approx(OnnxTagger("tagger.onnx").predict(photo).scores, abs=1e-3)


def test_info_describes_the_file(run):
    run("export", "lite", *LABELS)
    words = run("info", "tagger.onnx").stdout
    assert "3: dog, beach, kite" in words
    assert "64 pixels, bicubic" in words


def test_int8_says_what_it_changes(run, photos):
    result = run("export", "lite", *LABELS, "--quantize", "int8", "--calibration", photos)
    assert result.exit_code == 0, result.output
    assert "scores of 8 images differ from the model's by" in result.stderr
    assert OnnxTagger("tagger.onnx").description.precision == "int8"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "lite"), "say what to look for"),
        (("export", "lite", *LABELS, "-o", "tagger.bin"), "has to end in .onnx"),
        (("export", "lite", *LABELS, "--calibration", "x"), "--calibration is for --quantize int8"),
        (("export", "lite", *LABELS, "--quantize", "int8", "--calibration", "x"), "x: the file or folder is missing"),
        (("export", "old.onnx"), "old.onnx: this is an exported file"),
        (("export", "lite", *LABELS, "-o", "old.onnx"), "old.onnx: the file exists"),
        (("tag", "PHOTOS", "--model", "nowhere.onnx"), "nowhere.onnx: the file is missing"),
        (("tag", "PHOTOS", "--model", "old.onnx"), "old.onnx: this is not a complete ONNX file"),
        (("tag", "PHOTOS", "--model", "old.onnx", *LABELS), "the labels of an exported file are settled"),
    ],
)
def test_bad_input_is_said_in_one_message(run, photos, tmp_path, arguments, message):
    (tmp_path / "old.onnx").write_bytes(b"precious")
    result = run(*(str(photos) if argument == "PHOTOS" else argument for argument in arguments))
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert (tmp_path / "old.onnx").read_bytes() == b"precious"


def test_another_image_size_than_the_files_is_refused(run, photos):
    run("export", "lite", *LABELS)
    result = run("tag", photos, "--model", "tagger.onnx", "--image-size", 96)
    assert result.exit_code == 1
    assert "takes images of 64 pixels" in result.stderr.replace("\n", " ")
