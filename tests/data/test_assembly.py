import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.errors import ConfigError, DataError

ROWS = "image,labels\na.jpg,dog\nb.jpg,dog\nc.jpg,dog\n"


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(path, **options)


def test_a_missing_image_is_named_with_row_place_and_remedy(table, tmp_path):
    file = table(ROWS + "gone.jpg,dog\n")
    data = quiet(file)
    assert data.train.names == ("a.jpg", "b.jpg", "c.jpg")
    assert [str(problem) for problem in data.problems] == [
        f"{file}, row 5 (gone.jpg): the file is missing (looked for {tmp_path / 'gone.jpg'}). Check the "
        "name or give the folder that the names start from with images."
    ]


def test_a_name_that_is_nearly_right_gets_a_hint(table):
    data = quiet(table(ROWS + "D.JPEG,dog\n"))
    assert "The folder has 'd.jpg': correct the name." in str(data.problems[0])


def test_a_web_address_is_recognised(table):
    data = quiet(table(ROWS + "https://example.org/d.jpg,dog\n"))
    assert "This is a web address: download the image" in str(data.problems[0])


def test_an_empty_image_is_named_with_its_row(table, tmp_path):
    file = table(ROWS + "zero.jpg,dog\n")
    (tmp_path / "zero.jpg").touch()
    data = quiet(file)
    assert str(data.problems[0]).startswith(f"{file}, row 5 (zero.jpg): the file is empty (0 bytes)")
    assert len(data.train) == 3


def test_strict_stops_at_a_missing_image(table):
    with pytest.raises(DataError, match=r"row 3 \(gone\.jpg\): the file is missing"):
        quiet(table("image,labels\na.jpg,dog\ngone.jpg,dog\n"), strict=True)


def test_skipped_rows_are_summed_up_in_one_warning(table):
    file = table(ROWS + "gone.jpg,dog\nlost.jpg,dog\n")
    with pytest.warns(DataWarning, match=r"labels\.csv: 2 problems, all in \.problems(.|\n)*row 5 \(gone\.jpg\)"):
        load_dataset(file, unlisted="absent")


def test_names_from_windows_are_found(table, photos):
    photos("sub/x.jpg", folder=".")
    data = quiet(table("image,labels\nsub\\x.jpg,dog\n"))
    assert data.train.names == ("sub/x.jpg",)


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_with_accents_are_found_however_they_are_composed(table, photos, written, stored):
    photos(unicodedata.normalize(stored, "café.jpg"), folder=".")
    data = quiet(table(f"image,labels\n{unicodedata.normalize(written, 'café.jpg')},dog\n"))
    assert len(data.train) == 1


def test_absolute_names_need_no_folder(table, photos):
    folder = photos("x.jpg", folder="elsewhere")
    assert quiet(table(f"image,labels\n{folder / 'x.jpg'},dog\n")).train.paths == (folder / "x.jpg",)


def test_images_can_be_in_another_folder(table, photos):
    folder = photos("x.jpg", folder="elsewhere")
    data = quiet(table("image,labels\nx.jpg,dog\n"), images=folder)
    assert data.train.paths == (folder / "x.jpg",)
    assert data.train.names == ("x.jpg",)


def test_an_images_folder_that_is_missing_is_named(table, tmp_path):
    with pytest.raises(DataError, match=r"images is '.*nowhere', which is no folder"):
        load_dataset(table(ROWS), images=tmp_path / "nowhere")


def test_when_no_image_is_found_the_right_folder_is_suggested(table, photos):
    folder = photos("x.jpg", "y.jpg", folder="images")
    file = table("image,labels\nx.jpg,dog\ny.jpg,dog\n")
    with pytest.raises(DataError, match=rf"none of its 2 images can be used.*pass images='{folder}'"):
        quiet(file)


