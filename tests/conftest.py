"""Fixtures shared by the whole suite."""

from pathlib import Path

import numpy as np
import pytest

from coloured import write_images
from dualcoop.data.labels import LabelledImages


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
