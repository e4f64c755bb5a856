import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dualcoop.cli.output import (
    check_output,
    chosen_format,
    finished_paths,
    open_writer,
    table_writer,
)
from dualcoop.errors import ConfigError, DataError
from dualcoop.inference.prediction import Prediction

CLASSES = ("dog", "beach", "kite")


def prediction(path="a.jpg", scores=(0.9, 0.2, 0.6)):
    return Prediction.from_probabilities(
        CLASSES, np.array(scores, dtype=np.float32), np.full(3, 0.5, dtype=np.float32), path=path
    )


def write(path, format, predictions, *, top=2, resume=False):
    with open_writer(path, format, console=Console(), paths=[], classes=CLASSES, top=top, resume=resume) as writer:
        for each in predictions:
            writer(each)


@pytest.mark.parametrize(
    ("format", "output", "expected"),
    [
        (None, None, "table"),
        (None, Path("x.csv"), "csv"),
        (None, Path("x.CSV"), "csv"),
        (None, Path("x.jsonl"), "jsonl"),
        (None, Path("x"), "jsonl"),
        ("table", Path("x.csv"), "table"),
        ("csv", None, "csv"),
    ],
)
def test_format_follows_the_option_then_the_file_name(format, output, expected):
    assert chosen_format(format, output) is expected


def test_jsonl_rows_hold_decisions_and_the_best_scores(tmp_path):
    write(tmp_path / "o.jsonl", "jsonl", [prediction("ä.jpg")])
    row = json.loads((tmp_path / "o.jsonl").read_text(encoding="utf-8"))
    assert row == {"path": "ä.jpg", "labels": ["dog", "kite"], "scores": {"dog": 0.9, "kite": 0.6}}


def test_csv_rows_hold_decisions_and_the_best_scores(tmp_path):
    write(tmp_path / "o.csv", "csv", [prediction('a,"b".jpg')])
    rows = list(csv.reader((tmp_path / "o.csv").open(newline="")))
    assert rows == [["image", "labels", "scores"], ['a,"b".jpg', "dog;kite", "dog:0.9000;kite:0.6000"]]


def test_csv_with_all_scores_has_a_column_for_each_class(tmp_path):
    write(tmp_path / "o.csv", "csv", [prediction()], top=None)
    rows = list(csv.reader((tmp_path / "o.csv").open(newline="")))
    assert rows == [["image", "labels", "dog", "beach", "kite"], ["a.jpg", "dog;kite", "0.9000", "0.2000", "0.6000"]]


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_rows_are_in_the_file_at_once(tmp_path, format):
    path = tmp_path / "o"
    with open_writer(path, format, console=Console(), paths=[], classes=CLASSES, top=1) as writer:
        writer(prediction())
        assert "a.jpg" in path.read_text()


def test_table_marks_labels_decided_present_and_lists_best_first():
    stream = io.StringIO()
    table_writer(Console(file=stream, width=40), [Path("a.jpg"), Path("longer.jpg")], 3)(prediction())
    assert stream.getvalue() == "a.jpg       *dog 0.90  *kite 0.60  beach 0.20\n"


def test_table_on_a_terminal_cuts_long_names_from_the_left_and_lines_at_its_width():
    stream = io.StringIO()
    name = "folder/" * 20 + "a.jpg"
    console = Console(file=stream, width=60, force_terminal=True, color_system=None)
    table_writer(console, [Path(name)], 3)(prediction(name))
    line = stream.getvalue().rstrip("\n")
    assert line.startswith("...")
    assert "folder/a.jpg  *dog" in line
    assert len(line) <= 60


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_resumed_file_holds_every_row_once(tmp_path, format):
    path = tmp_path / "o"
    write(path, format, [prediction("a.jpg"), prediction("b.jpg")])
    whole = path.read_text()
    cut = whole[: whole.index("b.jpg") + 3]
    path.write_text(cut)
    assert finished_paths(path, format, 2, CLASSES) == {"a.jpg"}
    write(path, format, [prediction("b.jpg")], resume=True)
    assert path.read_text() == whole


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_file_of_which_only_half_a_line_was_written_starts_anew(tmp_path, format):
    path = tmp_path / "o"
    path.write_text("ima")
    assert finished_paths(path, format, 2, CLASSES) == set()
    write(path, format, [prediction()], resume=True)
    assert finished_paths(path, format, 2, CLASSES) == {"a.jpg"}


def test_a_missing_file_has_nothing_finished(tmp_path):
    assert finished_paths(tmp_path / "o", "csv", 2, CLASSES) == set()


@pytest.mark.parametrize(
    ("format", "content", "message"),
    [
        ("csv", "name,price\nx,3\n", "the columns are not those of this run"),
        ("csv", "image,labels,dog,cat\n", "the columns are not those of this run"),
        ("jsonl", "name,price\nx,3\n", "these are not predictions in jsonl"),
        ("jsonl", '{"name": 1}\n', "these are not predictions in jsonl"),
        ("jsonl", "[1]\n", "these are not predictions in jsonl"),
        ("jsonl", '{"path": "a", "scores": {"cat": 0.1}}\n', "scores of other labels, such as 'cat'"),
    ],
)
def test_resuming_something_else_is_refused(tmp_path, format, content, message):
    path = tmp_path / "o"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        finished_paths(path, format, 2, CLASSES)


@pytest.mark.parametrize(
    ("name", "format", "options", "message"),
    [
        ("full", "csv", {}, "the file exists"),
        ("full", "csv", {"resume": True, "overwrite": True}, "Choose one"),
        (None, "csv", {"resume": True}, "resume needs the output FILE"),
        (".", "csv", {}, "this is a folder"),
        ("full", "table", {"resume": True}, "a table cannot be continued"),
    ],
)
def test_output_that_would_lose_or_mix_results_is_refused(tmp_path, name, format, options, message):
    (tmp_path / "full").write_text("something")
    output = None if name is None else tmp_path / name
    with pytest.raises(ConfigError, match=message):
        check_output(output, format, **{"resume": False, "overwrite": False, **options})


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}])
def test_existing_output_is_taken_when_it_is_said_how(tmp_path, options):
    (tmp_path / "full").write_text("something")
    check_output(tmp_path / "full", "csv", **{"resume": False, "overwrite": False, **options})
