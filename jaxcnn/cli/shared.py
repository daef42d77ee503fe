"""What several commands need to parse or to print."""

import dataclasses
import sys

import rich.console

from jaxcnn.config import TrainConfig

WIDTH = 200
"""The number of columns of a table where the output is no terminal: a wrapped table is hard to read and to search."""


def console() -> rich.console.Console:
    """Returns a console for tables: as wide as the terminal, or `WIDTH` where there is none.

    It takes no text for markup, because names of files and classes are in the tables.
    """
    width = None if sys.stdout.isatty() else WIDTH
    return rich.console.Console(width=width, markup=False, emoji=False, highlight=False)


def with_data_dir(config: TrainConfig, data_dir: str | None) -> TrainConfig:
    """Returns the config with another ``data.data_dir``, if one is given."""
    if data_dir is None:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, data_dir=data_dir))
