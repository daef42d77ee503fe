"""Draws what units of a network look for: images that make them answer strongly.

    jaxcnn activations --model RUN_FOLDER --layer LAYER --units 0 1 2 [--out units.png]
    jaxcnn activations --model MODEL --weights SOURCE --layer logits --units 281 967
    jaxcnn activations --model ... --layer list

A unit is a channel of a layer's map, or a value of a layer without one; those of `logits` are the classes. The exit
code is 0.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxcnn.cli.shared import WhichWeights, print_layers
from jaxcnn.explanations.maximization import JITTER, LEARNING_RATE, STEPS, preferred_images
from jaxcnn.features.extraction import layers
from jaxcnn.features.layers import LAST_MAP, LOGITS
from jaxcnn.pictures.embedded import tag
from jaxcnn.pictures.sections import Lead, Picture, Section, check_ending, write_sections
from jaxcnn.text import escaped


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Draw what units of a network look for."""

    model: str = "runs/lenet_digits"
    """A run folder, or a model's name."""
    which: Annotated[WhichWeights, tyro.conf.arg(name="")] = dataclasses.field(default_factory=WhichWeights)
    layer: str = LAST_MAP
    """The name of the layer; "list" prints all layers and draws nothing."""
    units: tuple[int, ...] = (0, 1, 2, 3)
    """The numbers of the units."""
    steps: int = STEPS
    """The steps of the ascent."""
    jitter: int = JITTER
    """The most pixels by which an image is shifted before a step."""
    learning_rate: float = LEARNING_RATE
    """The rate of Adam."""
    seed: int = 0
    """What the first images and the shifts are drawn from."""
    out: Path = Path("activations.png")
    """The file to write, which ends in .html or .png."""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    chosen = tyro.cli(Arguments, prog="jaxcnn activations", args=arguments)
    check_ending(chosen.out)
    network = chosen.which.load(chosen.model)
    if chosen.layer == "list":
        print_layers(layers(network))
        return 0
    images, answers = preferred_images(
        *(network, chosen.layer, chosen.units),
        steps=chosen.steps,
        jitter=chosen.jitter,
        learning_rate=chosen.learning_rate,
        seed=chosen.seed,
    )
    names = network.class_names if chosen.layer == LOGITS else None
    pictures = [
        Picture(image, f"unit {unit}{f', {names[unit]}' if names else ''}: {answer:.2f}")
        for unit, image, answer in zip(chosen.units, images, answers, strict=True)
    ]
    note = f"After {chosen.steps} steps with shifts of up to {chosen.jitter} pixels; below each is the unit's answer."
    said = "Each image was changed step by step so that a unit answers more strongly."
    lead = Lead("method", "Method", tag("p", said), said)
    section = Section("units", f"Units of {chosen.layer}", note, pictures)
    write_sections(chosen.out, chosen.model, "jaxcnn activations", [section], lead)
    print(f"{escaped(str(chosen.out))} shows {len(pictures)} units of {escaped(chosen.layer)}")
    return 0
