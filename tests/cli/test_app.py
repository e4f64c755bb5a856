"""The command as a whole: help, version, how errors and interruptions end."""

import subprocess
import sys

import pytest

from dualcoop import __version__
from dualcoop.cli.app import SUMMARIES, load_command
from dualcoop.cli.commands import info as info_command
from dualcoop.cli.commands import tag as tag_command
from dualcoop.errors import DataError

COMMANDS = ("tag", "train", "evaluate", "explain", "export", "demo", "info", "cache")


def test_help_names_every_command(run):
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.output for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    assert run(command, "--help").exit_code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_listed_with_the_first_line_of_their_help(command):
    assert SUMMARIES[command] == load_command(command).help.partition("\n")[0]


@pytest.mark.parametrize("command", ["tag", "train", "evaluate", "explain", "export", "cache"])
def test_a_command_without_arguments_shows_its_help(run, command):
    result = run(command)
    assert f"{command} [OPTIONS]" in result.output


def test_version(run):
    assert run("--version").output.strip() == f"dualcoop {__version__}"


def test_help_loads_neither_torch_nor_numpy():
    code = (
        "import sys; from typer.testing import CliRunner; from dualcoop.cli.app import app; "
        "CliRunner().invoke(app, ['train', '--help']); print(sorted({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def broken_by(error):
    def broken(*_, **__):
        raise error

    return broken


def fail_with(monkeypatch, error):
    monkeypatch.setattr(info_command, "_packages", broken_by(error))


def test_an_error_of_the_user_is_one_message_and_exit_code_1(run, monkeypatch):
    fail_with(monkeypatch, DataError("labels.csv, row 3: nothing. Do something."))
    result = run("info")
    assert result.exit_code == 1
    assert "error: labels.csv, row 3: nothing. Do something." in result.stderr
    assert "Traceback" not in result.output


def test_an_unexpected_error_is_said_without_traceback(run, monkeypatch):
    fail_with(monkeypatch, KeyError("surprise"))
    result = run("info")
    assert result.exit_code == 1
    assert "this should not happen: KeyError: 'surprise'" in result.stderr
    assert "--debug" in result.stderr


def test_memory_that_runs_out_comes_with_the_remedies_that_the_command_has(run, monkeypatch):
    fail_with(monkeypatch, MemoryError())
    assert "memory ran out\n" in run("info").stderr
    monkeypatch.setattr(tag_command, "check_output", broken_by(MemoryError()))
    assert "memory ran out. Use a smaller --batch-size or --device cpu." in run("tag", "x", "-l", "dog").stderr


@pytest.mark.parametrize("arguments", [("--debug", "info"), ("info", "--debug")])
def test_debug_anywhere_lets_the_error_through(run, monkeypatch, arguments):
    error = DataError("for developers")
    fail_with(monkeypatch, error)
    assert run(*arguments).exception is error


def test_debug_after_two_dashes_is_an_argument(run):
    result = run("info", "--", "--debug")
    assert "'--debug' is not a saved model" in result.stderr


def test_interruption_ends_with_130(run, monkeypatch):
    fail_with(monkeypatch, KeyboardInterrupt())
    result = run("info")
    assert result.exit_code == 130
    assert "stopped" in result.stderr


def test_a_wrong_option_is_refused_with_its_name(run):
    result = run("tag", "x.jpg", "--labls", "dog")
    assert result.exit_code == 2
    assert "--labls" in result.stderr
