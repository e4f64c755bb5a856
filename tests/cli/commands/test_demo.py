import numpy as np
import pytest
from PIL import Image

from dualcoop.demo import content
from dualcoop.methods.dualcoop import DualCoOp


@pytest.fixture
def few_images(monkeypatch):
    """A tenth of the work: fewer photographs, chosen so that labels of every kind remain."""
    from dualcoop.demo import experiment

    def smaller():
        data = content.demo_data()
        return type(data)(data.classes, data.train.subset(np.arange(30)), None, data.test.subset(np.arange(10)))

    monkeypatch.setattr(experiment, "demo_data", smaller)


def test_demo_leaves_a_report_a_image_and_a_model(run, few_images, tmp_path):
    result = run("demo", "--output", tmp_path / "shown", "--seeds", 1, "--known-fraction", 0.6)
    assert result.exit_code == 0, result.output
    assert "DualCoOp, class-specific" in result.stdout
    assert "never seen before; mAP (classes without positives skipped)" in " ".join(result.stdout.split())
    assert str(tmp_path / "shown" / "report.html") in result.stdout
    page = (tmp_path / "shown" / "report.html").read_text(encoding="utf-8")
    assert f"dualcoop demo --output {tmp_path / 'shown'} --known-fraction 0.6 --seeds 1" in page
    with Image.open(tmp_path / "shown" / "overview.png") as image:
        assert image.format == "PNG"
    assert DualCoOp.from_pretrained(tmp_path / "shown" / "model").classes == content.demo_classes()


def test_demo_does_not_replace_a_file(run, tmp_path):
    (tmp_path / "file").write_text("precious")
    result = run("demo", "--output", tmp_path / "file")
    assert result.exit_code == 1
    assert "this is a file" in result.stderr
    assert (tmp_path / "file").read_text() == "precious"
