import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualcoop.cli.labels import read_labels
from dualcoop.errors import ConfigError

NAMES = st.lists(st.from_regex(r"[a-z]{1,8}( [a-z]{1,8})?", fullmatch=True), min_size=1, unique=True)


@given(NAMES, st.sampled_from([",", ", ", ";", " ,, "]))
def test_names_between_commas_come_back(names, separator):
    assert read_labels(separator.join(names)) == names


@pytest.fixture
def words(tmp_path):
    return tmp_path / "words.txt"


def test_a_file_has_one_label_a_line_which_may_hold_commas(words):
    words.write_text("# animals\ntench, Tinca tinca\n\n  traffic   light \n", encoding="utf-8-sig")
    assert read_labels(None, words) == ["tench, Tinca tinca", "traffic light"]


def test_a_file_of_one_line_is_read_like_the_command_line(words):
    words.write_text("dog, beach")
    assert read_labels(f"@{words}") == ["dog", "beach"]


def test_repeated_labels_are_left_out_with_a_warning(capsys):
    assert read_labels("dog, cat, dog") == ["dog", "cat"]
    assert "1 repeated label left out, such as 'dog'" in capsys.readouterr().err


def test_nothing_given_is_no_labels():
    assert read_labels(None) is None


@pytest.mark.parametrize("text", ["", " , ;"])
def test_no_label_left_is_refused(text):
    with pytest.raises(ConfigError, match="holds no label"):
        read_labels(text)


def test_an_empty_file_is_refused(words):
    words.write_text("# nothing\n")
    with pytest.raises(ConfigError, match=r"words\.txt: there is no label"):
        read_labels(None, words)


def test_both_ways_at_once_are_refused(words):
    with pytest.raises(ConfigError, match="not with both"):
        read_labels("dog", words)


def test_a_missing_file_is_named(words):
    with pytest.raises(ConfigError, match=r"words\.txt: the labels cannot be read"):
        read_labels(f"@{words}")


def test_another_encoding_is_named(words):
    words.write_bytes("Würfel\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_labels(None, words)
