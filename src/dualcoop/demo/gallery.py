"""Images of the report: thumbnails and heat maps as small JPEGs inside the page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dualcoop.demo.content import Credit, demo_credits
from dualcoop.demo.outcome import SPECIFIC, ZERO_SHOT, DemoResult, Run
from dualcoop.explain import HeatMap, heat_maps, overlay
from dualcoop.inference.images import read_image

THUMBNAIL = (300, 300)
QUALITY = 78


@dataclass(frozen=True)
class ShownLabel:
    """A label that a method gave to an image, or missed.

    Attributes:
        name: of the class.
        score: probability, in [0, 1].
        verdict: "right", "wrong", or "missed" when it is there and was not given.
    """

    name: str
    score: float
    verdict: str


@dataclass(frozen=True)
class Exhibit:
    """One test image as the report shows it.

    Attributes:
        image: RGB, thumbnail size.
        truth: labels that are in it.
        before, after: what zero-shot and trained class-specific prompts say, best first, missed ones last.
        heat_map: of the trained prompts for the right label with the highest score; None where none is right.
        heated: the thumbnail with that heat map; None likewise.
        credit: whom the image is from.
    """

    image: Image.Image
    truth: list[str]
    before: list[ShownLabel]
    after: list[ShownLabel]
    heat_map: HeatMap | None
    heated: Image.Image | None
    credit: Credit


def drawn_images(result: DemoResult, count: int) -> list[int]:
    """Indices of test images to show, drawn at random with the demo's first seed."""
    draw = np.random.default_rng(result.options.seeds[0])
    return sorted(draw.permutation(len(result.test))[:count].tolist())


def exhibit(result: DemoResult, index: int, *, heated: bool = True) -> Exhibit:
    """Everything about one test image; the heat map costs a pass through the image tower."""
    path = result.test.paths[index]
    image = read_image(path)
    thumbnail = image.copy()
    thumbnail.thumbnail(THUMBNAIL)
    truth = [name for name, label in zip(result.test.classes, result.test.labels[index], strict=True) if label > 0]
    after = shown_labels(result, result.outcomes[SPECIFIC].runs[0], index)
    right = [label.name for label in after if label.verdict == "right"]
    heat_map = heat_maps(result.model, image, right[:1])[0] if heated and right else None
    return Exhibit(
        thumbnail,
        truth,
        shown_labels(result, result.outcomes[ZERO_SHOT].runs[0], index),
        after,
        heat_map,
        None if heat_map is None else overlay(thumbnail, heat_map.weights),
        demo_credits()[path.name],
    )


def shown_labels(result: DemoResult, run: Run, index: int) -> list[ShownLabel]:
    """Labels that one method gives to an image, best first, then those that it misses."""
    labels = []
    for column in np.argsort(-run.scores[index], kind="stable"):
        given, there = run.decisions[index, column], result.test.labels[index, column] > 0
        if given or there:
            verdict = "missed" if not given else "right" if there else "wrong"
            labels.append(ShownLabel(result.test.classes[column], float(run.scores[index, column]), verdict))
    return sorted(labels, key=lambda label: label.verdict == "missed")


def as_data_address(image: Image.Image) -> str:
    """An image as an address that holds it, for a page of one file."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
