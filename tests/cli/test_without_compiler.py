"""Imports without torch's compiler, each in a process of its own, since what is imported once stays imported."""

import subprocess
import sys

import pytest


def run(code: str) -> None:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def imported() -> str:
    return """
import sys
from dualcoop.cli.without_compiler import without_compiler
with without_compiler():
    import open_clip
"""


def test_image_towers_do_not_bring_the_compiler_along(imported: str) -> None:
    run(f"{imported}assert not [name for name in sys.modules if name.startswith('torch._dynamo')]")


def test_the_compiler_works_afterwards(imported: str) -> None:
    run(f"""{imported}
import torch
from torchvision.ops.roi_align import is_compile_supported
from torch._dynamo.utils import is_compile_supported as real
assert is_compile_supported("cpu") == real("cpu")
double = torch.compile(lambda x: 2 * x, backend="eager", fullgraph=True)
assert double(torch.ones(3)).sum() == 6
disabled = torch.compiler.disable(lambda x: x)
assert getattr(disabled, "_torchdynamo_disable", False)
assert type(sys.modules["torch._dynamo"]).__name__ == "module"
""")


@pytest.mark.parametrize(
    "use",
    [
        "from torch._dynamo import is_compiling",
        "import torch._dynamo.config",
        "import torch; torch._dynamo.reset()",
        "from torch._dynamo.utils import counters",
    ],
)
def test_who_needs_more_of_it_gets_it(use: str) -> None:
    run(f"""
import sys
from dualcoop.cli.without_compiler import without_compiler
with without_compiler():
    {use}
assert type(sys.modules["torch._dynamo"]).__name__ == "module"
""")


def test_a_compiler_that_is_there_stays() -> None:
    run("""
import sys
import torch._dynamo
from dualcoop.cli.without_compiler import without_compiler
with without_compiler():
    assert sys.modules["torch._dynamo"] is torch._dynamo
assert sys.modules["torch._dynamo"] is torch._dynamo
""")


def test_asking_whether_one_can_compile_works_inside_too() -> None:
    run("""
from dualcoop.cli.without_compiler import without_compiler
with without_compiler():
    from torch._dynamo.utils import is_compile_supported
    answer = is_compile_supported("cpu")
from torch._dynamo.utils import is_compile_supported as real
assert answer == real("cpu")
""")
