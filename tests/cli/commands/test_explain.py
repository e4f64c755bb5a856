import re

import pytest
from PIL import Image


def test_heat_map_is_written_and_the_score_said(run, photos, tmp_path):
    result = run("explain", photos / "1.png", "--label", "dog", "--output", tmp_path / "new" / "heat.png")
    assert result.exit_code == 0, result.output
    assert re.match(r"dog [01]\.\d\d \((not )?present\)", result.stdout)
    with Image.open(tmp_path / "new" / "heat.png") as image:
        assert image.format == "PNG"


def test_several_labels_make_a_wider_image(run, photos, tmp_path):
    run("explain", photos / "1.png", "-l", "dog", "-o", tmp_path / "one.png")
    result = run("explain", photos / "1.png", "-l", "dog, kite", "-l", "beach", "-o", tmp_path / "three.png")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["dog", "kite", "beach"]
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "three.png") as three:
        assert three.width > one.width


def test_trained_model_explains_its_labels_only(run, photos, trained, tmp_path):
    output = tmp_path / "heat.png"
    assert run("explain", photos / "1.png", "-l", "kite", "--model", trained, "-o", output).exit_code == 0
    result = run("explain", photos / "1.png", "-l", "cat", "--model", trained, "-o", output)
    assert result.exit_code == 1
    assert "'cat' is none of the model's 3 classes" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.jpg", "-l", "dog"), "nowhere.jpg: the file is missing"),
        (("PHOTOS", "-l", "dog"), "this is a folder, not an image"),
        (("PHOTO", "-l", " , "), "holds no label"),
        (("PHOTO", "-l", "dog", "--model", "x", "--backbone", "lite"), "--model x has a backbone of its own"),
        (("PHOTO", "-l", "dog", "-o", "PHOTOS"), "this is a folder. Name a file"),
        (("PHOTO", "-l", "dog", "-o", "heat.xyz"), "heat.xyz: the heat map cannot be written"),
    ],
)
def test_bad_input_is_said_in_one_message(run, photos, arguments, message):
    places = {"PHOTOS": photos, "PHOTO": photos / "1.png"}
    result = run("explain", *(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
