"""`dualcoop demo`: what a few labels do, shown on photographs that ship with the package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from dualcoop.cli.messages import duration, say
from dualcoop.cli.models import DEFAULT_BACKBONE
from dualcoop.cli.progress import waiting
from dualcoop.cli.training_display import TrainingDisplay
from dualcoop.errors import ConfigError

if TYPE_CHECKING:
    from dualcoop.demo.outcome import DemoResult

REPORT, OVERVIEW = "report.html", "overview.png"
DEFAULT_OUTPUT = Path("dualcoop-demo")


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the report; made if need be.")
    ] = DEFAULT_OUTPUT,
    known_fraction: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the labels that may be seen.")
    ] = 0.25,
    seeds: Annotated[
        int, typer.Option(min=1, max=10, help="Rounds, each with other labels hidden: seeds 0, 1, 2, ...")
    ] = 3,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
) -> None:
    """Show what a few labels do: tags photographs, trains on a few labels, writes a report. Needs no network."""
    if output.exists() and not output.is_dir():
        raise ConfigError("this is a file", where=str(output), remedy="name a folder")
    console = Console()
    with waiting("starting"):
        from dualcoop.demo.content import demo_classes
        from dualcoop.demo.experiment import run_demo
        from dualcoop.demo.outcome import DemoOptions
        from dualcoop.demo.overview import write_overview
        from dualcoop.demo.report import random_exhibits, verdict, write_report
        from dualcoop.methods.dualcoop import DualCoOp
        from dualcoop.training import TrainingArguments

        zero_shot = DualCoOp.zero_shot(DEFAULT_BACKBONE, demo_classes(), device=device)
    options = DemoOptions(known_fraction=known_fraction, seeds=tuple(range(seeds)))
    with TrainingDisplay(TrainingArguments().epochs, lines=False) as display:
        result = run_demo(zero_shot, options, display.step, display)
        display.step("writing the report")
        exhibits = random_exhibits(result)
        output.mkdir(parents=True, exist_ok=True)
        report = write_report(result, output / REPORT, _command(output, known_fraction, seeds), exhibits)
        overview = write_overview(result, output / OVERVIEW, exhibits)
        result.model.save_pretrained(output / "model")
    _show(result, console)
    say(verdict(result))
    say(f"done in {duration(result.seconds)}")
    model = output / "model"
    lines = ["", f"report:   {report}  (open it in a browser)", f"image:    {overview}"]
    lines.append(f"model:    {model}  (dualcoop tag PHOTOS --model {model})")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _show(result: "DemoResult", console: Console) -> None:
    from dualcoop.demo.outcome import ZERO_SHOT

    title = f"{len(result.test)} photographs never seen before; mAP (classes without positives skipped), %"
    numbers = (f"mean of {len(result.options.seeds)}", "lowest to highest", "training")
    columns = (Column(name, justify="right") for name in numbers)
    grid = Table("method", *columns, title=title, title_justify="left")
    for outcome in result.outcomes.values():
        values = outcome.values()
        seconds = duration(sum(run.seconds for run in outcome.runs) / len(outcome.runs))
        spread = f"{min(values):.1f} to {max(values):.1f}"
        grid.add_row(outcome.title, f"{outcome.mean():.1f}", spread, "none" if outcome.key == ZERO_SHOT else seconds)
    console.print(grid)


def _command(output: Path, known_fraction: float, seeds: int) -> str:
    """The command that repeats this run."""
    place = "" if output == DEFAULT_OUTPUT else f" --output {output}"
    return f"dualcoop demo{place} --known-fraction {known_fraction} --seeds {seeds}"
