import warnings

import numpy as np
import pytest

from dualcoop.data.loading import load_dataset
from dualcoop.data.problems import DataWarning
from dualcoop.data.splits import generalized_test_images, seen_unseen_split, zero_shot_training_images
from dualcoop.errors import ConfigError, DataError

CONCEPTS = seen_unseen_split("nuswide-925-81").unseen
TAGS = seen_unseen_split("nuswide-925-81").seen
TRAIN = ["actor\\0001_21.jpg", "zebra\\0002_22.jpg"]
TEST = ["zebra\\0003_23.jpg"]


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return load_dataset(path, **options)


@pytest.fixture
def nuswide(tmp_path, photos):
    """NUS-WIDE's published layout with three images; each shows the concepts and tags given for it."""
    root = tmp_path / "nuswide"
    photos(*(name.replace("\\", "/") for name in TRAIN + TEST), folder="nuswide/Flickr")
    for folder in ("ImageList", "ConceptsList", "Groundtruth/TrainTestLabels", "NUS_WID_Tags"):
        (root / folder).mkdir(parents=True)
    (root / "ConceptsList" / "Concepts81.txt").write_bytes("\r\n".join(CONCEPTS).encode())
    # The published list of 1,000 tags holds concepts too, and another order.
    all_tags = [*reversed(TAGS), "animal", "beach"]
    (root / "NUS_WID_Tags" / "TagList1k.txt").write_text("\n".join(all_tags))
    present = {
        "Train": (TRAIN, [{"animal"}, {"zebra", "grass"}], [{"actor", "beach"}, set()]),
        "Test": (TEST, [{"zebra"}], [{"abandoned"}]),
    }
    for part, (names, concepts, tags) in present.items():
        lines = "".join(f"{name}\r\n" for name in names)
        (root / "ImageList" / f"{part}Imagelist.txt").write_bytes(lines.encode())
        for concept in CONCEPTS:
            lines = "".join(f"{int(concept in shown)}\n" for shown in concepts)
            (root / f"Groundtruth/TrainTestLabels/Labels_{concept}_{part}.txt").write_text(lines)
        rows = "".join("".join(f"{int(tag in given)}\t" for tag in all_tags) + "\n" for given in tags)
        (root / "NUS_WID_Tags" / f"{part}_Tags1k.dat").write_text(rows)
    return root


def shown(data, row=0):
    return {name for name, value in zip(data.classes, data.labels[row], strict=True) if value > 0}


def test_the_81_concepts_are_read_from_the_published_files(nuswide):
    data = quiet(nuswide)
    assert data.classes == CONCEPTS
    assert data.train.names == ("actor/0001_21.jpg", "zebra/0002_22.jpg")
    assert data.test.names == ("zebra/0003_23.jpg",)
    assert [shown(data.train, row) for row in range(2)] == [{"animal"}, {"zebra", "grass"}]
    assert data.train.known.all()


def test_the_925_tags_are_those_that_are_no_concepts(nuswide):
    data = quiet(nuswide, vocabulary="tags")
    assert data.classes == TAGS
    assert [shown(data.train, row) for row in range(2)] == [{"actor"}, set()]
    assert shown(data.test) == {"abandoned"}
    assert data.train.known.all()


def test_tags_that_were_not_given_can_count_as_unknown(nuswide):
    data = quiet(nuswide, vocabulary="tags", unlisted="unknown")
    assert data.train.known.sum() == 1


def test_all_classes_serve_the_zero_shot_protocol(nuswide):
    data = quiet(nuswide, vocabulary="all")
    split = seen_unseen_split("nuswide-925-81")
    assert data.classes == split.classes
    assert zero_shot_training_images(data.train, split).names == ("actor/0001_21.jpg",)
    assert shown(generalized_test_images(data.test, split)) == {"abandoned", "zebra"}


def test_another_vocabulary_is_refused(nuswide):
    with pytest.raises(ConfigError, match="vocabulary is 'words', expected one of concepts, tags, all"):
        quiet(nuswide, vocabulary="words")


def test_photographs_that_were_taken_down_are_reported_by_line(nuswide):
    (nuswide / "Flickr/zebra/0002_22.jpg").unlink()
    problem = quiet(nuswide).problems[0]
    assert (problem.row, problem.path) == (2, "zebra/0002_22.jpg")
    assert problem.source.endswith("TrainImagelist.txt")


def test_images_can_be_in_another_folder(nuswide, tmp_path):
    (nuswide / "Flickr").rename(tmp_path / "elsewhere")
    assert quiet(nuswide, images=tmp_path / "elsewhere").test.paths == (tmp_path / "elsewhere/zebra/0003_23.jpg",)


