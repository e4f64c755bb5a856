import json
from functools import partial
from types import SimpleNamespace

from huggingface_hub import scan_cache_dir

from dualcoop import __version__
from dualcoop.cli.commands import info as info_command


def test_versions_devices_and_backbones_are_shown(run):
    result = run("info")
    assert result.exit_code == 0, result.output
    assert __version__ in result.stdout
    for word in ("torch", "open_clip_torch", "--device auto", "bfloat16", "lite", "without a network"):
        assert word in result.stdout


def test_a_models_folder_is_described(run, trained):
    output = " ".join(run("info", trained).stdout.split())
    for words in ("class_specific True", "3: beach, dog, kite", "model.safetensors", "5 images", "validation"):
        assert words in output


def test_a_model_without_a_record_is_described_too(run, trained):
    config = json.loads((trained / "config.json").read_text())
    config["training_record"] = {}
    (trained / "config.json").write_text(json.dumps(config))
    result = run("info", trained)
    assert result.exit_code == 0, result.output
    assert "not recorded" in result.stdout


def test_a_folder_that_is_no_model_is_refused(run, photos):
    result = run("info", photos)
    assert result.exit_code == 1
    assert "config.json" in result.stderr


def test_a_damaged_configuration_is_named(run, trained):
    (trained / "config.json").write_text('{"format": "dualcoop"')
    result = run("info", trained)
    assert result.exit_code == 1
    assert "not valid JSON" in result.stderr


def test_weights_in_the_cache_count_as_there_without_a_network(monkeypatch):
    repositories = [SimpleNamespace(repo_id="timm/resnet50_clip.openai")]
    monkeypatch.setattr("huggingface_hub.scan_cache_dir", lambda: SimpleNamespace(repos=repositories))
    assert info_command._downloaded(["RN50", "RN101"]) == ["RN50/openai"]


def test_no_cache_at_all_is_nothing_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.scan_cache_dir", partial(scan_cache_dir, tmp_path / "none"))
    assert info_command._downloaded(["RN50"]) == []
