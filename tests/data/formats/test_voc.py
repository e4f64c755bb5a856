import warnings

import numpy as np
import pytest

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.errors import DataError


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(path, **options)


def annotation(ident, objects, suffix=".jpg"):
    parts = "".join(
        f"<object><name>{name}</name><part><name>head</name></part><difficult>{difficult}</difficult></object>"
        for name, difficult in objects
    )
    return f"<annotation><filename>{ident}{suffix}</filename>{parts}</annotation>"


@pytest.fixture
def voc(tmp_path, photos):
    """A VOC folder: `objects` by image id, and the lists of ImageSets/Main."""

    def write(objects, folder="VOC2007", **lists):
        photos(*(f"{ident}.jpg" for ident in objects), folder=f"{folder}/JPEGImages")
        root = tmp_path / folder
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        for ident, entries in objects.items():
            if entries is not None:
                (root / "Annotations" / f"{ident}.xml").write_text(annotation(ident, entries))
        for name, idents in lists.items():
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{ident}\n" for ident in idents))
        return root

    return write


OBJECTS = {
    "000001": [("dog", 0), ("person", 0), ("dog", 1)],
    "000002": [("dog", 1), ("cat", 0)],
    "000003": [("person", 0)],
    "000004": [],
}


def test_trainval_is_for_training_and_test_for_testing(voc):
    data = quiet(
        voc(
            OBJECTS,
            trainval=["000001", "000002"],
            test=["000003", "000004"],
            train=["000001"],
            val=["000002"],
        )
    )
    assert data.classes == ("cat", "dog", "person")
    assert data.train.names == ("000001.jpg", "000002.jpg")
    assert data.test.names == ("000003.jpg", "000004.jpg")
    np.testing.assert_array_equal(data.test.labels, [[-1, -1, 1], [-1, -1, -1]])


def test_an_image_with_only_a_difficult_dog_has_no_dog(voc):
    data = quiet(voc(OBJECTS, trainval=["000001", "000002"], test=["000003"]))
    dog = data.classes.index("dog")
    np.testing.assert_array_equal(data.train.labels[:, dog], [1, -1])
    assert "objects marked difficult do not count: 1 image with a class that has no other object there" in str(data)


def test_a_class_whose_objects_are_all_difficult_is_still_a_class(voc):
    data = quiet(voc({"1": [("cow", 1)], "2": [("dog", 0)]}, trainval=["1", "2"], test=["2"]))
    assert data.classes == ("cow", "dog")


def test_without_test_labels_val_is_for_testing(voc):
    objects = {**OBJECTS, "000009": None}
    root = voc(objects, "VOC2012", trainval=["000001", "000002"], train=["000001"], val=["000002"], test=["000009"])
    data = quiet(root)
    assert data.train.names == ("000001.jpg",)
    assert data.test.names == ("000002.jpg",)
    assert "the test part has no labels here" in str(data)


def test_trainval_alone_is_for_training(voc):
    data = quiet(voc(OBJECTS, trainval=["000001", "000003"]))
    assert [name for name, _ in data.parts()] == ["train"]


def test_what_is_not_annotated_can_count_as_unknown(voc):
    data = quiet(voc(OBJECTS, trainval=["000002"], test=["000003"]), unlisted="unknown")
    np.testing.assert_array_equal(data.train.labels, [[1, -1, 0]])


def test_the_devkit_above_is_found_and_asks_for_a_year(voc, tmp_path):
    voc(OBJECTS, "VOCdevkit/VOC2007", trainval=["000001"], test=["000003"])
    assert quiet(tmp_path / "VOCdevkit").train.names == ("000001.jpg",)
    voc(OBJECTS, "VOCdevkit/VOC2012", trainval=["000002"], train=["000002"], val=["000003"])
    with pytest.raises(DataError, match=r"it holds VOC2007, VOC2012\. Choose by year or pass the path"):
        quiet(tmp_path / "VOCdevkit")
    assert quiet(tmp_path / "VOCdevkit", year=2012).train.names == ("000002.jpg",)
    with pytest.raises(DataError, match="there is no VOC data set of 2010"):
        quiet(tmp_path / "VOCdevkit", year=2010)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is missing"),
        ("<annotation><object>", "cannot be read"),
        ("<annotation><object><difficult>0</difficult></object></annotation>", "an object has no name"),
    ],
)
def test_images_without_a_readable_annotation_are_reported(voc, text, reason):
    root = voc({**OBJECTS, "000005": None}, trainval=["000001", "000005"], test=["000003"])
    if text is not None:
        (root / "Annotations" / "000005.xml").write_text(text)
    data = quiet(root)
    assert data.train.names == ("000001.jpg",)
    assert (data.problems[0].row, data.problems[0].path) == (2, "000005")
    assert data.problems[0].source.endswith("trainval.txt")
    assert reason in data.problems[0].reason


def test_an_image_listed_twice_is_reported(voc):
    data = quiet(voc(OBJECTS, trainval=["000001", "000001"], test=["000003"]))
    assert "row 2 (000001.jpg): the image is listed already, in train, row 1" in str(data.problems[0])


def test_an_image_of_both_parts_stays_out_of_the_test(voc):
    data = quiet(voc(OBJECTS, trainval=["000001"], test=["000003", "000001"]))
    assert data.test.names == ("000003.jpg",)
    assert "row 2 (000001.jpg): the image is listed already, in train, row 1" in str(data.problems[0])


def test_other_image_formats_are_found_by_the_annotation(voc, photos):
    root = voc({"1": [("dog", 0)]}, trainval=["1"])
    (root / "JPEGImages" / "1.jpg").unlink()
    photos("1.png", folder="VOC2007/JPEGImages")
    (root / "Annotations" / "1.xml").write_text(annotation("1", [("dog", 0)], ".png"))
    assert quiet(root).train.names == ("1.png",)


def test_lists_that_are_missing_are_named(voc):
    with pytest.raises(DataError, match=r"there is no trainval\.txt and no train\.txt"):
        quiet(voc(OBJECTS))


def test_annotations_without_any_object_are_refused(voc):
    with pytest.raises(DataError, match="Annotations: no annotation names an object"):
        quiet(voc({"1": []}, trainval=["1"]))


def test_train_alone_is_for_training(voc):
    data = quiet(voc(OBJECTS, train=["000001", "000003"]))
    assert [(name, len(part)) for name, part in data.parts()] == [("train", 2)]


def test_a_wrong_format_is_told_by_its_loader(voc):
    root = voc(OBJECTS, trainval=["000001"])
    assert quiet(root, format="voc").train.names == ("000001.jpg",)
    with pytest.raises(DataError, match="instances_train2014"):
        quiet(root, format="coco")
