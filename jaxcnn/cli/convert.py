"""Writes pretrained weights of a model under our names, as one safetensors file or as an orbax checkpoint.

jaxcnn convert MODEL SOURCE OUT [--format orbax] [--class-names FILE] [--ignore PATTERN]
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.cli.shared import Foreign
from jaxcnn.loading import check_names, read_names
from jaxcnn.models.registry import get_variant
from jaxcnn.weights.load import load_network
from jaxcnn.weights.published import find_published, is_published
from jaxcnn.weights.save import Format, save_variables


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write pretrained weights of a model under our names."""

    model: tyro.conf.Positional[str]
    """A model's name."""
    source: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
    """A .pth or .safetensors file, or torchvision[/NAME], timm[/NAME] or lite0 to lite2 for published weights."""
    out: tyro.conf.Positional[Path]
    """The file, or for orbax the folder, to write; jaxcnn.load_pretrained takes it."""
    format: Format = "safetensors"
    foreign: Annotated[Foreign, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Foreign)


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn convert", args=arguments)
    options = dict(find_published(chosen.model, chosen.source).options) if is_published(chosen.source) else {}
    names = read_names(chosen.foreign.class_names)
    model, variables = load_network(chosen.model, chosen.source, ignore=chosen.foreign.ignore, **options)
    check_names(names, model.num_classes)
    save_variables(variables, chosen.out, chosen.format, names)
    if model.num_classes != get_variant(chosen.model).num_classes:
        options |= {"num_classes": model.num_classes}
    shown = ", ".join([repr(chosen.model), *(f"{option}={value!r}" for option, value in options.items())])
    print(f"{chosen.out} holds the variables of create_model({shown})")
    return 0
