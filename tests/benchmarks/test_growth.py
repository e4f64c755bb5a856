"""What is measured, what is extrapolated, and how."""

import pytest

from benchmarks import growth
from benchmarks.growth import Point, class_names, extrapolated, grown


def test_the_line_through_the_last_two_measured_points_goes_on():
    points = [Point(10, 1.0, 100.0, True), Point(20, 3.0, 150.0, True)]
    assert extrapolated(points, 40) == Point(40, 7.0, 250.0, False)


def test_a_single_point_is_continued_in_proportion():
    assert extrapolated([Point(10, 1.0, 100.0, True)], 40) == Point(40, 4.0, 400.0, False)


def test_extrapolated_points_are_not_built_upon():
    points = [Point(10, 1.0, None, True), Point(20, 99.0, None, False)]
    assert extrapolated(points, 40) == Point(40, 4.0, None, False)


def test_cost_does_not_shrink_with_size():
    points = [Point(10, 2.0, 5.0, True), Point(20, 1.0, 4.0, True)]
    assert extrapolated(points, 40) == Point(40, 1.0, 4.0, False)


def test_sizes_beyond_the_budget_are_computed(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(growth.time, "perf_counter", lambda: now[0])

    def measure(size):
        now[0] += size
        return Point(size, float(size), None, True)

    found = grown((1, 10, 100, 1000), measure, budget=50.0)
    assert [point.measured for point in found] == [True, True, False, False]
    assert [point.seconds for point in found] == [1.0, 10.0, 100.0, 1000.0]


@pytest.mark.parametrize("count", [20, 1006, 1007, 20_000])
def test_class_names_are_distinct(count):
    assert len(set(class_names(count))) == count
