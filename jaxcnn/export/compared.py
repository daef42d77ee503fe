"""Whether a program gives what its network gives."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxcnn.errors import UserError
from jaxcnn.trained import Trained

CLOSE, CLOSE_IN_HALF = 1e-4, 5e-2
"""The largest difference, as a share of the largest output but at least of 1; and that of a network which computes in
bfloat16 or float16, whose rounding depends on the lowering."""


def made_images(shape: tuple[int, ...], network: Trained, pixels: bool) -> np.ndarray:
    """Returns images of that shape, (batch, height, width, channels), that are the same each time."""
    drawn = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if pixels:
        return drawn
    mean, std = (np.asarray(each, np.float32) for each in (network.normalization.mean, network.normalization.std))
    return ((drawn / np.float32(255) - mean) / std).astype(np.float32)


def agree(
    program: Callable[[np.ndarray], ArrayLike],
    function: Callable[[jax.Array], jax.Array],
    images: np.ndarray,
    network: Trained,
    file: str,
) -> float:
    """Returns the largest difference between what a program and a network give for images.

    Raises:
        UserError: it is too large.
    """
    expected, found = np.asarray(jax.jit(function)(images)), np.asarray(program(images))
    half = jnp.finfo(getattr(network.model, "dtype", None) or jnp.float32).bits < 32
    bound = (CLOSE_IN_HALF if half else CLOSE) * max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(found - expected).max())
    if not difference <= bound:
        raise UserError(
            f"{file} differs from the network by {difference:.1e}, more than {bound:.0e}: use its weights alone, with "
            "--format safetensors"
        )
    return difference


def agree_in_batches(
    program: Callable[[np.ndarray], np.ndarray],
    function: Callable[[jax.Array], jax.Array],
    network: Trained,
    pixels: bool,
    file: str,
) -> float:
    """Returns the largest difference, on three images of the crop's size, of which the program is given one and two.

    Raises:
        UserError: it is too large.
    """
    size = network.data.evaluation_crop.size
    images = made_images((3, size, size, network.data.channels), network, pixels)
    return agree(
        lambda images: np.concatenate([program(images[:1]), program(images[1:])]), function, images, network, file
    )
