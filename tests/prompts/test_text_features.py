"""Features of prompts by name: order, and that nothing happens but what the functions say."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualcoop.prompts import TextFeatures
from dualcoop.prompts.kept import merged_text_features

NAMES = ("positive", "negative", "evidence", "context")


@st.composite
def drawn_features(draw, classes=4):
    """Any prompts in any order, and the name of the one that leads."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    features = {name: torch.randn(classes, 3, generator=torch.Generator().manual_seed(len(name))) for name in names}
    return TextFeatures(features, draw(st.sampled_from([None, *names]))), names


@given(drawn=drawn_features())
def test_the_leading_prompt_comes_first_and_the_others_keep_their_order(drawn):
    text, names = drawn
    assert list(text) == [text.leading, *(name for name in names if name != text.leading)]
    assert list(text.items()) == [(name, text[name]) for name in text]
    assert len(text) == len(names)
    assert text.stacked().shape == (len(names), 4, 3)
    assert torch.equal(text.stacked()[0], text[text.leading])


@given(drawn=drawn_features(), rows=st.lists(st.integers(0, 3)))
def test_rows_and_functions_reach_every_prompt_and_leave_the_order(drawn, rows):
    text, _ = drawn
    chosen = text.selected(torch.tensor(rows, dtype=torch.int64))
    doubled = text.mapped(lambda each: 2 * each)
    for other in (chosen, doubled, copy.deepcopy(text)):
        assert (list(other), other.leading) == (list(text), text.leading)
    for name, each in text.items():
        assert torch.equal(chosen[name], each[rows])
        assert torch.equal(doubled[name], 2 * each)


@given(drawn=drawn_features(), rows=st.lists(st.integers(0, 3) | st.none(), min_size=1))
def test_merged_features_take_each_name_from_where_it_is(drawn, rows):
    text, _ = drawn
    new = text.mapped(lambda each: torch.randn(rows.count(None), 3)) if None in rows else None
    merged = merged_text_features(text, new, rows)
    assert (list(merged), merged.leading) == (list(text), text.leading)
    for name in text:
        added = iter(() if new is None else new[name])
        for row, found in zip(rows, merged[name], strict=True):
            assert torch.equal(found, next(added) if row is None else text[name][row])


@pytest.mark.parametrize(
    ("names", "leading"),
    [(("negative", "positive"), "positive"), (("negative",), "negative"), (("evidence", "negative"), "evidence")],
)
def test_the_positive_prompt_leads_by_default_or_the_first(names, leading):
    assert TextFeatures({name: torch.zeros(1, 2) for name in names}).leading == leading


def test_a_mapping_never_changes():
    given_features = {"positive": torch.zeros(1, 2)}
    text = TextFeatures(given_features)
    given_features["negative"] = torch.zeros(1, 2)
    assert list(text) == ["positive"]
    with pytest.raises(TypeError, match="does not support item assignment"):
        text["negative"] = torch.zeros(1, 2)


def test_a_leading_prompt_without_features_is_refused():
    with pytest.raises(ValueError, match="leading prompt is 'evidence', expected one of positive"):
        TextFeatures({"positive": torch.zeros(1, 2)}, "evidence")
    with pytest.raises(ValueError, match="leading prompt is None"):
        TextFeatures({})
