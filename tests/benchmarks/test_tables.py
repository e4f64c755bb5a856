"""The file of results and the Markdown made of it."""

import json

import pytest

from benchmarks.plots import draw
from benchmarks.results import PartResult, Results
from benchmarks.tables import cell, markdown, table

MACHINE = {"processor": "Some CPU", "torch_threads": 2, "instructions": "AVX512", "accelerator": None}
VERSIONS = {"torch": "2.9", "dualcoop": "0.1.0"}


def part(*rows, quick=False):
    return PartResult(list(rows), MACHINE, VERSIONS, quick, 12.3)


def test_columns_stand_in_the_order_in_which_rows_name_them():
    assert table([{"a": "x", "b": 1}, {"c": 2, "a": "y"}]).splitlines() == [
        "| a | b | c |",
        "| --- | ---: | ---: |",
        "| x | 1 |  |",
        "| y |  | 2 |",
    ]


def test_lists_stand_in_no_table():
    assert "curve" not in table([{"a": 1, "curve": [1, 2, 3]}])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("words", "words"),
        (31350, "31,350"),
        (1234.5, "1,234"),
        (0.012345, "0.0123"),
        (99.96, "100"),
        (0.0, "0"),
        (2e-7, "2e-07"),
    ],
)
def test_a_cell(value, text):
    assert cell(value) == text


def test_a_later_run_of_one_part_does_not_lose_the_others(tmp_path):
    path = tmp_path / "benchmarks.json"
    Results(path).put("steps", part({"a": 1}))
    Results(path).put("shares", part({"b": 2}))
    Results(path).put("steps", part({"a": 3}))
    assert Results(path).rows("steps") == [{"a": 3}]
    assert Results(path).rows("shares") == [{"b": 2}]
    assert set(json.loads(path.read_text())) == {"steps", "shares"}


def test_a_part_that_another_process_ended_meanwhile_is_kept(tmp_path):
    first, second = (Results(tmp_path / "benchmarks.json") for _ in range(2))
    first.put("steps", part({"a": 1}))
    second.put("shares", part({"b": 2}))
    first.put("classes", part({"c": 3}))
    assert [first.rows(name) for name in ("steps", "shares", "classes")] == [[{"a": 1}], [{"b": 2}], [{"c": 3}]]


def test_sections_follow_the_order_of_the_titles_and_leave_out_what_was_not_run(tmp_path):
    results = Results(tmp_path / "benchmarks.json")
    results.put("b", part({"x": 1}))
    results.put("a", part({"x": 2}))
    text = markdown({"a": "First", "b": "Second", "c": "Third"}, results)
    assert [line for line in text.splitlines() if line.startswith("#")] == ["### First", "### Second"]


def test_a_trial_says_so(tmp_path):
    results = Results(tmp_path / "benchmarks.json")
    results.put("a", part({"x": 1}, quick=True))
    assert "quick trial" in markdown({"a": "First"}, results)


def test_a_plot_has_the_parts_that_were_run(tmp_path):
    results = Results(tmp_path / "benchmarks.json")
    row = {"classes": 20, "ours, s": 1.0, "published, s": 9.0, "ours": "measured", "published": "measured"}
    results.put("classes", part(row, row | {"classes": 80, "published": "computed from measured rates"}))
    draw(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_without_results_there_is_no_plot(tmp_path):
    draw(Results(tmp_path / "benchmarks.json"), tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()
