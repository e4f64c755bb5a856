"""The cache on the command line: who uses it, and looking after it."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from cli.commands.test_train import assert_equal_tensors, record
from dualcoop.cache import contents
from dualcoop.cache.folder import stored_files
from tiny import TinyBackbone


@pytest.fixture
def encoded(monkeypatch):
    """Numbers of images that went through the image tower, call by call."""
    calls = []
    encode = TinyBackbone.encode_regions

    def counted(self, images, **options):
        calls.append(len(images))
        return encode(self, images, **options)

    monkeypatch.setattr(TinyBackbone, "encode_regions", counted)
    return calls


@pytest.fixture
def train(run, table, photos, tmp_path):
    def call(name, *options):
        result = run("train", table, "--images", photos, "-o", tmp_path / name, "--epochs", 1, *options)
        assert result.exit_code == 0, result.output
        return tmp_path / name

    return call


def test_a_second_training_encodes_nothing_and_is_the_same(train, encoded):
    first = train("first")
    assert sum(encoded) == 6
    second = train("second")
    assert sum(encoded) == 6
    assert_equal_tensors(first, second)


def test_evaluation_shares_the_cache_with_training(run, train, table, photos, encoded):
    folder = train("out")
    encoded.clear()
    arguments = ("evaluate", folder, table, "--images", photos, "-f", "json")
    first = run(*arguments, "--split", "all")
    assert sum(encoded) == 2
    second = run(*arguments, "--split", "all")
    assert sum(encoded) == 2
    assert first.stdout == second.stdout == run(*arguments, "--split", "all", "--no-cache").stdout
    assert json.loads(first.stdout)["images"] == 8


def test_without_a_cache_nothing_is_kept(train, cache_folder, encoded):
    folder = train("first", "--no-cache")
    assert not cache_folder.exists()
    assert_equal_tensors(folder, train("second"))


def test_a_folder_can_be_named(train, cache_folder, tmp_path):
    folder = train("out", "--cache", tmp_path / "mine", "--cache-size", 0.5, "--feature-precision", "int8")
    assert not cache_folder.exists()
    (found,) = contents(tmp_path / "mine")
    assert (found.encoding.backbone, found.encoding.stored, found.rows) == ("lite", "int8", 6)
    arguments = record(folder)["arguments"]
    assert (arguments["cache_dir"], arguments["cache_size"]) == (str(tmp_path / "mine"), 0.5)
    assert record(folder)["source"]["options"]["feature_precision"] == "int8"


def test_a_folder_and_none_contradict_each_other(run, table, photos, tmp_path):
    result = run("train", table, "--images", photos, "-o", tmp_path / "out", "--cache", "mine", "--no-cache")
    assert result.exit_code == 1
    assert "Choose one" in result.stderr


def test_a_folder_of_the_users_own_that_cannot_be_written_is_done_without(train, cache_folder):
    cache_folder.write_text("")
    folder = train("out")
    assert load_file(folder / "model.safetensors")
    assert record(folder)["arguments"]["cache_dir"] is None


def test_a_folder_that_was_asked_for_and_cannot_be_written_is_an_error(run, table, photos, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("train", table, "--images", photos, "-o", tmp_path / "out", "--cache", tmp_path / "file")
    assert result.exit_code == 1
    assert "Give another cache folder" in result.stderr.replace("\n", " ")


def test_too_little_room_is_said_in_the_commands_words(run, table, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("dualcoop.cache.folder.FeatureCache.make_room", lambda self, size: False)
    result = run("train", table, "--images", photos, "-o", tmp_path / "out", "--epochs", 1)
    assert result.exit_code == 0
    assert "--cache-size 10 GiB" in result.stderr


def test_list_says_what_is_kept_and_where(run, train, cache_folder):
    train("out")
    result = run("cache", "list")
    assert result.exit_code == 0, result.output
    assert "lite" in result.stdout
    assert "32 px" in result.stdout
    assert str(cache_folder) in result.stderr
    assert "in 2 shards" in result.stderr


def test_an_empty_list_names_the_folder(run, cache_folder):
    result = run("cache", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert str(cache_folder) in result.stderr


def damage(folder):
    largest = max(stored_files(folder), key=lambda file: file.size)
    largest.path.write_bytes(largest.path.read_bytes()[:-1])


def test_check_tells_of_damage_and_repairs_it(run, train, cache_folder):
    train("out")
    assert run("cache", "check").exit_code == 0
    damage(cache_folder)
    result = run("cache", "check")
    assert result.exit_code == 1
    assert "cut off" in result.stderr
    assert "4 views are whole, 1 not" in result.stderr
    assert run("cache", "check", "--repair").exit_code == 0
    assert run("cache", "check").exit_code == 0
    assert contents(cache_folder)[0].rows == 5


def test_clear_wants_to_know_what(run, train, cache_folder):
    train("out")
    assert run("cache", "clear").exit_code == 1
    assert run("cache", "clear", "--all", "--backbone", "lite").exit_code == 1
    assert "there are no features of RN50" in run("cache", "clear", "--backbone", "RN50").stderr.replace("\n", " ")
    assert contents(cache_folder)[0].rows == 6


@pytest.mark.parametrize("options", [("--all",), ("--backbone", "lite")])
def test_clear_removes(run, train, cache_folder, options):
    train("out")
    result = run("cache", "clear", *options)
    assert result.exit_code == 0
    assert "KiB removed" in result.stderr
    assert stored_files(cache_folder) == []


def test_the_cache_is_looked_after_without_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from dualcoop.cli.app import app; "
        "CliRunner().invoke(app, ['cache', 'list']); print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
