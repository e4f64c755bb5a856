"""Peak memory of a piece of work."""

import pytest
import torch

from benchmarks.process_memory import peak_bytes

MIB = 2**20


def test_the_peak_counts_what_was_held_at_once_and_given_back():
    def work():
        for _ in range(3):
            torch.ones(50 * MIB, dtype=torch.uint8)

    peak = peak_bytes(work, torch.device("cpu"))
    if peak is None:
        pytest.skip("needs a system that tells and resets the peak of resident memory (Linux)")
    assert 45 * MIB < peak < 100 * MIB
