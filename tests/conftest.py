"""Surroundings that are the same wherever the suite runs, and fixtures that it shares."""

import os
from pathlib import Path

# Processes beside each other, and those that tests start, share the cores; torch reads this when it is imported.
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, CORES // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))))
# What makes a terminal of everything, or a narrow or colourless one of what a test makes a terminal; folders of a user.
for name in ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS"):
    os.environ.pop(name, None)
for name in ("LINES", "TERMINAL_WIDTH", "DUALCOOP_CACHE", "HF_ENDPOINT", "MPLBACKEND"):
    os.environ.pop(name, None)
os.environ["TERM"] = "xterm"

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from coloured import write_images  # noqa: E402
from dualcoop.data.labels import LabelledImages  # noqa: E402

# A slow or busy machine is no failure, and every run tries the same cases.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


SLOW = Path(__file__).with_name("slow.txt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help=f"also run the tests listed in {SLOW.name}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    listed = set(SLOW.read_text(encoding="utf-8").splitlines())
    slow = [item for item in items if item.nodeid in listed]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item.nodeid not in listed]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photographs beside the checkout; tests that need them are skipped where they are absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the photographs in {folder}, which are not part of the project")
    return folder


@pytest.fixture(scope="session")
def train_data(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    """14 images, a third of the labels unknown."""
    data = write_images(tmp_path_factory.mktemp("train"), 14, seed=1)
    known = np.random.default_rng(7).random(data.labels.shape) < 0.67
    known[0] = True
    return data.with_labels(np.where(known, data.labels, 0))


@pytest.fixture(scope="session")
def valid_data(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    """10 images with all labels."""
    return write_images(tmp_path_factory.mktemp("valid"), 10, seed=2)
