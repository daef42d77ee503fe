"""The last map of a network: where a window's piece of it is, and what of an image that piece depends on."""

import contextlib
import functools
import math
from collections.abc import Callable, Generator
from typing import NamedTuple

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxcnn.errors import UserError
from jaxcnn.layers.blocks import SqueezeExcite
from jaxcnn.models.network import Network
from jaxcnn.types import Variables

_FAR = 1 << 13
"""How many pixels are added to a window to see how its last map grows: many, so that rounding tells nothing."""
_LENGTHS = (4, 16, 64)
"""The lengths in windows of the pictures that `context_of` tries, one after another."""

_MIXES = (
    "has layers before its last map that see the whole image, so windows cannot share a pass: slide a network without "
    "squeeze and excitation, such as efficientnet_lite0, or compute each window by itself with shared=False"
)


class Grid(NamedTuple):
    """What the last map of a network is to a window."""

    cells: int
    """The height and width of a window's last map, in positions."""
    stride: int
    """The network's total stride: the pixels between neighbouring positions."""


def name_of(model: nn.Module) -> str:
    """Returns how messages call a network."""
    return f"the network {type(model).__name__}"


@contextlib.contextmanager
def changed_last_map(change: Callable[[jax.Array], jax.Array]) -> Generator[None]:
    """Has networks that are applied in a ``with`` block put another map in place of their last one.

    Args:
        change: the function from the last map to the map that the layers behind it see.
    """

    def intercept(call, arguments, options, context):
        if context.method_name == Network.last_map.__name__ and not context.module.path:
            return change(*arguments)
        return call(*arguments, **options)

    with nn.intercept_methods(intercept):
        yield


def windows_of(x: jax.Array, cells: int, step: int) -> jax.Array:
    """Returns the pieces of a map that its windows see, (windows, cells, cells, channels), row by row.

    Args:
        x: the map of one image, (1, height, width, channels).
        cells: the height and width of a piece.
        step: the distance of neighbouring pieces, in positions.
    """
    rows, columns = (
        np.arange(0, length - cells + 1, step)[:, None] + np.arange(cells)[None] for length in x.shape[1:3]
    )
    pieces = x[0, rows[:, None, :, None], columns[None, :, None, :]]
    return pieces.reshape(-1, cells, cells, x.shape[-1])


def grid_of(model: nn.Module, variables: Variables, window: int, channels: int) -> Grid:
    """Returns what the last map of a network is to a window, without computing anything.

    Args:
        model: the network, which takes such windows.
        variables: its variables, or their shapes.
        window: the height and width of a window, in pixels.
        channels: the number of channels of an image.

    Raises:
        UserError: the network does not say which map is its last, sees the whole image before it, or takes images of
            one size alone.
    """
    cells = _side(model, variables, window, channels, None)
    try:
        growth = _side(model, variables, window + _FAR, channels, cells) - cells
        stride = round(_FAR / growth) if growth else 0
        regular = stride and _side(model, variables, window + stride, channels, cells) == cells + 1
    except (ValueError, flax.errors.FlaxError):
        regular = False
    if not regular:
        raise UserError(
            f"{name_of(model)} takes images of one size alone, so windows cannot share a pass: slide a network whose "
            "layers up to the last map take images of any size, or compute each window by itself with shared=False"
        )
    return Grid(cells, stride)


def context_of(model: nn.Module, variables: Variables, grid: Grid, window: int, channels: int) -> int:
    """Returns how many pixels beyond a window its piece of the last map sees at most, on each side.

    It is found by computing the last map of long pictures whose ends are not numbers, and seeing how far these get.

    Args:
        model: the network.
        variables: its variables.
        grid: what `grid_of` returns.
        window: the height and width of a window, in pixels.
        channels: the number of channels of an image.

    Returns:
        A multiple of the total stride.

    Raises:
        UserError: they get everywhere: some layer sees the whole image.
    """
    plain, (cells, stride) = _plain(model), grid
    compute = jax.jit(lambda variables, images: jnp.isnan(_last_map(plain, variables, images, cells))[0].any(-1))

    def seen(axis: int) -> int:
        for windows in _LENGTHS:
            inner = window + math.ceil((windows - 1) * window / stride) * stride
            picture = np.zeros((inner + 2 * stride, window, channels), np.float32)
            picture[:stride] = picture[-stride:] = np.nan
            hidden = compute(variables, np.moveaxis(picture, 0, axis)[None])
            clean = np.flatnonzero(~np.asarray(hidden).any(1 - axis))
            if len(clean):
                # The first position of the inner picture has the index 1: the border is as wide as the stride.
                last = (inner - window) // stride + cells
                return max(0, clean[0] - 1, last - clean[-1])
        raise UserError(f"{name_of(model)} {_MIXES}")

    return stride * max(map(seen, (0, 1)))


def _side(model: nn.Module, variables: Variables, size: int, channels: int, cells: int | None) -> int:
    """Returns the height and width of the last map of square images, in positions; the rest is as in `_last_map`."""
    images = jax.ShapeDtypeStruct((1, size, size, channels), jnp.float32)
    found = jax.eval_shape(functools.partial(_last_map, _plain(model), cells=cells), variables, images)
    return found.shape[1]


def _last_map(model: nn.Module, variables: Variables, images: ArrayLike, cells: int | None) -> jax.Array:
    """Returns the last map of images; what comes behind it sees only so many positions of its sides."""
    found: list[jax.Array] = []

    def keep(x: jax.Array) -> jax.Array:
        found.append(x)
        return x[:, :cells, :cells]

    def refuse(call, arguments, options, context):
        if isinstance(context.module, SqueezeExcite) and not found:
            raise UserError(f"{name_of(model)} {_MIXES}")
        return call(*arguments, **options)

    with changed_last_map(keep), nn.intercept_methods(refuse):
        model.apply(variables, images, train=False)
    if not found:
        raise UserError(
            f"{name_of(model)} does not say which map is its last, so windows cannot share a pass: have its __call__ "
            "give that map to self.last_map(...) of Network just before the layers that make logits of it, or compute "
            "each window by itself with shared=False"
        )
    return found[0]


def _plain(model: nn.Module) -> nn.Module:
    """Returns a network whose convolutions compute nothing but what each position sees, which not all lowerings do."""
    return model.clone(lowering="xla") if isinstance(model, Network) else model
