"""Models small enough to be exported in a test, and photographs that ship with the package."""

import copy

import pytest

from backbones.tiny_models import tiny_backbone
from dualcoop.demo.content import FOLDER
from dualcoop.export import onnx_file
from dualcoop.export.graph import TaggerGraph
from dualcoop.methods.dualcoop import DualCoOp

pytest.importorskip("onnx", reason="needs the packages of the extra `export`")
pytest.importorskip("onnxscript", reason="needs the packages of the extra `export`")
pytest.importorskip("onnxruntime", reason="needs the packages of the extra `export`")

CLASSES = ("dog", "traffic light", "naïve kite")


def tiny_tagger(family="clip_resnet", prompts=None, **options):
    """Random, with thresholds and a bias for each class, so that leaving them out is noticed."""
    model = DualCoOp(tiny_backbone(family), CLASSES, prompts, logit_scale=3.0, **options)
    model.set_thresholds([0.4, 0.5, 0.625])
    model.class_bias.copy_(model.class_bias.new_tensor([0.5, 0.0, -0.5]))
    return model


@pytest.fixture(scope="session")
def photographs():
    return [FOLDER / name for name in ("alpaca.jpg", "chambord.jpg", "clownfish.jpg", "wave.jpg")]


@pytest.fixture(scope="session")
def traced():
    """The graph of `tiny_tagger()`; tracing is what takes long."""
    model = tiny_tagger()
    return onnx_file._traced(TaggerGraph(model).eval(), model)


@pytest.fixture
def traced_before(traced, monkeypatch):
    """Tests of what comes after tracing get the graph of `tiny_tagger()`."""
    monkeypatch.setattr(onnx_file, "_traced", lambda *_: copy.deepcopy(traced))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A model and the file that it was written to."""
    model = tiny_tagger()
    path = tmp_path_factory.mktemp("exported") / "tagger.onnx"
    model.export_onnx(path)
    return model, path
