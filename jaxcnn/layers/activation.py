"""The activations that the lecture compares, by name."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Activation = Literal["relu", "relu6", "sigmoid", "tanh", "scaled_tanh", "gelu", "silu"]
"""The name of an activation."""


def scaled_tanh(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns 1.7159 tanh(2x / 3), which maps unit variance to unit variance (LeCun et al. 1998, appendix A)."""
    return 1.7159 * jnp.tanh(x * (2 / 3))


def activation(name: Activation) -> Callable[[jax.Array], jax.Array]:
    """Returns the function of that name; ``gelu`` is the exact one (erf), as PyTorch's, not JAX's tanh form."""
    return {
        "relu": jax.nn.relu,
        "relu6": jax.nn.relu6,
        "sigmoid": jax.nn.sigmoid,
        "tanh": jnp.tanh,
        "scaled_tanh": scaled_tanh,
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "silu": jax.nn.silu,
    }[name]
