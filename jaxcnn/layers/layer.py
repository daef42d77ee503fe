"""What a network hands to its blocks."""

from collections.abc import Callable

import jax

Layer = Callable[..., Callable[..., jax.Array]]
"""A module class, usually with some of its arguments bound.

Called with the other arguments it makes a module, and the module maps arrays to an array. A network binds what is the
same for all its blocks (data type, lowering, whether it trains), so that blocks need not know it.
"""
