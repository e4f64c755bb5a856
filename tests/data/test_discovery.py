import pytest

from dualcoop.data.discovery import find_images


def names(found, folder):
    return [path.relative_to(folder).as_posix() for path in found.paths]


def test_a_folder_gives_the_images_below_it_in_order(photos):
    folder = photos("b.jpg", "a.PNG", "sub/c.jpg")
    (folder / "readme.txt").write_text("no image")
    found = find_images(folder)
    assert names(found, folder) == ["a.PNG", "b.jpg", "sub/c.jpg"]
    assert found.problems == []


def test_hidden_files_and_leftovers_of_archives_are_passed_over(photos):
    folder = photos("a.jpg", "._a.jpg", ".cache/b.jpg", "__MACOSX/c.jpg", "@eaDir/d.jpg")
    assert names(find_images(folder), folder) == ["a.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("*", ["a.jpg", "b.jpg", "deep/c.jpg", "deep/er/d.jpg"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "deep/c.jpg", "deep/er/d.jpg"]),
        ("deep/**", ["deep/c.jpg", "deep/er/d.jpg"]),
        ("[b-z].jpg", ["b.jpg"]),
    ],
)
def test_patterns_are_expanded(photos, pattern, expected):
    folder = photos("b.jpg", "a.jpg", "deep/c.jpg", "deep/er/d.jpg")
    assert names(find_images(str(folder / pattern)), folder) == expected


def test_a_name_with_brackets_that_exists_is_no_pattern(photos):
    folder = photos("photo[1].jpg", "photo1.jpg")
    assert names(find_images(folder / "photo[1].jpg"), folder) == ["photo[1].jpg"]


def test_a_named_file_is_taken_whatever_its_suffix(photos):
    folder = photos("a.jpg")
    (folder / "scan.dat").write_bytes(b"x")
    assert names(find_images([folder / "scan.dat"]), folder) == ["scan.dat"]


def test_the_order_is_that_of_the_arguments_and_nothing_comes_twice(photos):
    folder = photos("a.jpg", "b.jpg", "c.jpg")
    found = find_images([folder / "c.jpg", folder, f"{folder}/./b.jpg"])
    assert names(found, folder) == ["c.jpg", "a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("nothing.jpg", "the file or folder is missing"),
        ("*.webp", "no image matches this pattern"),
        ("empty", "there is no image in this folder or below it"),
    ],
)
def test_what_matched_nothing_is_reported_beside_what_did(photos, argument, reason):
    folder = photos("a.jpg")
    (folder / "empty").mkdir()
    found = find_images([folder / argument, folder / "a.jpg"])
    assert names(found, folder) == ["a.jpg"]
    assert [problem.reason for problem in found.problems] == [reason]
    assert str(folder / argument) in str(found.problems[0])
