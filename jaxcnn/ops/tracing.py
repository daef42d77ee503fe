"""Operations that are traced, differentiated and lowered once for each kind of arguments, not once for each layer."""

import functools
from collections.abc import Callable, Hashable
from typing import TypeVar

import jax

from jaxcnn.ops.backend import surroundings

Result = TypeVar("Result")


def traced_once(function: Callable[..., Result]) -> Callable[..., Result]:
    """Returns the function, which JAX traces once for all calls with arrays of the same types and equal options.

    The layers of a network repeat few shapes, and Python spends most of the time before a program is compiled in their
    operations. What JAX keeps is valid for a mesh, mapped axes and its own settings; the backend that a program is made
    for and the number of devices, which operations ask for too, are added here. A program calls such an operation as a
    function, which XLA puts in its place before it does anything else.

    Args:
        function: ``function(*arrays, **options)``, with hashable options. It closes over no arrays. An array may be
            None.
    """

    def run(options: tuple[tuple[str, Hashable], ...], around: tuple[str, bool], *arrays):
        del around
        return function(*arrays, **dict(options))

    # It stands in the name of each operation of a program.
    run.__name__ = run.__qualname__ = getattr(function, "__name__", "operation").strip("_")
    jitted = jax.jit(run, static_argnums=(0, 1))

    @functools.wraps(function)
    def call(*arrays, **options):
        return jitted(tuple(options.items()), surroundings(), *arrays)

    return call
