import warnings

import pytest

from dualcoop.cli.messages import PACKAGE, duration, plain_warnings, storage


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (4.26, "4.3 s"),
        (59.9, "59.9 s"),
        (59.97, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3725, "1 h 02 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**19, "1.5 MiB"), (5 * 2**29, "2.5 GiB")],
)
def test_bytes_are_said_in_the_unit_that_fits(size, text):
    assert storage(size) == text


def emit(message, file):
    warnings.warn_explicit(message, UserWarning, file, 1)


def test_own_warnings_are_said_once_and_others_not(capsys):
    with plain_warnings():
        emit("ours", f"{PACKAGE}/data/labels.py")
        emit("ours", f"{PACKAGE}/data/labels.py")
        emit("theirs", "/elsewhere/torch/nn.py")
    assert capsys.readouterr().err == "warning: ours\n"


def test_for_debugging_warnings_stay_as_they_are():
    with pytest.warns(UserWarning, match="theirs"), plain_warnings(everything=True):
        emit("theirs", "/elsewhere/torch/nn.py")
