"""Learning rates against values computed by hand."""

from itertools import pairwise

import pytest

from dualcoop.training import TrainingArguments
from dualcoop.training.schedule import learning_rate

PUBLISHED = TrainingArguments.published()


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 1e-5),  # warm-up
        (1, 0.002),  # 0.001 * (1 + cos 0)
        (2, 0.0019980267),  # 0.001 * (1 + cos(pi / 50))
        (26, 0.001),  # 0.001 * (1 + cos(pi / 2))
        (49, 7.8853e-6),  # 0.001 * (1 + cos(48 pi / 50))
    ],
)
def test_the_published_schedule(epoch, expected):
    assert learning_rate(PUBLISHED, epoch, PUBLISHED.learning_rate) == pytest.approx(expected, rel=1e-4)


def test_after_the_warm_up_the_rate_starts_at_the_peak_and_only_falls():
    arguments = TrainingArguments(epochs=12, warmup_epochs=3)
    rates = [learning_rate(arguments, epoch, 1.0) for epoch in range(12)]
    assert rates[:4] == [1e-5, 1e-5, 1e-5, 1.0]
    assert all(later < earlier for earlier, later in pairwise(rates[3:]))


def test_without_warm_up_the_cosine_ends_at_zero_after_all_epochs():
    arguments = TrainingArguments(epochs=4, warmup_epochs=0)
    rates = [learning_rate(arguments, epoch, 2.0) for epoch in range(5)]
    assert rates == pytest.approx([2.0, 1.7071068, 1.0, 0.2928932, 0.0])


def test_a_peak_below_the_warm_up_rate_is_never_exceeded():
    assert learning_rate(TrainingArguments(warmup_epochs=1), 0, 1e-6) == 1e-6


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 1), (2, 5)])
def test_the_last_epoch_is_never_warm_up(epochs, warmup):
    arguments = TrainingArguments(epochs=epochs, warmup_epochs=warmup)
    assert learning_rate(arguments, epochs - 1, 1.0) == 1.0
