"""The demo's report: one HTML file that holds everything it shows."""

import math
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from dualcoop.demo.content import LICENCE_PAGES
from dualcoop.demo.gallery import Exhibit, as_data_address, drawn_images, exhibit
from dualcoop.demo.outcome import LINEAR, SPECIFIC, ZERO_SHOT, DemoResult
from dualcoop.version import __version__

SHOWN = 9
TEMPLATE = "report.html.jinja"
METRICS = ("mAP", "OF1", "CF1")
PACKAGES = ("torch", "timm", "scikit-learn", "numpy", "pillow")


def write_report(result: DemoResult, path: Path, command: str, exhibits: Sequence[Exhibit]) -> Path:
    """Write the page.

    Args:
        result: of `run_demo`.
        path: of the HTML file; its folder exists.
        command: as typed, printed for repetition.
        exhibits: images drawn at random, with heat maps, shown first.
    """
    shown = {each.credit.image for each in exhibits}
    rest = [exhibit(result, index, heated=False) for index, name in enumerate(result.test.names) if name not in shown]
    metrics = {metric.key: metric for metric in result.outcomes[ZERO_SHOT].runs[0].report.metrics}
    positives = result.test.positives / len(result.test)
    environment = Environment(loader=PackageLoader("dualcoop", "demo"), autoescape=True, undefined=StrictUndefined)
    environment.filters["data_address"] = as_data_address
    environment.tests["nan"] = math.isnan
    page = environment.get_template(TEMPLATE).render(
        result=result,
        options=result.options,
        outcomes=list(result.outcomes.values()),
        metrics=[metrics[key] for key in METRICS],
        verdict=verdict(result),
        # The expected AP of a random order is close to the share of positives.
        chance=100 * positives[positives > 0].mean(),
        exhibits=exhibits,
        rest=rest,
        classes=list(_class_rows(result)),
        credits=sorted((each.credit for each in (*exhibits, *rest)), key=attrgetter("image")),
        licence_pages=LICENCE_PAGES,
        command=command,
        versions=[("dualcoop", __version__), ("Python", platform.python_version())]
        + [(name, version(name)) for name in PACKAGES],
        machine=platform.machine(),
    )
    path.write_text(page, encoding="utf-8")
    return path


def _class_rows(result: DemoResult) -> Iterator[tuple[str, int, int, int, float, float]]:
    """Of each class its name, labels to learn from (present, absent), test images with it, AP before and after."""
    before, after = (
        np.mean([[row.average_precision for row in run.report.per_class] for run in result.outcomes[key].runs], axis=0)
        for key in (ZERO_SHOT, SPECIFIC)
    )
    labels = result.shown.labels
    counts = ((labels > 0).sum(axis=0), (labels < 0).sum(axis=0), result.test.positives)
    return zip(result.test.classes, *(column.tolist() for column in (*counts, before, after)), strict=True)


def random_exhibits(result: DemoResult, count: int = SHOWN) -> list[Exhibit]:
    """Test images drawn at random, with heat maps."""
    return [exhibit(result, index) for index in drawn_images(result, count)]


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
