"""`dualcoop explain`: where in an image a label was looked for."""

from pathlib import Path
from typing import Annotated

import typer

from dualcoop.cli.compute import autocast
from dualcoop.cli.labels import read_labels
from dualcoop.cli.messages import say
from dualcoop.cli.models import open_model
from dualcoop.cli.option_groups import grouped
from dualcoop.cli.options import ComputeOptions, ModelOptions
from dualcoop.cli.progress import waiting
from dualcoop.errors import ConfigError


@grouped
def explain(
    image: Annotated[Path, typer.Argument(help="One image.")],
    label: Annotated[
        list[str],
        typer.Option("--label", "-l", help='What to look for; "dog, beach" or several --label give a panel each.'),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="PNG to write.")] = Path("heat.png"),
    *,
    source: ModelOptions,
    compute: ComputeOptions,
) -> None:
    """Draw where in an image each label was looked for (Eq. 5 of the paper), as a heat map.

    The bright places have the largest weight in the label's score. A label that is not in the image has a map too:
    it shows what comes nearest.
    """
    names = list(dict.fromkeys(name for text in label for name in read_labels(text) or []))
    if output.is_dir():
        remedy = f"name a file, such as {output / 'heat.png'}"
        raise ConfigError("this is a folder", where=str(output), remedy=remedy)
    from dualcoop.data.images import check_file

    check_file(image)
    network = open_model(source.model, None if source.model else names, compute, backbone=source.backbone)
    with waiting("drawing"), autocast(network.device, compute.precision):
        from dualcoop.explain import heat_maps, save_heat_maps

        maps = heat_maps(network, image, names)
        save_heat_maps(output, image, maps)
    for heat_map in maps:
        typer.echo(f"{heat_map.label} {heat_map.score:.2f} ({'present' if heat_map.present else 'not present'})")
    say(f"heat map written to {output}")
