"""Label names as a user gives them: on the command line or in a text file."""

from pathlib import Path

from dualcoop.cli.messages import count, warn
from dualcoop.errors import ConfigError

FILE_MARK = "@"
COMMENT = "#"


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
        raise ConfigError("give the labels with --labels or with --labels-file, not with both.")
    if text is not None and text.startswith(FILE_MARK):
        file = Path(text.removeprefix(FILE_MARK))
    names = _split(text or "") if file is None else _read_lines(file)
    source = "--labels" if file is None else str(file)
    if not names:
        raise ConfigError(f'{source} holds no label. Give names such as --labels "dog, beach, surfboard".')
    once = list(dict.fromkeys(names))
    if len(once) < len(names):
        repeated = next(name for name in once if names.count(name) > 1)
        warn(f"{source}: {count(len(names) - len(once), 'repeated label')} left out, such as {repeated!r}.")
    return once


def _split(text: str) -> list[str]:
    return [name for part in text.replace(";", ",").split(",") if (name := " ".join(part.split()))]


def _read_lines(file: Path) -> list[str]:
    file = file.expanduser()
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: the labels are not UTF-8 ({error.reason}). Save the file as UTF-8.") from error
    except OSError as error:
        raise ConfigError(f"{file}: the labels cannot be read ({error.strerror}). Check the name.") from error
    lines = [" ".join(line.split()) for line in content.splitlines()]
    names = [line for line in lines if line and not line.startswith(COMMENT)]
    return _split(names[0]) if len(names) == 1 else names
