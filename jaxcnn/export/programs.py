"""Networks as the functions that are exported, and exported programs as networks, which predict and are evaluated."""

from collections.abc import Callable
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcnn.augment.compose import normalize
from jaxcnn.config import DataConfig, Normalization
from jaxcnn.errors import UserError
from jaxcnn.export.about import About
from jaxcnn.trained import Origin, Trained

STABLEHLO, ONNX = ".stablehlo", ".onnx"
"""The ends of the names of files of programs."""
_LEAST = 1e-30
"""The probability that stands for 0, which has no logarithm."""


class Program(nn.Module):
    """A program as a network without variables: it returns logits for images that `Trained` has normalized."""

    run: Callable[[jax.Array], jax.Array]
    """The program: logits, or probabilities, (batch, classes), of images (batch, height, width, channels)."""
    num_classes: int
    pixels: bool
    """Whether the program takes uint8 pixels and gives probabilities."""

    def __call__(self, images: jax.Array, *, train: bool = False) -> jax.Array:
        """Returns float32 logits (batch, num_classes) for images (batch, height, width, channels)."""
        if not self.pixels:
            return self.run(images)
        probabilities = self.run(jnp.round(images).astype(jnp.uint8))
        return jnp.log(jnp.maximum(probabilities, _LEAST))


def program_of(network: Trained, pixels: bool) -> Callable[[jax.Array], jax.Array]:
    """Returns the function that is exported: from pixels to probabilities, or from normalized images to logits."""

    def logits(images: jax.Array) -> jax.Array:
        found = network.model.apply(network.variables, images, train=False)
        assert isinstance(found, jax.Array)  # auxiliary heads have logits in training alone
        return found

    def probabilities(images: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits(normalize(images, network.normalization)))

    return probabilities if pixels else logits


def as_network(path: Path, run: Callable[[jax.Array], jax.Array], facts: About) -> Trained:
    """Returns a program as a network.

    Args:
        path: the path of its file.
        run: as `Program` has it.
        facts: what the file says of it.
    """
    # A program of pixels normalizes them itself, so it gets them as they are.
    as_they_are = Normalization(mean=(0.0,), std=(1 / 255,))
    crop = facts.expects.crop
    return Trained(
        model=Program(run, facts.num_classes, facts.pixels),
        variables={},
        num_classes=facts.num_classes,
        class_names=facts.class_names,
        data=DataConfig(train_crop=crop, evaluation_crop=crop, channels=facts.expects.channels),
        normalization=as_they_are if facts.pixels else facts.expects.normalization,
        origin=Origin(path.name, {}, path.name),
    )


def program_file(name: str | Path) -> Path | None:
    """Returns the path of a file of a program, which is known by the end of its name; None for anything else.

    Raises:
        UserError: there is no such file.
    """
    path = Path(name).expanduser()
    if path.suffix not in (STABLEHLO, ONNX):
        return None
    if not path.is_file():
        raise UserError(f"there is no file {path}: write it with `jaxcnn export`, or give another path")
    return path


def load_program(path: Path) -> Trained:
    """Loads the program that `jaxcnn export` wrote to a file.

    Raises:
        UserError: the file is not such a program, or what runs it is not installed.
    """
    # These are imported by what makes programs, and this by all.
    if path.suffix == ONNX:
        from jaxcnn.export.onnx import load_onnx

        return load_onnx(path)
    from jaxcnn.export.stablehlo import load_stablehlo

    return load_stablehlo(path)
