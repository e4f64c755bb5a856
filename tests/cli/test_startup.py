"""What the command line loads before it does anything."""

import subprocess
import sys

import pytest

from dualcoop.demo import content

COMMAND = """
import sys
from dualcoop.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print("loaded", *sorted({name.partition(".")[0] for name in sys.modules}))
"""
HEAVY = {"torch", "numpy", "PIL", "open_clip", "timm", "torchvision", "pandas", "sklearn", "matplotlib", "transformers"}
NOT_FOR_TAGGING = {
    "pandas",
    "pyarrow",
    "sklearn",
    "scipy",
    "matplotlib",
    "transformers",
    "onnx",
    "onnxruntime",
}


def loaded(*arguments):
    """Top-level modules that a process has loaded by the end of a command."""
    process = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    result = subprocess.run(process, capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["tag", "--help"], ["train", "--help"]])
def test_describing_itself_loads_nothing_heavy(arguments):
    assert loaded(*arguments) & HEAVY == set()


def test_the_list_of_commands_needs_none_of_them_and_no_checks_of_options():
    assert loaded("--help") & {"pydantic", "annotated_types"} == set()


def test_tagging_loads_nothing_that_it_does_not_need():
    image = content.FOLDER / "alpaca.jpg"
    assert loaded("tag", image, "--labels", "dog, beach") & NOT_FOR_TAGGING == set()
