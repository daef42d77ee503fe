"""The page of the commands: what docs/commands.md says, and after each heading what ``--help`` prints."""

import contextlib
import importlib
import io
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from jaxcnn.cli.main import main

PAGE = Path(__file__).parents[1] / "commands.md"
COLUMNS = 88
"""The width of the texts, which a page shows without scrolling."""
NEEDS_A_NETWORK = ("evaluate", "features", "detect train")
"""The commands with options that are known once a network is named, because its own data are their defaults."""
GROUP = re.compile(r"^ (?=\S.*\n -{8,}$)", re.MULTILINE)
"""Where a group of options begins: before its title, which a rule follows."""
USAGE = re.compile(r"(?:^(?: {4}|jaxcnn ).*\n)+", re.MULTILINE)
"""How a command is used, in the description of its module: lines that are indented, or begin with ``jaxcnn``."""
HEADING = re.compile(r"^## jaxcnn (.+)$", re.MULTILINE)


def page() -> str:
    """Returns the page: its beginning, and a section for each command that it names."""
    text = PAGE.read_text()
    names = HEADING.findall(text)
    return "\n\n".join([text[: text.index("\n## ")].rstrip(), *map(section, names)]) + "\n"


def section(name: str) -> str:
    """Returns what the page says of a command."""
    module = importlib.import_module(f"jaxcnn.cli.{name.replace('-', '_')}")
    parts = [f"## jaxcnn {name}", USAGE.sub(_fenced, f"{module.__doc__}\n").strip()]
    for command, printed in helps(name):
        heading = [f"### jaxcnn {command}"] if command != name else []
        parts += [*heading, f"```text\n{printed}\n```"]
        if name in ("compile", "scaling-report"):
            parts.append("The options of a recipe are those of [`jaxcnn train`](#jaxcnn-train).")
    return "\n\n".join(parts)


def _fenced(code: re.Match[str]) -> str:
    return f"```text\n{textwrap.dedent(code[0])}```\n"


def helps(name: str) -> Iterator[tuple[str, str]]:
    """Yields a command and its parts, such as ``data check``, with what ``--help`` prints after each."""
    printed = printed_by([name, "--help"])
    if name in ("compile", "scaling-report"):
        recipe = set(_groups(printed_by(["train", "--help"]))[1:])
        printed = "".join(group for group in _groups(printed) if group not in recipe)
    yield name, _tidy(printed)
    parts = re.match(r"usage: \S+ \S+ \[-h\] \{([^}]*)\}", printed)
    for command in (f"{name} {part}" for part in parts[1].split(",")) if parts else ():
        yield command, _tidy(printed_by([*command.split(), "--help"]))
    for command in NEEDS_A_NETWORK:
        if command.split()[0] == name:
            yield f"{command} NETWORK", _tidy(_second_step(command))


def printed_by(arguments: list[str]) -> str:
    """Returns what a command prints for ``--help``."""
    output = io.StringIO()
    with _printing(output):
        main(arguments)
    return output.getvalue()


def _second_step(command: str) -> str:
    """Returns the help of what follows a network, with the defaults of a network of no data set in particular."""
    import tyro

    from jaxcnn.cli import detect, evaluate, features
    from jaxcnn.config import DataConfig, Normalization
    from jaxcnn.config.detection import RCNNConfig, ScenesOf

    plain = (DataConfig(), Normalization(mean=(0.0,), std=(1.0,)))
    default, config = {
        "evaluate": (evaluate.Options(*plain, evaluate.Chosen()), ()),
        "features": (features.Options(*plain), ()),
        "detect train": (detect.Options(ScenesOf(), RCNNConfig()), (tyro.conf.AvoidSubcommands,)),
    }[command]
    output = io.StringIO()
    with _printing(output):
        tyro.cli(type(default), prog=f"jaxcnn {command} NETWORK", args=["--help"], default=default, config=config)
    return output.getvalue()


@contextlib.contextmanager
def _printing(output: io.StringIO) -> Iterator[None]:
    with (
        mock.patch.dict(os.environ, {"COLUMNS": str(COLUMNS)}),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        yield


def _groups(printed: str) -> list[str]:
    return GROUP.split(printed)


def _tidy(printed: str) -> str:
    return "\n".join(line.rstrip() for line in printed.strip().splitlines())
