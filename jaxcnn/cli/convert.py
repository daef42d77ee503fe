"""Writes pretrained weights of a model under our names, as one safetensors file or as an orbax checkpoint.

jaxcnn convert MODEL SOURCE OUT [--format orbax]
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.weights.load import load_pretrained
from jaxcnn.weights.published import find_published, is_published
from jaxcnn.weights.save import Format, save_variables


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Write pretrained weights of a model under our names."""

    model: tyro.conf.Positional[str]
    """A model's name."""
    source: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
    """A .pth or .safetensors file, or torchvision[/NAME], timm[/NAME] or lite0 for published weights."""
    out: tyro.conf.Positional[Path]
    """The file, or for orbax the folder, to write; jaxcnn.load_pretrained takes it."""
    format: Format = "safetensors"


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn convert", args=arguments)
    options = find_published(chosen.model, chosen.source).options if is_published(chosen.source) else {}
    save_variables(load_pretrained(chosen.model, chosen.source, **options), chosen.out, chosen.format)
    shown = ", ".join([repr(chosen.model), *(f"{option}={value!r}" for option, value in options.items())])
    print(f"{chosen.out} holds the variables of create_model({shown})")
    return 0
