import json
import warnings

import numpy as np
import pytest

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.errors import DataError

CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 3, "name": "traffic light"}]


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(path, **options)


def content(images, annotations, categories=CATEGORIES):
    return {
        "images": [{"id": ident, "file_name": name} for ident, name in images],
        "annotations": [
            {
                "id": 100 + index,
                "image_id": image,
                "category_id": category,
                "segmentation": [[1, 2]],
                "iscrowd": 0,
            }
            for index, (image, category) in enumerate(annotations)
        ],
        "categories": categories,
    }


@pytest.fixture
def coco(tmp_path, photos):
    """A folder in COCO's layout with two training and two validation images."""

    def write(year=2014, train=None, val=None):
        folder = tmp_path / "coco"
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        photos("a.jpg", "b.jpg", "c.jpg", folder=f"coco/train{year}")
        photos("v.jpg", "w.jpg", folder=f"coco/val{year}")
        train = train or content([(7, "a.jpg"), (8, "b.jpg"), (9, "c.jpg")], [(7, 18), (7, 18), (7, 1), (8, 3)])
        val = val or content([(5, "v.jpg"), (6, "w.jpg")], [(5, 1)])
        for part, values in (("train", train), ("val", val)):
            (folder / "annotations" / f"instances_{part}{year}.json").write_text(json.dumps(values))
        return folder

    return write


@pytest.mark.parametrize("year", [2014, 2017])
def test_train_is_for_training_and_val_for_testing(coco, year):
    data = quiet(coco(year))
    assert [(name, part.names) for name, part in data.parts()] == [
        ("train", ("a.jpg", "b.jpg")),
        ("test", ("v.jpg",)),
    ]


def test_classes_come_in_the_order_of_their_category_ids(coco):
    data = quiet(coco())
    assert data.classes == ("person", "traffic light", "dog")
    np.testing.assert_array_equal(data.train.labels, [[1, -1, 1], [-1, 1, -1]])


def test_images_without_annotation_are_dropped_and_counted(coco):
    assert "left out 2 images without any annotation" in quiet(coco()).notes


def test_dropping_them_does_not_stop_a_strict_load(coco):
    assert len(quiet(coco(), strict=True).train) == 2


def test_what_is_not_annotated_can_count_as_unknown(coco):
    data = quiet(coco(), unlisted="unknown")
    np.testing.assert_array_equal(data.train.labels, [[1, 0, 1], [0, 1, 0]])


def test_one_file_with_an_images_folder(tmp_path, photos):
    folder = photos("x.jpg", "sub/y.jpg", folder="images")
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(content([(1, "x.jpg"), (2, "sub/y.jpg")], [(1, 1), (2, 18)])))
    data = quiet(file, images=folder)
    assert data.train.names == ("x.jpg", "sub/y.jpg")
    assert data.test is None


def test_one_file_of_the_layout_finds_its_images_and_its_part(coco):
    folder = coco(2017)
    data = quiet(folder / "annotations" / "instances_val2017.json")
    assert data.train is None
    assert data.test.paths == (folder / "val2017" / "v.jpg",)


def test_images_may_stand_in_a_folder_of_their_own(coco, tmp_path):
    folder = coco(2017)
    (tmp_path / "elsewhere").mkdir()
    for part in ("train2017", "val2017"):
        (folder / part).rename(tmp_path / "elsewhere" / part)
    data = quiet(folder, images=tmp_path / "elsewhere")
    assert data.test.paths == (tmp_path / "elsewhere" / "val2017" / "v.jpg",)


def test_validation_images_are_held_out_from_training(coco):
    data = quiet(coco(), valid_fraction=0.5)
    assert (len(data.train), len(data.valid), len(data.test)) == (1, 1, 1)


def test_classes_can_be_chosen(coco):
    data = quiet(coco(), classes=["dog", "person"])
    assert data.classes == ("dog", "person")
    np.testing.assert_array_equal(data.train.labels, [[1, 1], [-1, -1]])


def test_an_unknown_class_is_named(coco):
    with pytest.raises(DataError, match=r"no such class: 'cow'. The classes are 'person'"):
        quiet(coco(), classes=["cow"])


def test_two_years_in_a_folder_ask_for_one(coco):
    coco(2014)
    folder = coco(2017)
    with pytest.raises(DataError, match=r"annotations of 2014 and 2017\. Pass year=2014"):
        quiet(folder)
    assert quiet(folder, year=2017).train.paths[0].parent.name == "train2017"


def test_a_year_that_is_not_there_is_named(coco):
    with pytest.raises(DataError, match=r"no annotations/instances_train2017\.json\. There are annotations of 2014"):
        quiet(coco(2014), year=2017)


def test_annotations_of_unknown_images_and_categories_are_reported(coco):
    train = content([(7, "a.jpg"), (8, "b.jpg")], [(7, 18), (99, 1), (8, 77), (8, 1)])
    data = quiet(coco(train=train))
    reasons = [(problem.row, problem.reason) for problem in data.problems[:2]]
    assert reasons == [
        (101, "an annotation is about image 99, which is not listed"),
        (102, "an annotation has category 77, which is not listed"),
    ]
    assert data.problems[1].path == "b.jpg"


def test_records_without_their_fields_are_reported(coco):
    train = content([(7, "a.jpg"), (8, "b.jpg"), (8, "c.jpg")], [(7, 18), (8, 1)])
    train["images"].append({"id": 11})
    train["annotations"].append({"id": 300, "image_id": 7})
    reasons = [problem.reason for problem in quiet(coco(train=train)).problems]
    assert reasons[:3] == [
        "the image's id is used twice",
        "an image lacks its id or its file_name",
        "an annotation lacks its image_id or category_id",
    ]


def test_a_missing_image_is_reported_by_its_id(coco):
    folder = coco()
    (folder / "train2014" / "b.jpg").unlink()
    data = quiet(folder)
    assert (data.problems[0].row, data.problems[0].path) == (8, "b.jpg")
    assert "instances_train2014.json" in data.problems[0].source


def test_parts_with_other_categories_are_refused(coco):
    val = content([(5, "v.jpg")], [(5, 1)], CATEGORIES[:2])
    with pytest.raises(DataError, match=r"instances_val2014\.json: its categories are not those of"):
        quiet(coco(val=val))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "this is no readable JSON"),
        ("[]", "this is a JSON list, not COCO's format"),
        ('"text"', "lists are missing: 'images', 'annotations', 'categories'"),
        ('{"images": [], "categories": []}', "lists are missing: 'annotations'"),
        ('{"images": [], "annotations": [], "categories": []}', "the list of categories is empty"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1}]}',
            "a category lacks its id or its name",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name":"a"}, {"id": 2, "name":"a"}]}',
            "two categories have the same name",
        ),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}',
            "no image has an annotation",
        ),
    ],
)
def test_files_that_are_no_annotations_say_why(tmp_path, text, reason):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(DataError, match=f"mine\\.json: {reason}"):
        quiet(tmp_path / "mine.json")


def test_a_test_file_of_ones_own_makes_way_for_val(coco):
    folder = coco()
    (folder / "annotations" / "instances_test2014.json").write_text("{")
    assert quiet(folder).test.names == ("v.jpg",)


def test_a_test_file_of_ones_own_is_for_testing_without_val(coco):
    folder = coco()
    place = folder / "annotations"
    (place / "instances_val2014.json").rename(place / "instances_test2014.json")
    (folder / "val2014").rename(folder / "test2014")
    assert quiet(folder).test.paths == (folder / "test2014" / "v.jpg",)
