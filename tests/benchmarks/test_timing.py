"""Paired measurements on a clock that the tests turn."""

import pytest
import torch

from benchmarks.timing import Paired, Sample, Stopwatch, machine, paired, sample


class Clock:
    """Time that passes when work is done, and not otherwise."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def __call__(self):
        return self.now

    def work(self, name, *durations):
        """A candidate that takes these seconds in turn, the last of them for ever."""
        left = list(durations)

        def candidate():
            seconds = left.pop(0) if len(left) > 1 else left[0]
            self.now += seconds
            self.calls.append(name)
            return {"part": seconds / 2}

        return candidate


@pytest.fixture
def clock():
    return Clock()


def measured(clock, rounds=3, budget=1e9, shortest=0.0, **candidates):
    return paired(candidates, rounds=rounds, budget=budget, shortest=shortest, clock=clock)


def test_candidates_take_turns(clock):
    measured(clock, rounds=2, a=clock.work("a", 1.0), b=clock.work("b", 1.0))
    assert clock.calls == ["a", "b"] * 3


def test_the_first_call_of_each_does_not_count(clock):
    found = measured(clock, a=clock.work("a", 100.0, 1.0), b=clock.work("b", 50.0, 2.0))
    assert (found.seconds("a"), found.seconds("b")) == (1.0, 2.0)


def test_no_round_starts_after_the_budget(clock):
    found = measured(clock, rounds=10, budget=9.0, a=clock.work("a", 2.0), b=clock.work("b", 1.0))
    assert found.rounds == 3


def test_one_round_is_run_whatever_the_budget(clock):
    assert measured(clock, budget=0.0, a=clock.work("a", 5.0)).rounds == 1


def test_short_calls_are_repeated_and_their_mean_is_taken(clock):
    found = sample(clock.work("a", 1.0, 3.0, 5.0), shortest=8.0, clock=clock)
    assert found == Sample(3.0, {"part": 1.5})


def test_seconds_are_the_median_of_the_rounds():
    found = Paired({"a": [Sample(total, {}) for total in (9.0, 1.0, 2.0)]})
    assert found.seconds("a") == 2.0


def test_the_ratio_is_the_median_of_each_round_s_own():
    slow, fast = (10.0, 40.0, 90.0), (1.0, 2.0, 3.0)
    found = Paired({"slow": [Sample(t, {}) for t in slow], "fast": [Sample(t, {}) for t in fast]})
    assert found.ratio("slow", "fast") == 20.0
    assert found.ratio_range("slow", "fast") == (10.0, 30.0)


def test_a_stage_that_a_candidate_lacks_is_none():
    found = Paired({"a": [Sample(1.0, {"text": 0.5}), Sample(1.0, {"text": 0.7})]})
    assert found.stage("a", "text") == pytest.approx(0.6)
    assert found.stage("a", "images") is None


def test_a_stopwatch_adds_up_the_visits_of_a_stage(clock):
    watch = Stopwatch(torch.device("cpu"), clock)
    for seconds in (1.0, 2.0):
        with watch("text"):
            clock.now += seconds
        clock.now += 10.0
    assert watch.seconds == {"text": 3.0}


def test_the_description_of_the_machine_names_no_command_and_no_folder():
    found = machine(torch.device("cpu"))
    assert "command" not in found
    assert not any("/" in str(value) for key, value in found.items() if key != "processor")
