import io

import pytest
from rich.console import Console

from dualcoop.cli.progress import progress_bar
from dualcoop.cli.training_display import TrainingDisplay


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)


def test_a_terminal_sees_count_and_rate():
    console = terminal()
    with progress_bar("tagging", 10, console=console) as update:
        update(5, 10)
        update(10, 10)
    assert "tagging" in console.file.getvalue()
    assert "10/10" in console.file.getvalue()
    assert "images/s" in console.file.getvalue()


def test_nothing_is_drawn_where_nobody_watches():
    console = Console(file=io.StringIO())
    with progress_bar("tagging", 10, console=console) as update:
        update(10)
    assert console.file.getvalue() == ""


def row(epoch, **more):
    return {"epoch": epoch, "loss": 0.5, **more}


def test_without_a_terminal_every_epoch_is_a_line(capsys):
    with TrainingDisplay(2) as display:
        display.encoding(3, 3)
        display.epoch(row(1))
        display.epoch(row(2, valid_map=71.25))
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1/2: loss 0.5000",
        "epoch 2/2: loss 0.5000, validation mAP 71.2",
    ]


@pytest.mark.parametrize("lines", [True, False])
def test_steps_are_said_with_or_without_epochs(capsys, lines):
    with TrainingDisplay(1, lines=lines) as display:
        display.step("first")
        display.epoch(row(1))
        display.step("second")
    assert capsys.readouterr().err.splitlines() == ["first", *(["epoch 1/1: loss 0.5000"] * lines), "second"]
