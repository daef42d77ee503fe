"""Sizes that are symbols, as in `jax.export.symbolic_shape`.

JAX knows that a symbol is at least 1, and what the constraints of its scope say. What these do not decide, such as
whether ``h <= 40``, cannot be asked in Python: JAX raises. So a symbol about which nothing is known counts as large
here: it is not smaller than a bound, a window fits into it, and fast paths for small images are not taken.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jax.errors import InconclusiveDimensionOperation
from jax.export import symbolic_shape

# JAX types all sizes as int, and has no public name for the type of symbols and their expressions.
if TYPE_CHECKING:
    Length = int
else:
    Length = int | type(symbolic_shape("length")[0])


def is_symbolic(lengths: Iterable[Length]) -> bool:
    """Returns whether a length among these is a symbol or an expression of symbols."""
    return not all(isinstance(length, int) for length in lengths)


def at_most(length: Length, bound: Length) -> bool:
    """Returns whether ``length <= bound`` whatever the symbols in it stand for.

    A length that has been divided more than once counts as large: JAX would think about it for minutes.
    """
    if not isinstance(length, int) and str(length).count("floordiv") > 1:
        return False
    try:
        return bool(length <= bound)
    except InconclusiveDimensionOperation:
        return False
