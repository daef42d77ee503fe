"""An image as a network sees it, its answer, and the layers that put out a map of it."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxcnn.augment.compose import normalize
from jaxcnn.data.images import ImageLike, given, split_of_images
from jaxcnn.data.pipeline import SINGLE_CROP
from jaxcnn.errors import UserError, nearest
from jaxcnn.features.extraction import layers
from jaxcnn.features.layers import Layer
from jaxcnn.models.network import Network
from jaxcnn.networks import check_views
from jaxcnn.trained import Trained
from jaxcnn.types import Variables

Blank: TypeAlias = Literal["mean", "black"]
"""An image on which there is nothing: each channel's mean in the normalization, or black."""


def seen_pixels(network: Trained, image: ImageLike, *, upright: bool = True) -> np.ndarray:
    """Returns the crop of an image that a network sees, uint8 (height, width, channels).

    Args:
        network: the network, whose own evaluation crop is taken.
        image: a file, uint8 pixels or a Pillow image, as for `Trained.predict`.
        upright: whether a photograph is turned as its orientation in EXIF says.

    Raises:
        UserError: the file is missing or is no image, or the crop does not fit the network.
    """
    check_views(network.model, network.variables, network.normalization, network.data, SINGLE_CROP)
    split = split_of_images(given([image], upright=upright), network.data, upright=upright)
    batch = next(split.evaluation_batches(1))
    if split.bad:
        path, reason = split.bad[0]
        raise UserError(f"{path} {reason}")
    return np.asarray(batch["image"][0])


def blank(network: Trained, kind: Blank) -> np.ndarray:
    """Returns the levels of an image on which there is nothing, float32 (channels,), from 0 to 255."""
    mean = np.array(network.normalization.mean if kind == "mean" else 0.0, np.float32)
    return np.broadcast_to(255 * mean, (network.data.channels,)).astype(np.float32)


def map_layers(network: Trained) -> list[Layer]:
    """Returns the layers that put out a map of more than one pixel, in the order in which they are computed.

    Raises:
        UserError: there is none, as in a program.
    """
    found = [layer for layer in layers(network) if len(layer.shape) == 3 and layer.shape[0] * layer.shape[1] > 1]
    if not found:
        raise UserError(
            "no layer of this network puts out a map that could be looked at: take a run folder, or a model with "
            "--weights"
        )
    return found


def map_layer(network: Trained, name: str | None) -> Layer:
    """Returns the layer of a name, by default the last that puts out a map of more than one pixel.

    Raises:
        UserError: there is no such layer, or it puts out no map.
    """
    found = map_layers(network)
    if name is None:
        return found[-1]
    for layer in found:
        if layer.name == name:
            return layer
    names = [layer.name for layer in found]
    raise UserError(f"no layer {name!r} of this network puts out a map of the image: {nearest(name, names)}")


def stage_layers(network: Trained) -> dict[str, Layer]:
    """Returns the last layer of each stage that puts out a map, by the name of the stage, in their order.

    The layers before the first stage are the ``stem``; the ``last`` is the network's last map, or the last layer behind
    all stages.
    """
    model, found = network.model, {}
    for layer in map_layers(network):
        stage = model.stage_of(layer.name.split("/")[0]) if isinstance(model, Network) else None
        found["last" if stage is None else f"stage {stage}" if stage else "stem"] = layer
    return found


def class_of(network: Trained, wanted: str) -> int:
    """Returns the number of a class that is given by its name or by that number.

    Raises:
        UserError: there is no such class, or several are called so.
    """
    names = network.class_names or ()
    named = [label for label, name in enumerate(names) if name == wanted]
    if len(named) == 1:
        return named[0]
    if not named and wanted.isdecimal() and int(wanted) < network.num_classes:
        return int(wanted)
    if named:
        raise UserError(f"classes {', '.join(map(str, named))} are all called {wanted!r}: give the number of one")
    known = f"{nearest(wanted, names)}, or give" if names else "give"
    raise UserError(f"this network has no class {wanted!r}: {known} a number from 0 to {network.num_classes - 1}")


def checked_label(network: Trained, label: int) -> int:
    """Returns the number of a class.

    Raises:
        UserError: the network has no such class.
    """
    if not 0 <= label < network.num_classes:
        raise UserError(f"there is no class {label}: give a number from 0 to {network.num_classes - 1}")
    return label


def check_differentiable(network: Trained) -> None:
    """Refuses a program, which is known by having no variables: its derivatives were not written with it.

    Raises:
        UserError: the network is a program.
    """
    if not jax.tree.leaves(network.variables):
        raise UserError(
            "this network is a program, through which no gradient goes: take the run folder, or the model with "
            "--weights, that it was exported from"
        )


def logits_of(network: Trained) -> Callable[[Variables, jax.Array], jax.Array]:
    """Returns a pure function from variables and images of levels from 0 to 255 to float32 logits."""

    def logits(variables: Variables, images: jax.Array) -> jax.Array:
        found = network.model.apply(variables, normalize(images, network.normalization), train=False)
        assert isinstance(found, jax.Array)  # auxiliary heads have logits in training alone
        return found.astype(jnp.float32)

    return logits
