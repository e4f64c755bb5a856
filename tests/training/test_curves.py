"""Curves as a table and as an image."""

import csv
import math

import pytest
from PIL import Image

from dualcoop.training.curves import plot_history, write_history

ROWS = [
    {"epoch": 1, "learning_rate": 1e-05, "loss": 0.75, "seconds": 0.5, "valid_loss": 0.7, "valid_map": 40.0},
    {"epoch": 2, "learning_rate": 0.002, "loss": 0.5, "seconds": 0.5, "valid_loss": 0.6, "valid_map": math.nan},
]


def test_the_table_has_one_row_per_epoch_with_full_precision(tmp_path):
    path = tmp_path / "history.csv"
    write_history(ROWS[:1], path)
    write_history(ROWS, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "learning_rate", "loss", "seconds", "valid_loss", "valid_map"]
    assert [float(row["learning_rate"]) for row in rows] == [1e-05, 0.002]
    assert [row["valid_map"] for row in rows] == ["40.0", ""]
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


@pytest.mark.parametrize("columns", [4, 5, 6])
def test_the_image_is_wider_with_a_curve_of_validation(tmp_path, columns):
    rows = [dict(list(row.items())[:columns]) for row in ROWS]
    plot_history(rows, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
        assert image.size == ((1080, 420) if columns == 6 else (600, 420))


def test_a_single_epoch_can_be_seen(tmp_path):
    plot_history(ROWS[:1], tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        colours = {pixel for _, pixel in image.convert("RGB").getcolors(1 << 20)}
    assert (31, 119, 180) in colours
