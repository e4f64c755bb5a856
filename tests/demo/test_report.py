import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from math import nan

import pytest

from dualcoop.demo.content import demo_credits
from dualcoop.demo.gallery import drawn_images, shown_labels
from dualcoop.demo.outcome import SPECIFIC, ZERO_SHOT, Outcome
from dualcoop.demo.overview import write_overview
from dualcoop.demo.report import verdict, write_report

VOID = {"meta", "img", "br", "input", "link"}


class Checker(HTMLParser):
    """Collects addresses and checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"])
            assert values.get("alt")
        if tag == "a":
            self.links.append(values["href"])
        assert tag not in ("script", "link")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(result, exhibits, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write_report(result, path, "dualcoop demo --seeds 2", exhibits).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checked(page):
    checker = Checker()
    checker.feed(page)
    return checker


def test_page_is_whole_and_needs_nothing_else(page, checked):
    assert checked.open == []
    assert all(address.startswith("data:image/jpeg;base64,") for address in checked.images)
    assert "url(" not in page
    assert "@import" not in page


def test_every_test_image_is_shown_and_credited(result, exhibits, page, checked):
    heat_maps = sum(each.heated is not None for each in exhibits)
    assert len(checked.images) == len(result.test) + heat_maps
    credits = demo_credits()
    for path in result.test.paths:
        assert credits[path.name].source in checked.links


def test_figures_protocol_command_and_versions_are_named(page, result):
    for outcome in result.outcomes.values():
        assert f"<b>{outcome.mean():.1f}</b>" in page
    for words in ("classes without positives skipped", "dualcoop demo --seeds 2", "0, 1", "torch", "fingerprint"):
        assert words in page


def test_what_looks_like_markup_is_shown_as_it_is(result, exhibits, tmp_path):
    command = "dualcoop demo --output '<b>&'"
    page = write_report(result, tmp_path / "report.html", command, exhibits).read_text(encoding="utf-8")
    assert command not in page
    assert command in unescape(page)


def test_a_class_that_no_test_image_shows_has_no_figure(result, exhibits, tmp_path):
    runs = {
        key: Outcome(key, tuple(replace(run, report=without_first_class(run.report)) for run in outcome.runs))
        for key, outcome in result.outcomes.items()
    }
    page = write_report(replace(result, outcomes=runs), tmp_path / "report.html", "", exhibits).read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"<tr><td>{result.test.classes[0]}<"))
    assert row.count("<td>-</td>") == 3
    assert "nan" not in row


def without_first_class(report):
    return replace(report, per_class=(replace(report.per_class[0], average_precision=nan), *report.per_class[1:]))


def test_labels_shown_are_the_decisions_and_what_they_miss(result):
    run = result.outcomes[ZERO_SHOT].runs[0]
    for index in range(len(result.test)):
        labels = shown_labels(result, run, index)
        given = {label.name for label in labels if label.verdict != "missed"}
        there = {name for name, value in zip(result.test.classes, result.test.labels[index], strict=True) if value > 0}
        assert given == {name for name, yes in zip(result.test.classes, run.decisions[index], strict=True) if yes}
        assert {label.name for label in labels if label.verdict == "right"} == given & there
        assert {label.name for label in labels if label.verdict == "missed"} == there - given


def test_images_are_drawn_by_seed_and_not_by_result(result):
    assert drawn_images(result, 3) == drawn_images(replace(result, outcomes={}), 3)
    assert len(set(drawn_images(result, 5))) == 5


def test_heat_maps_are_of_right_labels(exhibits):
    for each in exhibits:
        if each.heat_map is not None:
            assert each.heat_map.label in each.truth
            assert each.heated.size == each.image.size


def with_scores(result, key, values):
    """The result with other mAP figures of one method."""

    class Fixed(Outcome):
        def values(self, metric="mAP"):
            return list(values)

    outcome = result.outcomes[key]
    return replace(result, outcomes={**result.outcomes, key: Fixed(outcome.key, outcome.runs)})


def test_verdict_says_a_clear_gain(result):
    text = verdict(with_scores(with_scores(result, ZERO_SHOT, [50, 50]), SPECIFIC, [60, 61]))
    assert "raised the mean average precision (mAP) from 50.0 to 60.5" in text
    assert "cannot tell" not in text


def test_verdict_is_honest_about_no_gain(result):
    text = verdict(with_scores(with_scores(result, ZERO_SHOT, [50, 50]), SPECIFIC, [45, 45]))
    assert "gained nothing" in text
    assert "50.0 before and 45.0 afterwards" in text


def test_verdict_warns_when_rounds_differ_more_than_training_changed(result):
    text = verdict(with_scores(with_scores(result, ZERO_SHOT, [50, 50]), SPECIFIC, [48, 56]))
    assert "differ by up to 8.0 points" in text
    assert "cannot tell" in text


def test_overview_is_a_image(result, exhibits, tmp_path):
    content = write_overview(result, tmp_path / "o.png", exhibits).read_bytes()
    assert re.match(rb"\x89PNG", content)
