"""The demo's report: one HTML file that holds everything it shows."""

import platform
from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path

import numpy as np

from dualcoop.demo.cards import images_section
from dualcoop.demo.content import LICENCE_PAGES, Credit, demo_credits
from dualcoop.demo.gallery import Exhibit, drawn_images, exhibit
from dualcoop.demo.outcome import LINEAR, SHARED, SPECIFIC, TITLES, ZERO_SHOT, DemoResult, Outcome
from dualcoop.demo.style import CSS
from dualcoop.version import __version__

SHOWN = 9
PROTOCOL = "mAP, classes without positives skipped"


def write_report(result: DemoResult, path: Path, command: str, exhibits: Sequence[Exhibit]) -> Path:
    """Write the page.

    Args:
        result: of `run_demo`.
        path: of the HTML file; its folder exists.
        command: as typed, printed for repetition.
        exhibits: images drawn at random, with heat maps, shown first.
    """
    credits = demo_credits()
    shown = {each.name for each in exhibits}
    rest = [
        exhibit(result, index, credits, heated=False)
        for index, file in enumerate(result.test.paths)
        if file.name not in shown
    ]
    everything = sorted({each.name for each in (*exhibits, *rest)})
    body = "\n".join(
        [
            _opening(result),
            _chart(result),
            _what_was_done(result),
            images_section(result, exhibits, rest),
            _classes(result),
            _next_steps(),
            _how_to_repeat(result, command),
            _credits([credits[name] for name in everything if name in credits]),
        ]
    )
    path.write_text(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>DualCoOp demo</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n",
        encoding="utf-8",
    )
    return path


def random_exhibits(result: DemoResult, count: int = SHOWN) -> list[Exhibit]:
    """Test images drawn at random, with heat maps."""
    credits = demo_credits()
    return [exhibit(result, index, credits) for index in drawn_images(result, count)]


def verdict(result: DemoResult) -> str:
    """What came out, in words that also fit when nothing was gained."""
    before, after, linear = (result.outcomes[key].mean() for key in (ZERO_SHOT, SPECIFIC, LINEAR))
    if after > before:
        learned = f"raised the mean average precision (mAP) from {before:.1f} to {after:.1f}"
    else:
        learned = f"gained nothing: the mean average precision (mAP) was {before:.1f} before and {after:.1f} afterwards"
    compared = (
        f"{abs(after - linear):.1f} points {'more' if after > linear else 'less'} than a linear classifier reaches "
        f"with the same labels ({linear:.1f})"
    )
    text = f"On {len(result.test)} photographs that it had never seen, training {learned}, {compared}."
    rounds = result.outcomes[SPECIFIC].values()
    spread = max(rounds) - min(rounds)
    if abs(after - before) <= spread:
        text += (
            f" Rounds that hide other labels differ by up to {spread:.1f} points, more than training changed: so few "
            "photographs cannot tell."
        )
    return text


def _opening(result: DemoResult) -> str:
    share = 100 * result.options.known_fraction
    return (
        "<h1>What a few labels do</h1>\n"
        f'<p class="lead">{len(result.train)} photographs, {len(result.test.classes)} kinds of things that may be in '
        f"them, and only {share:.0f} % of the answers known: {result.known_labels} yes-or-no labels out of "
        f"{result.train.labels.size}. {escape(verdict(result))}</p>"
    )


def _chart(result: DemoResult) -> str:
    rows = "\n".join(_bar(outcome) for outcome in result.outcomes.values())
    rounds = len(result.options.seeds)
    return (
        f'<h2>The result</h2>\n<div class="chart" role="img" aria-label="{PROTOCOL}">{rows}</div>\n'
        f'<p class="soft">{PROTOCOL}, in percent, on the {len(result.test)} test photographs; mean of {rounds} rounds '
        "that hide other labels, and in brackets (also as a line) the lowest and highest of them. mAP asks: if all "
        "photographs are sorted by their score for, say, “dog”, do those with a dog come first? 100 is perfect order. "
        f"Random order gives about {_chance(result):.0f}.</p>\n"
        f"{_table(['', *(_metric_title(result, key) for key in ('mAP', 'OF1', 'CF1'))], _metric_rows(result))}"
    )


def _bar(outcome: Outcome) -> str:
    low, high, mean = min(outcome.values()), max(outcome.values()), outcome.mean()
    ours = " ours" if outcome.key in (SPECIFIC, SHARED) else ""
    return (
        f'<div class="bar{ours}"><span class="name">{escape(outcome.title)}</span>'
        f'<span class="track"><span class="fill" style="width:{mean:.1f}%"></span>'
        f'<span class="range" style="left:{low:.1f}%;width:{high - low:.1f}%"></span></span>'
        f"<span><b>{mean:.1f}</b> <small>[{low:.1f}, {high:.1f}]</small></span></div>"
    )


def _chance(result: DemoResult) -> float:
    """Expected AP of a random order is close to the share of positives."""
    positives = (result.test.labels > 0).mean(axis=0)
    return float(100 * positives[positives > 0].mean())


def _metric_title(result: DemoResult, key: str) -> str:
    report = result.outcomes[ZERO_SHOT].runs[0].report
    return next(metric.title for metric in report.metrics if metric.key == key)


