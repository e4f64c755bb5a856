"""Tables of results."""

from typing import Any

from experiments.tables import change, views_table


def run(variant: str, seed: int, value: float, **others: Any) -> dict[str, Any]:
    task = {"data": "photos", "images": 9, "epochs": 12, "known_fraction": 1.0}
    return task | {"variant": variant, "seed": seed, "valid_mAP": value, "training_seconds": 2.0} | others


def test_views_are_compared_with_one_plain_view_of_the_same_seed() -> None:
    rows = [
        run("1", 0, 70.0, encoding_seconds=1.0, encoded_views=50),
        run("1", 1, 60.0, encoding_seconds=0.0, encoded_views=0),
        run("8", 1, 59.0, encoding_seconds=3.0, encoded_views=100),
        run("8", 0, 71.5, encoding_seconds=1.0, encoded_views=100),
        run("anew", 0, 69.0, training_seconds=30.0),
    ]
    plain, eight, anew = [line.split(" | ") for line in views_table(rows).splitlines()[2:]]
    assert plain[2:] == ["2", "65.0 (60.0-70.0)", "", "20", "2 |"]
    assert eight[2:] == ["2", "65.2 (59.0-71.5)", "+0.2 (-1.0 to +1.5)", "20", "2 |"]
    assert anew[2:] == ["1", "69.0", "-1.0", "", "30 |"]


def test_a_change_of_nothing_has_no_minus() -> None:
    assert change([-0.02]) == "+0.0"
    assert change([-0.02, 0.01]) == "+0.0 (+0.0 to +0.0)"
    assert change([]) == "-"


def test_runs_of_another_kind_are_not_mixed() -> None:
    rows = [run("1", 0, 70.0), run("8", 0, 71.0)]
    rows += [run("1", 0, 40.0, known_fraction=0.1), run("8", 0, 42.0, known_fraction=0.1)]
    table = views_table(rows).splitlines()[2:]
    assert [line.split(" | ")[4] for line in table] == ["", "+1.0", "", "+2.0"]
    assert "10% known" in table[2]
