import csv
import json

import pytest

from dualcoop.cli.commands import tag as tag_command
from dualcoop.data import load_dataset
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.prompts import TemplateConfig
from tiny import TinyBackbone

LABELS = ("--labels", "dog, beach, kite")


def jsonl(text):
    return [json.loads(line) for line in text.splitlines()]


def test_folder_goes_down_and_every_image_gets_its_scores(run, photos):
    result = run("tag", photos, *LABELS, "--format", "jsonl", "--top", 3)
    assert result.exit_code == 0, result.output
    rows = jsonl(result.stdout)
    assert [row["path"] for row in rows] == sorted(map(str, photos.rglob("*.png")), key=lambda p: ("below" in p, p))
    assert all(set(row["scores"]) == {"dog", "beach", "kite"} for row in rows)


def test_scores_are_the_models_own(run, photos):
    rows = jsonl(run("tag", photos / "1.png", *LABELS, "-f", "jsonl", "--precision", "float32").stdout)
    backbone = TinyBackbone(name="lite")
    backbone.logit_scale, backbone.logit_bias = 20.0, -4.0
    model = DualCoOp.zero_shot("lite", ["dog", "beach", "kite"], backbone=backbone)
    assert rows[0]["scores"] == pytest.approx(model.predict(photos / "1.png").scores, abs=1e-4)


def test_backbone_without_a_bias_is_scored_by_both_templates(run, photos, monkeypatch):
    monkeypatch.setattr("dualcoop.backbones.lite.load_lite", lambda: TinyBackbone(name="clip"))
    rows = jsonl(run("tag", photos / "1.png", *LABELS, "-f", "jsonl", "--precision", "float32").stdout)
    model = DualCoOp(TinyBackbone(), ["dog", "beach", "kite"], TemplateConfig())
    assert rows[0]["scores"] == pytest.approx(model.predict(photos / "1.png").scores, abs=1e-4)


def test_globs_and_files_are_taken_once(run, photos):
    result = run("tag", photos / "[12].png", photos / "1.png", *LABELS, "-f", "jsonl")
    assert [row["path"][-5:] for row in jsonl(result.stdout)] == ["1.png", "2.png"]


def test_table_is_the_default_and_shows_the_best_five(run, photos):
    result = run("tag", photos / "1.png", "--labels", "a, b, c, d, e, f, g")
    words = result.stdout.split()
    assert words[0] == str(photos / "1.png")
    assert len(words) == 1 + 2 * 5
    scores = [float(word) for word in words[2::2]]
    assert scores == sorted(scores, reverse=True)


def test_threshold_decides_what_counts_as_present(run, photos):
    def labels(threshold):
        return jsonl(run("tag", photos / "1.png", *LABELS, "-f", "jsonl", "--threshold", threshold).stdout)[0]["labels"]

    assert len(labels(0)) == 3
    assert labels(1) == []


def test_all_scores_has_a_column_for_each_label(run, photos):
    result = run("tag", photos / "1.png", *LABELS, "-f", "csv", "--all-scores", "--top", 1)
    assert next(csv.reader([result.stdout.splitlines()[0]])) == ["image", "labels", "dog", "beach", "kite"]


def test_csv_of_tags_can_be_read_as_a_label_table(run, photos, tmp_path):
    run("tag", photos, *LABELS, "-o", tmp_path / "tags.csv", "--threshold", 0)
    data = load_dataset(tmp_path / "tags.csv", unlisted="absent")
    assert len(data.train) == 8
    assert (data.train.labels == 1).all()


def test_trained_model_gives_its_own_labels(run, photos, trained):
    rows = jsonl(run("tag", photos / "1.png", "--model", trained, "-f", "jsonl").stdout)
    assert set(rows[0]["scores"]) == {"dog", "beach", "kite"}


def test_shared_prompts_carry_over_to_other_labels(run, photos, table, tmp_path):
    run("train", table, "--images", photos, "-o", tmp_path / "shared", "--shared", "--epochs", 1)
    result = run("tag", photos / "1.png", "--model", tmp_path / "shared", "--labels", "cat", "-f", "jsonl")
    assert set(jsonl(result.stdout)[0]["scores"]) == {"cat"}


def test_class_specific_prompts_refuse_other_labels(run, photos, trained):
    result = run("tag", photos / "1.png", "--model", trained, "--labels", "cat")
    assert result.exit_code == 1
    assert "class-specific" in result.stderr
    assert "Train with `dualcoop train --shared`" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("model", ["a-model", "tagger.onnx"])
def test_a_backbone_beside_a_trained_model_is_refused(run, photos, model):
    result = run("tag", photos, "--model", model, "--backbone", "lite")
    assert result.exit_code == 1
    assert f"--model {model} has a backbone of its own" in result.stderr.replace("\n", " ")


def test_unreadable_images_are_skipped_named_and_counted(run, photos):
    (photos / "broken.png").write_bytes(b"\x89PNG not really")
    result = run("tag", photos, *LABELS, "-f", "jsonl")
    assert result.exit_code == 0
    assert len(jsonl(result.stdout)) == 8
    assert "broken.png" in result.stderr
    assert "1 skipped because they could not be read" in result.stderr


