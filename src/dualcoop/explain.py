"""Heat maps: the weights with which a class looks at the regions of an image (Eq. 5), drawn over it."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualcoop.errors import ConfigError, DataError
from dualcoop.inference.images import ImageInput, read_image
from dualcoop.methods.base import Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "inferno"
OPACITY = 0.85
"""Of the colour where the weight is largest; where it is 0 the image shows through untouched."""
PANEL_INCHES = 3.6
PANELS_IN_A_ROW = 4
MAX_SIDE = 900
"""Images are shown no larger than this many pixels."""


@dataclass(frozen=True)
class HeatMap:
    """Where one class was looked for in one image.

    Attributes:
        label: the class, in the model's spelling.
        score: its probability, in [0, 1].
        present: whether the score exceeds the class's threshold.
        weights: (rows, columns), float32, sum 1: the share of each region in the class's logits (Eq. 5 and 6).
    """

    label: str
    score: float
    present: bool
    weights: NDArray[np.float32]

    @property
    def title(self) -> str:
        """Label, score, and whether it counts as present."""
        return f"{self.label} {self.score:.2f}, {'present' if self.present else 'not present'}"


def heat_maps(model: Method, image: ImageInput, labels: Sequence[str]) -> list[HeatMap]:
    """Heat maps of one image, one for each label, in their order.

    Args:
        model: of a method that weighs regions.
        image: path, content of a file, PIL image or uint8 array (H, W, 3).
        labels: classes of the model; underscores and white space do not matter.

    Raises:
        ConfigError: without a label.
        ModelError: for a label that is no class of the model, or a method that weighs no regions.
        DataError: when the image cannot be read.
    """
    if not labels:
        raise ConfigError("name at least one label to explain")
    names = [model.classes[model.class_index(label)] for label in dict.fromkeys(labels)]
    opened = read_image(image)
    scores, weights = model.explained(opened, names)
    thresholds = model.threshold_values()[[model.class_index(name) for name in names]]
    return [
        HeatMap(name, float(score), bool(score > threshold), weight)
        for name, score, threshold, weight in zip(names, scores, thresholds, weights, strict=True)
    ]


def upsampled(weights: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Weights (rows, columns) stretched over an image of (width, height): (height, width), same units.

    The model sees the image squashed to a square, so the grid covers all of it. Values between the centres of
    regions are interpolated linearly and never leave the range of the weights.
    """
    grid = Image.fromarray(np.ascontiguousarray(weights, dtype=np.float32), mode="F")
    return np.asarray(grid.resize(size, Image.Resampling.BILINEAR), dtype=np.float32)


def overlay(image: Image.Image, weights: NDArray[np.float32]) -> Image.Image:
    """An image with its heat map: bright colour where the weight is large, the plain image where it is 0.

    Args:
        image: RGB.
        weights: (rows, columns), not negative; the largest gets the brightest colour.
    """
    from matplotlib import colormaps

    highest = float(weights.max())
    share = upsampled(weights, image.size) / (highest if highest > 0 else 1.0)
    colour = colormaps[COLOURS](share)[..., :3] * 255
    # Grey under the colours: the image's own would mix with those that mean something.
    grey = np.asarray(image.convert("L").convert("RGB"), dtype=np.float32)
    pixels = np.asarray(image, dtype=np.float32)
    opacity = OPACITY * share[..., None]
    base = pixels + np.clip(2 * opacity, 0, 1) * (grey - pixels)
    blended = base + opacity * (colour - base)
    return Image.fromarray(np.clip(blended.round(), 0, 255).astype(np.uint8))


def draw_heat_maps(image: Image.Image, maps: Sequence[HeatMap]) -> "Figure":
    """A matplotlib figure: the image, then a panel for each heat map with its score and a colour bar."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    shown = image.copy()
    shown.thumbnail((MAX_SIDE, MAX_SIDE))
    panels = len(maps) + 1
    columns = min(panels, PANELS_IN_A_ROW)
    rows = math.ceil(panels / columns)
    height = min(max(PANEL_INCHES * shown.height / shown.width, 1.6), 2 * PANEL_INCHES) + 0.5
    figure = Figure(figsize=(columns * (PANEL_INCHES + 0.5), rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    axes[0].imshow(shown)
    axes[0].set_title("image", fontsize=11)
    for axis, heat_map in zip(axes[1:], maps, strict=False):
        axis.imshow(overlay(shown, heat_map.weights))
        axis.set_title(heat_map.title, fontsize=11, fontweight="bold" if heat_map.present else "normal")
        scale = ScalarMappable(Normalize(0, float(heat_map.weights.max())), COLOURS)
        bar = figure.colorbar(scale, cax=axis.inset_axes((1.02, 0, 0.04, 1)), ticks=MaxNLocator(5))
        bar.ax.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=1, symbol=" %"))
        bar.ax.tick_params(labelsize=8)
        bar.ax.axhline(1 / heat_map.weights.size, color="white", linewidth=1.5)
    if maps:
        figure.supxlabel(
            "colour: weight of a region in the label's score; white line on the scale: if all "
            f"{maps[0].weights.size} regions counted the same",
            fontsize=8,
        )
    return figure


def save_heat_maps(path: str | os.PathLike[str], image: ImageInput, maps: Sequence[HeatMap], *, dpi: int = 110) -> Path:
    """Draw heat maps and write them as PNG (or what the file's ending says); folders are made.

    Raises:
        DataError: when the image cannot be read or the file cannot be written.
    """
    path = Path(path)
    figure = draw_heat_maps(read_image(image), maps)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=dpi)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: the heat map cannot be written ({error}). Choose a name such as heat.png.") from error
    return path
