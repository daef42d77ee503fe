"""What several commands need to parse or to print."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, TypeVar

import rich.console
import rich.table
import tyro

from jaxcnn.config import TrainConfig
from jaxcnn.config.command_line import ROLES
from jaxcnn.recipes import Recipe, load_recipe

if TYPE_CHECKING:
    from jaxcnn.features.layers import Layer
    from jaxcnn.trained import Trained

Source = TypeVar("Source")
Chosen = TypeVar("Chosen")
DEFAULT_RECIPE = "lenet_digits"
"""The recipe of a command line that names none."""
WIDTH = 200
"""The number of columns of a table where the output is no terminal: a wrapped table is hard to read and to search."""


@dataclasses.dataclass(frozen=True)
class Ignoring:
    """What is left out of the weights of others."""

    ignore: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="PATTERN")] = ()
    """A pattern of the names of tensors that are left out of the weights, as 'total_*'; may be given several times."""


@dataclasses.dataclass(frozen=True)
class Foreign(Ignoring):
    """How the weights of others are read."""

    class_names: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A file with the name of each class on a line, in the order of the logits; by default those that are known."""


@dataclasses.dataclass(frozen=True)
class WhichWeights:
    """With which weights a command loads its one network."""

    weights: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """The weights of a model: a file (.pth, .safetensors), or torchvision[/NAME], timm[/NAME] or lite0 to lite2."""
    foreign: Annotated[Foreign, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Foreign)
    checkpoint: Literal["latest", "best"] = "latest"
    """Which of a run's checkpoints to take; the best has the lowest error of the weights asked for."""
    weights_of: Literal["raw", "ema"] = "raw"
    """A run's parameters themselves, or their moving average."""

    def load(self, name: str) -> "Trained":
        """Returns the network of a name: see `jaxcnn.load`.

        Raises:
            UserError: as `jaxcnn.load`, or the file of the class names cannot be read.
        """
        from jaxcnn import loading  # the commands that train or prepare data start without it

        return loading.load(
            *(name, self.weights, self.checkpoint, self.weights_of),
            ignore=self.foreign.ignore,
            class_names=loading.read_names(self.foreign.class_names),
        )


@dataclasses.dataclass(frozen=True)
class OneNetwork:
    """Where a command's one network comes from."""

    network: tyro.conf.Positional[str]
    """A run folder, or a model's name."""
    weights: Annotated[str | None, tyro.conf.arg(metavar="SOURCE")] = None
    """The weights of a model: a file (.pth, .safetensors), or torchvision[/NAME], timm[/NAME] or lite0 to lite2."""
    foreign: Annotated[Ignoring, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Ignoring)
    checkpoint: Literal["latest", "best"] = "latest"
    """Which of a run's checkpoints to take; the best has the lowest error of the weights asked for."""
    weights_of: Literal["raw", "ema"] = "raw"
    """A run's parameters themselves, or their moving average."""


def source_of(kind: type[Source], prog: str, arguments: list[str]) -> tuple[Source, list[str]]:
    """Parses the first of two steps: what says where a network comes from. It brings the defaults of the second.

    ``--help`` before the network describes the first step. After it, it is left to the second.

    Args:
        kind: the class of the arguments of the first step.
        prog: the name of the command.
        arguments: the command line.

    Returns:
        The arguments of the first step, and what is left of the command line.
    """
    first_help = not arguments or arguments[0] in ("-h", "--help")
    return tyro.cli(kind, prog=prog, args=arguments, return_unknown_args=True, add_help=first_help)


class NamedRecipe(NamedTuple):
    """The recipe that a command line begins with, and what follows it."""

    name: str
    recipe: Recipe
    prog: str
    """The name of the command with the recipe, or with what stands for one where none is named."""
    options: list[str]


def named_recipe(command: str, placeholder: str, arguments: list[str]) -> NamedRecipe:
    """Loads the recipe that a command line begins with; where it begins with an option, `DEFAULT_RECIPE`.

    Args:
        command: the name of the command.
        placeholder: what stands for a recipe in the command's help.
        arguments: the command line.

    Raises:
        UserError: as `load_recipe` does.
    """
    named = bool(arguments) and not arguments[0].startswith("-")
    name = arguments[0] if named else DEFAULT_RECIPE
    prog = f"{command} {name if named else placeholder}"
    return NamedRecipe(name, load_recipe(name), prog, arguments[named:])


def with_options(default: Chosen, prog: str, options: list[str]) -> Chosen:
    """Parses what follows a recipe: options of the command, and options that override the recipe's.

    Args:
        default: the arguments of the command without them, whose field ``config`` is the recipe's `with_chosen_kinds`.
        prog: the name of the command.
        options: what follows the recipe.
    """
    return tyro.cli(
        type(default), prog=prog, default=default, args=options, config=(tyro.conf.AvoidSubcommands,), registry=ROLES
    )


def console() -> rich.console.Console:
    """Returns a console for tables: as wide as the terminal, or `WIDTH` where there is none.

    It takes no text for markup, because names of files and classes are in the tables.
    """
    width = None if sys.stdout.isatty() else WIDTH
    return rich.console.Console(width=width, markup=False, emoji=False, highlight=False)


def print_layers(layers: "Sequence[Layer]") -> None:
    """Prints a table of layers, with the shapes of what they put out for one image."""
    table = rich.table.Table("layer", "output")
    for layer in layers:
        table.add_row(layer.name, "x".join(map(str, layer.shape)))
    console().print(table)


def with_data_dir(config: TrainConfig, data_dir: str | None) -> TrainConfig:
    """Returns the config with another ``data.data_dir``, if one is given."""
    if data_dir is None:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, data_dir=data_dir))