def test_a_image_that_is_too_large_gets_a_remedy_of_the_command_line(run, photos, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 8)
    result = run("tag", photos / "1.png", *LABELS)
    assert "too large to be decoded safely" in result.stderr.replace("\n", " ")
    assert "Scale it down.\n" in result.stderr


def test_strict_stops_at_the_first_unreadable_image_and_keeps_what_is_done(run, photos, tmp_path):
    (photos / "4.png").write_bytes(b"")
    result = run("tag", photos, *LABELS, "-o", tmp_path / "tags.csv", "--strict", "--batch-size", 1)
    assert result.exit_code == 1
    assert "4.png: the file is empty" in result.stderr
    assert len((tmp_path / "tags.csv").read_text().splitlines()) == 1 + 3


def test_nothing_readable_is_an_error(run, photos):
    (photos / "1.png").write_bytes(b"")
    result = run("tag", photos / "1.png", *LABELS)
    assert result.exit_code == 1
    assert "no image could be read" in result.stderr


def test_interruption_keeps_the_rows_and_resume_adds_the_others(run, photos, tmp_path, monkeypatch):
    output = tmp_path / "tags.csv"
    command = ("tag", photos, *LABELS, "-o", output, "--batch-size", 1)
    written = []
    original = tag_command.Tally.__setattr__

    def stop_after_three(self, name, value):
        original(self, name, value)
        if name == "tagged" and value == 3:
            written.append(value)
            raise KeyboardInterrupt

    monkeypatch.setattr(tag_command.Tally, "__setattr__", stop_after_three)
    result = run(*command)
    assert (result.exit_code, written) == (130, [3])
    assert f"3 of 8 images tagged; they are in {output}" in result.stderr.replace("\n", "")
    monkeypatch.undo()
    monkeypatch.setattr("dualcoop.backbones.lite.load_lite", lambda: TinyBackbone(name="lite"))
    resumed = run(*command, "--resume")
    assert resumed.exit_code == 0
    assert "5 images tagged" in resumed.stderr
    assert "3 were there before" in resumed.stderr
    images = [row[0] for row in csv.reader(output.open(newline=""))][1:]
    assert sorted(images) == sorted(map(str, photos.rglob("*.png")))


def test_existing_output_is_not_lost(run, photos, tmp_path):
    (tmp_path / "tags.csv").write_text("precious\n")
    result = run("tag", photos, *LABELS, "-o", tmp_path / "tags.csv")
    assert result.exit_code == 1
    assert "--resume" in result.stderr
    assert (tmp_path / "tags.csv").read_text() == "precious\n"
    assert run("tag", photos, *LABELS, "-o", tmp_path / "tags.csv", "--overwrite").exit_code == 0


def test_bfloat16_changes_scores_a_little_and_not_the_shape(run, photos):
    full, low = (
        jsonl(run("tag", photos / "1.png", *LABELS, "-f", "jsonl", "--precision", precision).stdout)[0]
        for precision in ("float32", "bfloat16")
    )
    assert low["scores"] == pytest.approx(full["scores"], abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.jpg", *LABELS), "missing.jpg: the file or folder is missing"),
        (("*.xyz", *LABELS), "no image matches this pattern"),
        (("PHOTOS",), "say what to look for"),
        (("PHOTOS", "--labels", ","), "holds no label"),
        (("PHOTOS", "--labels", "@nowhere.txt"), "nowhere.txt: the labels cannot be read"),
        (("PHOTOS", "--model", "lite"), "'lite' is no trained model"),
        (("PHOTOS", "--model", "PHOTOS"), "holds no saved model"),
        (("PHOTOS", *LABELS, "--backbone", "nothing"), "nothing"),
        (("PHOTOS", *LABELS, "--device", "abacus"), "abacus"),
        (("PHOTOS", *LABELS, "--image-size", "33"), "33"),
    ],
)
def test_bad_input_is_said_in_one_message(run, photos, arguments, message):
    result = run("tag", *(str(photos) if argument == "PHOTOS" else argument for argument in arguments))
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_broken_model_folder_is_said_in_one_message(run, photos, trained):
    content = (trained / "model.safetensors").read_bytes()
    (trained / "model.safetensors").write_bytes(content[: len(content) // 2])
    result = run("tag", photos, "--model", trained)
    assert result.exit_code == 1
    assert "model.safetensors: the content is not what config.json says" in result.stderr.replace("\n", " ")


def test_missing_arguments_among_others_are_named_and_the_rest_is_tagged(run, photos):
    result = run("tag", photos / "1.png", "missing.jpg", *LABELS, "-f", "jsonl")
    assert result.exit_code == 0
    assert len(jsonl(result.stdout)) == 1
    assert "missing.jpg" in result.stderr
    assert run("tag", photos / "1.png", "missing.jpg", *LABELS, "--strict").exit_code == 1
