import csv
import io
import json

import pytest

from dualcoop.cli.metrics import report_text
from dualcoop.data import load_dataset
from dualcoop.evaluation import evaluate
from dualcoop.methods.dualcoop import DualCoOp


def reference(trained, table, photos, part="test"):
    model = DualCoOp.from_pretrained(trained)
    data = getattr(load_dataset(table, images=photos), part)
    scores = model.predict_proba(data.paths)
    return evaluate(scores, data.labels, data.classes, threshold=model.thresholds.numpy())


def test_metrics_are_the_librarys_on_the_test_part(run, trained, table, photos):
    result = run("evaluate", trained, table, "--images", photos, "--format", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads(json.dumps(reference(trained, table, photos).to_dict()))


def test_another_part_is_measured_when_asked_for(run, trained, table, photos):
    result = run("evaluate", trained, table, "--images", photos, "--split", "train", "-f", "json")
    assert json.loads(result.stdout)["images"] == 6
    everything = run("evaluate", trained, table, "--images", photos, "--split", "all", "-f", "json")
    assert json.loads(everything.stdout)["images"] == 8


def test_one_image_is_said_in_the_singular():
    report = evaluate([[0.9, 0.1]], [[1, -1]], ("dog", "kite"))
    title = report_text(report, "table", per_class=False).splitlines()[0]
    assert title.strip() == "1 image, 2 classes; 1 label known present, 1 known absent"


def test_csv_has_four_decimals_whole_counts_and_nothing_where_a_figure_is_undefined():
    report = evaluate([[0.9, 0.1], [0.4, 0.3], [0.8, 0.2]], [[1, -1], [1, -1], [-1, 0]], ("a, b", "kite"))
    assert report_text(report, "csv", per_class=True) == (
        "class,AP,precision,recall,F1,known positives,known negatives\n"
        '"a, b",83.3333,50.0000,50.0000,50.0000,2,1\n'
        "kite,,0.0000,0.0000,0.0000,0,2\n"
    )


def test_the_only_part_is_measured_without_asking(run, trained, table, photos):
    table.write_text("\n".join(line.rsplit(",", 1)[0] for line in table.read_text().splitlines()))
    result = run("evaluate", trained, table, "--images", photos, "-f", "json")
    assert json.loads(result.stdout)["images"] == 8


def test_a_missing_part_is_named(run, trained, table, photos):
    result = run("evaluate", trained, table, "--images", photos, "--split", "valid")
    assert result.exit_code == 1
    assert "there is no valid part, only train and test" in result.stderr.replace("\n", " ")


def test_table_names_every_metric_with_its_protocol(run, trained, table, photos):
    output = " ".join(run("evaluate", trained, table, "--images", photos, "--per-class").stdout.split())
    assert "classes without positives skipped" in output
    assert "mean of per-class F1, per-class thresholds" in output
    assert "per class, lowest AP first" in output


def test_csv_has_a_row_for_each_metric_or_class(run, trained, table, photos):
    rows = list(csv.DictReader(io.StringIO(run("evaluate", trained, table, "--images", photos, "-f", "csv").stdout)))
    assert [row["key"] for row in rows][:2] == ["mAP", "mAP_zero"]
    result = run("evaluate", trained, table, "--images", photos, "-f", "csv", "--per-class")
    assert [row["class"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["beach", "dog", "kite"]


@pytest.mark.parametrize("name", ["metrics.json", "metrics.csv", "metrics.txt"])
def test_output_file_says_the_format(run, trained, table, photos, tmp_path, name):
    result = run("evaluate", trained, table, "--images", photos, "-o", tmp_path / "new" / name)
    assert result.exit_code == 0, result.output
    start = {"json": "{", "csv": "key,name", "txt": "2 images"}[name.rpartition(".")[2]]
    assert (tmp_path / "new" / name).read_text().lstrip().startswith(start)


def test_threshold_replaces_the_models(run, trained, table, photos):
    result = run("evaluate", trained, table, "--images", photos, "-f", "json", "--threshold", 0)
    assert json.loads(result.stdout)["metrics"]["OR"]["value"] == 100


def test_a_backbones_name_gives_zero_shot_figures(run, table, photos):
    result = run("evaluate", "lite", table, "--images", photos, "-f", "json")
    assert result.exit_code == 0, result.output
    assert "zero-shot" in result.stderr
    assert json.loads(result.stdout)["classes"] == 3


@pytest.fixture
def other_table(table):
    table.write_text(table.read_text().replace("kite", "surf board").replace("dog", "Dog"))
    return table


def test_other_classes_are_refused_with_the_difference(run, trained, other_table, photos):
    result = run("evaluate", trained, other_table, "--images", photos)
    assert result.exit_code == 1
    message = result.stderr.replace("\n", " ")
    assert "Only in the model: dog, kite." in message
    assert "Only in the data: Dog, surf board." in message


def test_common_classes_are_measured_with_their_own_thresholds(run, trained, other_table, photos):
    result = run("evaluate", trained, other_table, "--images", photos, "--classes", "common", "-f", "json")
    assert result.exit_code == 0, result.output
    per_class = json.loads(result.stdout)["per_class"]
    assert [row["name"] for row in per_class] == ["beach"]
    assert "2 classes of the model left out: dog, kite" in result.stderr
    data = load_dataset(other_table, images=photos).test.select_classes(["beach"])
    model = DualCoOp.from_pretrained(trained).with_classes(["beach"])
    expected = evaluate(model.predict_proba(data.paths), data.labels, data.classes, threshold=model.thresholds.numpy())
    assert per_class[0]["f1"] == pytest.approx(expected.per_class[0].f1)
    assert per_class[0]["average_precision"] == pytest.approx(expected.per_class[0].average_precision)


def test_no_common_class_is_refused(run, trained, table, photos):
    table.write_text(table.read_text().replace("kite", "a").replace("dog", "b").replace("beach", "c"))
    result = run("evaluate", trained, table, "--images", photos, "--classes", "common")
    assert "no class in common" in result.stderr.replace("\n", " ")


def test_underscores_and_order_of_class_names_do_not_matter(run, table, photos, tmp_path):
    table.write_text(table.read_text().replace("kite", "surf_board"))
    run("train", table, "--images", photos, "-o", tmp_path / "out", "--epochs", 1)
    command = ("--images", photos, "--format", "json")
    first = json.loads(run("evaluate", tmp_path / "out", table, *command).stdout)
    other = table.with_suffix(".jsonl")
    rows = csv.DictReader(io.StringIO(table.read_text().replace("surf_board", "surf board")))
    other.write_text("\n".join(json.dumps(row) for row in rows))
    second = json.loads(run("evaluate", tmp_path / "out", other, *command).stdout)
    assert first["per_class"] == second["per_class"]


def test_shared_prompts_are_carried_over_to_the_tables_classes(run, other_table, table, photos, tmp_path):
    trained = run("train", table, "--images", photos, "-o", tmp_path / "shared", "--shared", "--epochs", 1)
    assert trained.exit_code == 0, trained.output
    result = run("evaluate", tmp_path / "shared", other_table, "--images", photos, "--classes", "table", "-f", "json")
    assert result.exit_code == 0, result.output


def test_unreadable_images_are_left_out_or_stop(run, trained, table, photos):
    (photos / "6.png").write_bytes(b"\x89PNG broken")
    command = ("evaluate", trained, table, "--images", photos, "-f", "json")
    result = run(*command)
    assert json.loads(result.stdout)["images"] == 1
    assert "6.png" in result.stderr
    assert run(*command, "--strict").exit_code == 1


def test_every_image_unreadable_is_an_error(run, trained, table, photos):
    for name in ("6.png", "7.png"):
        (photos / name).write_bytes(b"\x89PNG broken")
    result = run("evaluate", trained, table, "--images", photos)
    assert "none of the 2 images can be read" in result.stderr.replace("\n", " ")
