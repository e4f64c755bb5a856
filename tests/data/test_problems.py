import pytest

from dualcoop.data.problems import Problem, ProblemLog, quoted_list
from dualcoop.errors import AnyOf, DataError, Option


def test_a_problem_reads_as_file_row_image_reason_and_remedy():
    problem = Problem("labels.csv", 7, "beach.jpg", "the file is missing", "Check the name")
    assert str(problem) == "labels.csv, row 7 (beach.jpg): the file is missing. Check the name."


def test_a_problem_without_row_or_source_still_reads_well():
    assert str(Problem("labels.csv", None, None, "it is odd", "Look")) == "labels.csv: it is odd. Look."
    assert str(Problem("", None, "a.jpg", "it is odd", "Look")) == "a.jpg: it is odd. Look."


def test_a_problem_leaves_its_options_to_the_front_end():
    remedy = AnyOf("Scale it down", ("allow it with ", Option("max_pixels", 9)))
    problem = Problem("", None, "a.jpg", "the image is too large", remedy)
    assert str(problem) == "a.jpg: the image is too large. Scale it down or allow it with max_pixels=9."
    assert problem.message.remedy is remedy


def test_the_first_problem_can_stand_in_another_message():
    log = ProblemLog()
    assert str(DataError(("nothing is left", log.first()), where="x")) == "x: nothing is left"
    log.report("labels.csv", 2, None, "it is odd", ("pass ", Option("zero", "unknown")))
    said = "x: nothing is left. The first problem: labels.csv, row 2: it is odd. Pass zero='unknown'."
    assert str(DataError(("nothing is left", log.first()), where="x")) == said


def test_problems_are_collected_in_order():
    log = ProblemLog()
    log.report("labels.csv", 2, None, "first", "Mend")
    log.report("labels.csv", 3, None, "second", "Mend")
    assert [(problem.row, problem.reason) for problem in log.problems] == [(2, "first"), (3, "second")]


def test_a_strict_log_stops_at_the_first_with_the_same_words():
    with pytest.raises(DataError, match=r"^labels\.csv, row 2 \(a\.jpg\): first\. Mend\.$"):
        ProblemLog(strict=True).report("labels.csv", 2, "a.jpg", "first", "Mend")


def test_long_lists_of_names_are_cut():
    assert quoted_list(["dog", "cat"]) == "'dog', 'cat'"
    assert quoted_list("abcd", shown=2) == "'a', 'b' and 2 more"
