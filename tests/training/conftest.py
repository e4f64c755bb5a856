"""Generated pictures, written once for all tests of the training package."""

import numpy as np
import pytest

from dualcoop.data.labels import LabelledImages
from training.coloured import write_pictures


@pytest.fixture(scope="session")
def train_data(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    """14 pictures, a third of the labels unknown."""
    data = write_pictures(tmp_path_factory.mktemp("train"), 14, seed=1)
    known = np.random.default_rng(7).random(data.labels.shape) < 0.67
    known[0] = True
    return data.with_labels(np.where(known, data.labels, 0))


@pytest.fixture(scope="session")
def valid_data(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    """10 pictures with all labels."""
    return write_pictures(tmp_path_factory.mktemp("valid"), 10, seed=2)