@pytest.mark.parametrize(
    "file",
    [
        "ConceptsList/Concepts81.txt",
        "ImageList/TestImagelist.txt",
        "Groundtruth/TrainTestLabels/Labels_zebra_Train.txt",
    ],
)
def test_files_that_are_missing_are_named(nuswide, file):
    (nuswide / file).unlink()
    with pytest.raises(DataError, match=f"{file.rsplit('/', 1)[1]}: the file is missing"):
        quiet(nuswide)


def test_labels_that_do_not_fit_the_image_list_are_refused(nuswide):
    file = nuswide / "Groundtruth/TrainTestLabels/Labels_zebra_Train.txt"
    file.write_text("0\n1\n0\n")
    with pytest.raises(DataError, match=r"zebra_Train\.txt: it holds 3 values, expected 2 images x 1 = 2"):
        quiet(nuswide)


def test_other_values_are_refused_with_their_row(nuswide):
    file = nuswide / "Groundtruth/TrainTestLabels/Labels_zebra_Train.txt"
    file.write_text("0\n2\n")
    with pytest.raises(DataError, match=r"Labels_zebra_Train\.txt, row 2: found '2', expected 0 and 1"):
        quiet(nuswide)


def test_a_tag_list_without_the_tags_is_refused(nuswide):
    (nuswide / "NUS_WID_Tags/TagList1k.txt").write_text("dog\ncat\n")
    with pytest.raises(DataError, match=r"TagList1k\.txt lacks the tags"):
        quiet(nuswide, vocabulary="tags")


@pytest.fixture
def matrices(tmp_path, photos):
    """Label matrices with image names, as later releases come."""

    def write(values, prefix="formatted_", part="train", names="npy", classes="dog\ncat\n"):
        root = tmp_path / "matrices"
        listed = [f"{part}{row}.jpg" for row in range(len(values))]
        photos(*listed, folder="matrices/images")
        np.save(root / f"{prefix}{part}_labels.npy", np.asarray(values))
        if names == "npy":
            np.save(root / f"{prefix}{part}_images.npy", np.array(listed))
        else:
            (root / f"{prefix}{part}_images.txt").write_text("\n".join(listed))
        (root / "classes.txt").write_text(classes)
        return root

    return write


@pytest.mark.parametrize("prefix", ["formatted_", ""])
@pytest.mark.parametrize("names", ["npy", "txt"])
def test_matrices_of_zero_and_one_are_read(matrices, prefix, names):
    data = quiet(matrices([[1.0, 0.0], [0.0, 1.0]], prefix, names=names))
    assert data.classes == ("dog", "cat")
    np.testing.assert_array_equal(data.train.labels, [[1, -1], [-1, 1]])


@pytest.mark.parametrize(
    ("parts", "expected"),
    [(("train", "val"), ["train", "test"]), (("train", "val", "test"), ["train", "valid", "test"])],
)
def test_val_is_for_testing_unless_there_is_a_test_matrix(matrices, parts, expected):
    roots = {matrices([[1, 0], [0, 1]], part=part) for part in parts}
    assert [name for name, _ in quiet(roots.pop()).parts()] == expected


def test_minus_one_in_a_matrix_is_refused_without_a_meaning(matrices):
    with pytest.raises(DataError, match=r"train_labels\.npy, row 2: the matrix holds -1.*minus_one='absent'"):
        quiet(matrices([[1, 0], [-1, 1]]))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"minus_one": "unknown"}, [[1, -1], [0, 1]]),
        ({"minus_one": "absent"}, [[1, -1], [-1, 1]]),
        ({"minus_one": "absent", "zero": "unknown"}, [[1, 0], [-1, 1]]),
    ],
)
def test_minus_one_and_zero_mean_what_the_options_say(matrices, options, expected):
    np.testing.assert_array_equal(quiet(matrices([[1, 0], [-1, 1]]), **options).train.labels, expected)


def test_other_values_in_a_matrix_are_refused_with_their_place(matrices):
    with pytest.raises(DataError, match=r"formatted_train_labels\.npy, row 2: 'dog' is 3"):
        quiet(matrices([[1, 0], [3, 1]]))


def test_a_matrix_that_does_not_fit_its_classes_is_refused(matrices):
    with pytest.raises(DataError, match=r"the matrix is \(2, 2\), expected \(2, 3\)"):
        quiet(matrices([[1, 0], [0, 1]], classes="dog\ncat\ncow\n"))


def test_pickled_arrays_are_refused(matrices):
    root = matrices([[1, 0], [0, 1]])
    np.save(root / "formatted_train_images.npy", np.array(["a.jpg", None], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"formatted_train_images\.npy: it cannot be read without pickle"):
        quiet(root)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"actor\\caf\xe9.jpg", "the file is not UTF-8")]
)
def test_lists_that_cannot_be_read_are_named(nuswide, content, reason):
    (nuswide / "ImageList" / "TrainImagelist.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"TrainImagelist\.txt: {reason}"):
        quiet(nuswide)
