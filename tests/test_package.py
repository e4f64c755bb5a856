"""The package's public names."""

import subprocess
import sys

import pytest

import dualcoop


@pytest.mark.parametrize(
    "name", ["DualCoOp", "Prediction", "PromptConfig", "TemplateConfig", "create_backbone", "load_dataset"]
)
def test_public_names_are_found_when_asked_for(name):
    assert getattr(dualcoop, name).__name__ == name
    assert name in dir(dualcoop)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Dualcoop'"):
        dualcoop.Dualcoop  # noqa: B018


def test_importing_the_package_alone_is_light():
    code = "import sys, dualcoop; print('torch' in sys.modules, 'numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]
