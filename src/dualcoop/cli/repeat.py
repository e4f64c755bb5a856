"""`--from-run`: the options of an earlier run as the defaults of this one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dualcoop.cli.messages import warn
from dualcoop.errors import ConfigError
from dualcoop.training.arguments import renewed

if TYPE_CHECKING:
    from dualcoop.data.labels import LabelledImages
    from dualcoop.methods.dualcoop import DualCoOp

OPTIONS = "options"
RUN = "dualcoop.run"
RENAMED = {"data_format": "format", "cache": "cache_dir"}


@dataclass(frozen=True)
class PastRun:
    """All that a run.json says, and where it is."""

    path: Path
    content: dict[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """Options of `dualcoop train` by parameter name.

        Raises:
            ConfigError: when the run was not made on the command line.
        """
        options = (self.content.get("source") or {}).get(OPTIONS)
        if not isinstance(options, dict):
            what = "the run was not started by `dualcoop train`, so it does not say where its data are"
            raise ConfigError(what, where=str(self.path), remedy="give the options yourself")
        return options

    def compare(self, model: "DualCoOp", parts: dict[str, "LabelledImages | None"]) -> None:
        """Warn where the data or the backbone are not those of the run."""
        recorded = self.content.get("data", {})
        for name, part in parts.items():
            was, now = recorded.get(name, {}).get("fingerprint"), None if part is None else part.fingerprint()
            self._expect(f"{name} images or labels are not those", was, now)
        was, now = self.content.get("model", {}).get("backbone_fingerprint"), model.backbone_fingerprint()
        self._expect("backbone is not that", was, now)

    def _expect(self, otherwise: str, was: str | None, now: str | None) -> None:
        if was != now:
            prints = f"(fingerprint {_short(now)}, then {_short(was)})"
            warn(f"the {otherwise} of {self.path} {prints}: the result will differ.")


def use_run(context: typer.Context, path: Path | None) -> Path | None:
    """Callback of `--from-run`: make the run's options this command's defaults.

    Raises:
        ConfigError: when the file is no record of a run.
    """
    if path is None or context.resilient_parsing:
        return path
    try:
        content = json.loads(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        what = f"the record of a run cannot be read ({error.strerror})"
        raise ConfigError(what, where=str(path), remedy="check the name") from error
    except ValueError as error:
        what = f"this is no record of a run ({error})"
        raise ConfigError(what, where=str(path), remedy="give the run.json of a training") from error
    if not isinstance(content, dict) or content.get("format") != "dualcoop run":
        what = "this is no record of a run"
        raise ConfigError(what, where=str(path), remedy="give the run.json that a training wrote")
    past = PastRun(path, content)
    context.default_map = {**(context.default_map or {}), **_renamed(renewed(past.options))}
    context.meta[RUN] = past
    return path


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """Options of earlier records under today's names."""
    options = {RENAMED.get(name, name): value for name, value in options.items()}
    if "shared" in options:
        options["class_specific"] = not options.pop("shared")
    return options


def past_run(context: typer.Context) -> PastRun | None:
    """The run that this command repeats."""
    return context.meta.get(RUN)


def _short(fingerprint: str | None) -> str:
    return "none" if fingerprint is None else f"{fingerprint[:12]}..."
