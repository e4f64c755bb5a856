"""`dualcoop info`: what is installed, where it computes, what works offline, and what a model folder holds."""

import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

from dualcoop.cli.messages import storage
from dualcoop.cli.metrics import print_metrics
from dualcoop.cli.progress import waiting
from dualcoop.counting import counted
from dualcoop.version import __version__

CLASSES_SHOWN = 20


def info(
    model: Annotated[
        str | None,
        typer.Argument(help="Folder of a trained model, or an exported file, to describe instead."),
    ] = None,
) -> None:
    """Show versions, devices and backbones; or what a trained model's folder holds."""
    console = Console()
    if model is not None:
        from dualcoop.export.tagger import is_exported

        describe = _describe_exported if is_exported(model) else _describe_model
        describe(Path(model).expanduser(), console)
        return
    with waiting("looking around"):
        devices, precision = _devices()
        backbones = _backbones()
    python = f"{platform.python_version()}, {platform.platform()}"
    _print("dualcoop", {"version": __version__, "Python": python}, console)
    _print("Packages", _packages(), console)
    _print("Devices", {**devices, "bfloat16": precision}, console)
    _print("Backbones", backbones, console)


def _packages() -> dict[str, str]:
    """Versions of what this package requires, extras aside."""
    found = {}
    needed = [each for each in requires("dualcoop") or () if "extra ==" not in each]
    for name in (re.split(r"[\s;=><~!\[]", each)[0] for each in needed):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _devices() -> tuple[dict[str, str], str]:
    import os

    import torch

    processor = platform.processor() or platform.machine()
    devices = {"cpu": f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"}
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        devices[f"cuda:{index}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU"
    from dualcoop.devices import fast_bfloat16, resolve_device

    chosen = resolve_device("auto")
    devices["--device auto"] = str(chosen)
    return devices, "fast" if fast_bfloat16(chosen) else "without a gain on this hardware"


def _backbones() -> dict[str, str]:
    from dualcoop.backbones import list_backbones
    from dualcoop.backbones.loading.names import BUILT_IN

    names = [name for name in list_backbones() if name not in BUILT_IN]
    return {
        **dict.fromkeys(BUILT_IN, "ships with dualcoop, works without a network"),
        "downloaded already": ", ".join(_downloaded(names)) or "none",
        "by name": f"downloaded when first used: {', '.join(names)}",
        "others": "hf-hub:owner/name, or a checkpoint file (RN101/openai@file.pt)",
    }


def _downloaded(names: Sequence[str]) -> list[str]:
    """Names with tags of which the weights lie in the Hugging Face cache, so that they need no network."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    from dualcoop.backbones import list_pretrained
    from dualcoop.backbones.loading.names import hub_files, tag_config

    try:
        cached = {repository.repo_id for repository in scan_cache_dir().repos}
    except CacheNotFound:
        return []
    tags = [(name, tag) for name in names for tag in list_pretrained(name)]
    return [f"{name}/{tag}" for name, tag in tags if hub_files(tag_config(name, tag)[1])[0] in cached]


def _describe_model(folder: Path, console: Console) -> None:
    from dualcoop.saving.card import backbone_title
    from dualcoop.saving.config import read_config
    from dualcoop.saving.hub import find_model

    if not folder.is_dir():
        folder = find_model(str(folder))
    config = read_config(folder)
    settings = dict(config.settings)
    prompts, image_size = settings.pop("prompts", {}), settings.pop("image_size")
    training = config.training_record.get("training", {})
    _print(
        str(folder),
        {
            "saved by": f"dualcoop {config.dualcoop_version}",
            "method": config.method,
            "backbone": f"{backbone_title(config.backbone_name)}{', fine-tuned' if config.finetuned else ''}",
            "fingerprint": config.backbone_fingerprint,
            "classes": _some(config.classes),
            "prompts": _short(prompts),
            "head": _short({name.replace("_", " "): value for name, value in settings.items()}),
            "image size": f"{image_size} pixels",
            "files": ", ".join(
                f"{path.name} ({storage(path.stat().st_size)})" for path in sorted(folder.iterdir()) if path.is_file()
            ),
            "trained": training.get("started", "not recorded"),
            "training data": "; ".join(
                f"{name}: {counted(part['images'], 'image')}, {counted(part['known_labels'], 'known label')}"
                for name, part in training.get("data", {}).items()
            ),
        },
        console,
    )
    for name, report in config.training_record.get("metrics", {}).items():
        print_metrics(report, title=name, console=console)


def _describe_exported(file: Path, console: Console) -> None:
    from dualcoop.export.tagger import OnnxTagger

    found = OnnxTagger(file).description
    _print(
        str(file),
        {
            "written by": f"dualcoop {found.dualcoop_version}",
            "size": storage(file.stat().st_size),
            "backbone": f"{found.backbone}{', fine-tuned' if found.finetuned else ''}",
            "fingerprint": found.backbone_fingerprint,
            "classes": _some(found.classes),
            "head": found.aggregation,
            "image size": f"{found.image_size} pixels, {found.interpolation}",
            "precision": found.precision,
        },
        console,
    )


def _some(classes: Sequence[str]) -> str:
    more = len(classes) - CLASSES_SHOWN
    return f"{len(classes)}: {', '.join(classes[:CLASSES_SHOWN])}" + (f" and {more} more" if more > 0 else "")


def _short(values: dict[str, Any]) -> str:
    shown = {name: f"{value:g}" if isinstance(value, float) else value for name, value in values.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items() if value is not None)


def _print(title: str, values: dict[str, str], console: Console) -> None:
    columns = Column(no_wrap=True), Column(overflow="fold")
    grid = Table(*columns, title=title, title_justify="left", show_header=False, title_style="bold")
    for name, value in values.items():
        if value:
            grid.add_row(name, value)
    console.print(grid)
