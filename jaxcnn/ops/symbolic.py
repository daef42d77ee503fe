"""Sizes that are symbols, as in `jax.export.symbolic_shape`.

JAX knows that a symbol is at least 1, and what the constraints of its scope say. What these do not decide, such as
whether ``h <= 40``, cannot be asked in Python: JAX raises, and for nested expressions it may search for minutes. So a
symbol counts as large here: it is not smaller than a bound, a window fits into it, and fast paths for small images are
not taken.
"""

import operator
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
    """Returns whether ``length <= bound``, which no symbol is."""
    return not is_symbolic([length, bound]) and length <= bound


def known_at_most(length: Length, bound: Length) -> bool:
    """Returns whether JAX knows that ``length <= bound`` whatever the symbols in it stand for."""
    try:
        return bool(length <= bound)
    except InconclusiveDimensionOperation:
        return False


def at_least(length: Length, bound: int) -> Length:
    """Returns the larger of a symbol and a number."""
    return operator.methodcaller("max", bound)(length)