def test_broken_images_are_found_when_asked_to_decode_them(table, tmp_path):
    file = table(ROWS + "half.jpg,dog\ntext.jpg,dog\nd.jpg,dog\n")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "half.jpg")
    (tmp_path / "half.jpg").write_bytes((tmp_path / "half.jpg").read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("no image")
    assert len(quiet(file).train) == 6
    data = quiet(file, check_images=True)
    assert data.train.names == ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    assert [(problem.row, problem.path) for problem in data.problems] == [(5, "half.jpg"), (6, "text.jpg")]
    assert "truncated or damaged" in data.problems[0].reason


def test_rows_are_named_rightly_when_an_earlier_image_is_missing(table, tmp_path):
    file = table("image,labels\ngone.jpg,dog\na.jpg,dog\ntext.jpg,dog\n")
    (tmp_path / "text.jpg").write_text("no image")
    data = quiet(file, check_images=True)
    assert [(problem.row, problem.path) for problem in data.problems] == [(2, "gone.jpg"), (4, "text.jpg")]


def test_huge_images_are_reported_when_checked(table):
    data = quiet(table(ROWS + "d.jpg,dog\n"), check_images=True, max_pixels=96)
    assert len(data.train) == 4
    with pytest.raises(DataError, match=r"none of its 4 images.*row 2 \(a\.jpg\): the image is 12 x 8 = 96 pixels"):
        quiet(table(ROWS + "d.jpg,dog\n"), check_images=True, max_pixels=95)


def test_checking_reports_its_progress(table):
    seen = []
    quiet(table(ROWS), check_images=True, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_strict_check_stops_at_the_first_broken_image(table, tmp_path):
    file = table(ROWS + "text.jpg,dog\n")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"row 5 \(text\.jpg\): this is not an image"):
        quiet(file, check_images=True, strict=True)


def test_classes_without_a_positive_are_reported_once(table):
    file = table("image,dog,cat,cow\na.jpg,1,0,0\nb.jpg,1,,0\n")
    data = quiet(file)
    assert [str(problem) for problem in data.problems] == [
        f"{file}: 2 of 3 classes are present in no train image: 'cat', 'cow'. Label an image of each, "
        "correct the spelling or leave them out with classes=[...]."
    ]
    assert data.classes == ("dog", "cat", "cow")


def test_a_class_whose_only_image_is_missing_counts_as_without_positives(table):
    data = quiet(table("image,labels\na.jpg,dog\ngone.jpg,cat\n"))
    assert "1 of 2 classes is present in no train image: 'cat'" in str(data.problems[-1])


def many(table, photos, count=40, split=""):
    names = [f"{index:02}.jpg" for index in range(count)]
    photos(*names, folder=".")
    return table(f"image,labels{split and ',split'}\n" + "".join(f"{name},dog{split}\n" for name in names))


def test_without_split_information_everything_is_for_training(table, photos):
    data = quiet(many(table, photos))
    assert [(name, len(part)) for name, part in data.parts()] == [("train", 40)]


def test_fractions_hold_out_images(table, photos):
    data = quiet(many(table, photos), valid_fraction=0.2, test_fraction=0.25, seed=1)
    assert [(name, len(part)) for name, part in data.parts()] == [("train", 22), ("valid", 8), ("test", 10)]
    names = [name for _, part in data.parts() for name in part.names]
    assert len(set(names)) == 40


def test_the_seed_decides_which(table, photos):
    file = many(table, photos)
    first, again, other = (quiet(file, valid_fraction=0.5, seed=seed).valid.names for seed in (0, 0, 1))
    assert first == again != other


def test_validation_is_held_out_from_training_beside_a_given_test_part(table, photos):
    photos("t.jpg", folder=".")
    file = many(table, photos, split=",train")
    file.write_text(file.read_text() + "t.jpg,dog,test\n")
    data = quiet(file, valid_fraction=0.1)
    assert [(name, len(part)) for name, part in data.parts()] == [("train", 36), ("valid", 4), ("test", 1)]


def test_a_small_fraction_holds_out_at_least_one_image(table):
    assert len(quiet(table(ROWS), valid_fraction=0.01).valid) == 1


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_fraction_outside_its_range_is_refused(table, fraction):
    with pytest.raises(ConfigError, match=f"valid_fraction is {fraction}, expected a number between 0 and 1"):
        quiet(table(ROWS), valid_fraction=fraction)


def test_a_fraction_for_a_part_that_is_there_is_refused(table):
    with pytest.raises(ConfigError, match="has a test part of its own"):
        quiet(table("image,labels,split\na.jpg,dog,train\nb.jpg,dog,test\n"), test_fraction=0.5)


def test_fractions_that_leave_nothing_to_train_on_are_refused(table):
    with pytest.raises(ConfigError, match="2 for test and 1 for valid leaves none of 3 images"):
        quiet(table(ROWS), valid_fraction=0.4, test_fraction=0.6)


def test_nothing_can_be_held_out_without_a_train_part(table):
    with pytest.raises(ConfigError, match="no train part to hold images out from"):
        quiet(table("image,labels,split\na.jpg,dog,test\nb.jpg,dog,test\n"), valid_fraction=0.5)