def _metric_rows(result: DemoResult) -> list[list[str]]:
    return [
        [outcome.title, *(f"{outcome.mean(key):.1f}" for key in ("mAP", "OF1", "CF1"))]
        for outcome in result.outcomes.values()
    ]


def _what_was_done(result: DemoResult) -> str:
    options = result.options
    methods = "".join(
        f"<li><b>{escape(title)}</b>: {escape(explanation)}.</li>" for title, explanation in TITLES.values()
    )
    held = len(result.valid)
    return (
        "<h2>What was done</h2>\n<ol>"
        f"<li>A model that knows images and words, <b>{escape(result.model.backbone.name)}</b>, looked once at every "
        "photograph. It is never changed.</li>"
        f"<li>Of all labels of the {len(result.train)} training photographs, each was kept with probability "
        f"{options.known_fraction:g} and the others were hidden, as if nobody had had the time to fill them in.</li>"
        f"<li>Four methods got the same photographs and the same labels:<ul>{methods}</ul></li>"
        f"<li>All were measured on {len(result.test)} other photographs. Nothing was chosen by looking at these: "
        f"{held} of the training photographs, with hidden labels too, set the thresholds and the strength of the "
        "linear classifier, and all other settings are the defaults.</li></ol>"
    )


def _classes(result: DemoResult) -> str:
    before, after = (result.outcomes[key].runs for key in (ZERO_SHOT, SPECIFIC))
    rows = []
    for index, name in enumerate(result.test.classes):
        old, new = (
            float(np.mean([run.report.per_class[index].average_precision for run in runs])) for runs in (before, after)
        )
        labels = result.shown.labels[:, index]
        counts = f"{int((labels > 0).sum())} + {int((labels < 0).sum())}"
        rows.append(
            [
                name,
                counts,
                str(int((result.test.labels[:, index] > 0).sum())),
                _ap(old),
                _ap(new),
                _change(old, new),
            ]
        )
    titles = [
        "class",
        "labels to learn from (there + not there)",
        "test photographs with it",
        "AP, no training",
        "AP, DualCoOp",
        "change",
    ]
    return (
        "<h2>Class by class</h2>\n<p>Average precision (AP) in percent, mean over the rounds; the labels are those of "
        "the first. With a handful of test photographs for a class, single figures say little.</p>\n"
        f"{_table(titles, rows)}"
    )


def _ap(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"


def _change(old: float, new: float) -> str:
    if np.isnan(old) or np.isnan(new):
        return "-"
    kind = "up" if new > old else "down" if new < old else "soft"
    return f'<span class="{kind}">{new - old:+.1f}</span>'


def _next_steps() -> str:
    commands = (
        '# what is in your photographs? any words will do\ndualcoop tag photos/ --labels "dog, beach, surfboard"\n\n'
        "# learn from a table with a few labels for each photograph: image,labels,absent\n"
        "dualcoop train labels.csv --images photos/ --output out/\ndualcoop tag photos/ --model out/\n\n"
        "# where did it look?\ndualcoop explain photos/beach.jpg --label dog --model out/ --output heat.png"
    )
    return f"<h2>With your own photographs</h2>\n<pre><code>{escape(commands)}</code></pre>"


def _how_to_repeat(result: DemoResult, command: str) -> str:
    options, arguments, backbone = result.options, result.arguments, result.model.backbone
    fingerprint = result.model.backbone_fingerprint()
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "timm", "scikit-learn", "numpy", "pillow"))
    rows = [
        ["command", f"<code>{escape(command)}</code>"],
        ["seeds (hidden labels, held-out photographs, training)", ", ".join(map(str, options.seeds))],
        [
            "training",
            escape(
                f"{arguments.epochs} epochs, {arguments.optimizer}, learning rate {arguments.learning_rate:g}, "
                f"{len(result.shown)} photographs, {len(result.valid)} more for validation"
            ),
        ],
        ["prompts", escape(str(result.model.settings()["prompts"]))],
        [
            "backbone",
            f"{escape(backbone.name)}, fingerprint <code>{fingerprint[:16]}</code>",
        ],
        [
            "data",
            f"test <code>{result.test.fingerprint()[:16]}</code>, train <code>{result.train.fingerprint()[:16]}</code>",
        ],
        ["versions", escape(f"dualcoop {__version__}, Python {platform.python_version()}, {packages}")],
        ["computed on", escape(f"{result.model.device}, {platform.machine()}, in {result.seconds:.0f} s")],
    ]
    body = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    return f'<h2>How to repeat it</h2>\n<table class="facts"><tbody>{body}</tbody></table>'


def _credits(credits: Sequence[Credit]) -> str:
    rows = "".join(
        f'<li><a href="{escape(c.source, quote=True)}">{escape(c.title)}</a> by {escape(c.author)}, '
        f'<a href="{LICENCE_PAGES[c.licence]}">{escape(c.licence)}</a>; {escape(c.changes)}</li>'
        for c in credits
    )
    return (
        "<h2>Photographs</h2>\n<p>None of them is ours. They keep their authors' licences, which also hold for the "
        "small versions and the heat maps on this page; the licence of dualcoop does not cover them.</p>\n"
        f"<details><summary>Titles, authors and licences of the {len(credits)} photographs on this page</summary>"
        f'<ul class="credits">{rows}</ul></details>'
    )


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
