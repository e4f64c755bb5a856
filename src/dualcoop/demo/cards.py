"""The report's images: what is in them, and what was said before and after training."""

from collections.abc import Iterable, Sequence
from html import escape

from dualcoop.demo.gallery import Exhibit, ShownLabel, as_data_address
from dualcoop.demo.outcome import DemoResult


def images_section(result: DemoResult, exhibits: Sequence[Exhibit], rest: Sequence[Exhibit]) -> str:
    """Cards of the images drawn at random, and of all others folded away."""
    more = (
        f"<details><summary>All other {len(rest)} test photographs</summary>\n"
        f'<div class="cards">{"".join(map(_card, rest))}</div></details>'
        if rest
        else ""
    )
    return (
        "<h2>Images, before and after training</h2>\n"
        f"<p>{len(exhibits)} of the {len(result.test)} test photographs, drawn at random (seed "
        f"{result.options.seeds[0]}), not picked. {_tag(ShownLabel('right', 0.9, 'right'), '')} is there, "
        f"{_tag(ShownLabel('wrong', 0.6, 'wrong'), '')} was given but is not there, "
        f"{_tag(ShownLabel('missed', 0.1, 'missed'), '')} is there and was not given. A label is given when its score "
        "exceeds a threshold that the validation photographs have set. The heat map shows where the trained model "
        "looked for the right label with the highest score: bright places count most (Eq. 5 of the paper). Nobody has "
        "taught it where things are, so these maps are rough.</p>\n"
        f'<div class="cards">{"".join(map(_card, exhibits))}</div>\n{more}'
    )


def _card(shown: Exhibit) -> str:
    alt = escape(", ".join(shown.truth) or "none of the labels", quote=True)
    views = [f'<figure><img src="{as_data_address(shown.image)}" alt="{alt}" loading="lazy"></figure>']
    if shown.heated is not None and shown.heat_map is not None:
        views.append(f'<figure><img src="{as_data_address(shown.heated)}" alt="heat map" loading="lazy"></figure>')
    caption = (
        ""
        if shown.heat_map is None
        else f"<figcaption>heat map: where it looked for “{escape(shown.heat_map.label)}”</figcaption>"
    )
    single = " single" if len(views) == 1 else ""
    return (
        f'<div class="card"><div class="views{single}">{"".join(views)}</div>{caption}<dl>'
        f"<dt>before: no training</dt><dd>{_tags(shown.before)}</dd>"
        f"<dt>after: DualCoOp, class-specific</dt><dd>{_tags(shown.after)}</dd></dl></div>"
    )


def _tags(labels: Iterable[ShownLabel]) -> str:
    return "".join(_tag(label, f" {label.score:.2f}") for label in labels) or "<small>nothing</small>"


def _tag(label: ShownLabel, score: str) -> str:
    words = {"right": "right", "wrong": "wrong, not there", "missed": "missed"}
    return f'<span class="tag {label.verdict}" title="{words[label.verdict]}">{escape(label.name)}{score}</span>'
