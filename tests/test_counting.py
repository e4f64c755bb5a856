import pytest

from dualcoop.counting import counted


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [(1, "row", "1 row"), (0, "row", "0 rows"), (2000, "class", "2,000 classes"), (3, "box", "3 boxes")],
)
def test_numbers_agree_with_their_nouns(number, noun, expected):
    assert counted(number, noun) == expected
