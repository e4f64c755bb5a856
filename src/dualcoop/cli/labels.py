"""Label names as a user gives them: on the command line or in a text file."""

from pathlib import Path

from dualcoop.cli.messages import warn
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, Option

FILE_MARK = "@"
COMMENT = "#"
EXAMPLE = Option("labels", "dog, beach, surfboard")


def read_labels(text: str | None, file: Path | None = None) -> list[str] | None:
    """Names from `--labels` or `--labels-file`, in their order, each once; None when neither is given.

    On the command line commas (or semicolons) stand between the names. In a file each line is a name, so that
    names may hold commas; a file of one line is read like the command line. Blank lines and lines that start
    with # do not count.

    Raises:
        ConfigError: when both are given, the file cannot be read, or no name is left.
    """
    if text is None and file is None:
        return None
    if text is not None and file is not None:
        ways = Option("labels"), " or with ", Option("labels_file")
        raise ConfigError(("give the labels with ", *ways, ", not with both"))
    if text is not None and text.startswith(FILE_MARK):
        file = Path(text.removeprefix(FILE_MARK))
    names = _split(text or "") if file is None else _read_lines(file)
    if not names:
        remedy = ("give names such as ", EXAMPLE)
        if file is not None:
            raise ConfigError("there is no label in this file", where=str(file), remedy=remedy)
        raise ConfigError("holds no label", option="labels", remedy=remedy)
    once = list(dict.fromkeys(names))
    if len(once) < len(names):
        repeated = next(name for name in once if names.count(name) > 1)
        source = Option("labels") if file is None else str(file)
        warn((source, f": {counted(len(names) - len(once), 'repeated label')} left out, such as {repeated!r}."))
    return once


def _split(text: str) -> list[str]:
    return [name for part in text.replace(";", ",").split(",") if (name := " ".join(part.split()))]


def _read_lines(file: Path) -> list[str]:
    file = file.expanduser()
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"the labels are not UTF-8 ({error.reason})"
        raise ConfigError(what, where=str(file), remedy="save the file as UTF-8") from error
    except OSError as error:
        what = f"the labels cannot be read ({error.strerror})"
        raise ConfigError(what, where=str(file), remedy="check the name") from error
    lines = [" ".join(line.split()) for line in content.splitlines()]
    names = [line for line in lines if line and not line.startswith(COMMENT)]
    return _split(names[0]) if len(names) == 1 else names
