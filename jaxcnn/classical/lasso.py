"""Sparse codes: the lasso of many descriptors in one dictionary, by accelerated proximal gradients.

The method is FISTA (Beck and Teboulle, 2009), in which a code loses its momentum where that leads uphill (O'Donoghue
and Candès, arXiv:1204.3982). How far a code is from the best one is known by its duality gap, and not guessed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

_STEPS_A_LOOK = 10
"""The number of steps after which the gaps are looked at, which costs as much as a step."""
_EXACT = jax.lax.Precision.HIGHEST


class Coding(NamedTuple):
    """How descriptors are coded."""

    penalty: float
    """The weight of the codes' sum of absolute values."""
    tolerance: float
    """The largest duality gap, as a share of the objective of the code of zeros."""
    max_steps: int
    """The number of steps after which codes are taken whatever their gaps are."""


class Codes(NamedTuple):
    """The codes of some descriptors."""

    codes: Float32[Array, "points atoms"]
    gaps: Float32[Array, " points"]
    """The duality gap of each code, which is at least what its objective is above the smallest."""


def objective(
    descriptors: Float32[Array, "points dimensions"],
    dictionary: Float32[Array, "atoms dimensions"],
    codes: Float32[Array, "points atoms"],
    penalty: float,
) -> Float32[Array, " points"]:
    """Returns ``|descriptor - code @ dictionary|^2 / 2 + penalty * |code|_1`` of each code."""
    residuals = descriptors - jnp.matmul(codes, dictionary, precision=_EXACT)
    return 0.5 * jnp.sum(residuals**2, axis=1) + penalty * jnp.sum(jnp.abs(codes), axis=1)


def duality_gaps(
    descriptors: Float32[Array, "points dimensions"],
    dictionary: Float32[Array, "atoms dimensions"],
    codes: Float32[Array, "points atoms"],
    penalty: float,
) -> Float32[Array, " points"]:
    """Returns the difference between the objective of each code and the dual objective of its scaled residual."""
    residuals = descriptors - jnp.matmul(codes, dictionary, precision=_EXACT)
    correlations = jnp.abs(jnp.matmul(residuals, dictionary.T, precision=_EXACT)).max(1)
    feasible = residuals * jnp.minimum(1, penalty / jnp.maximum(correlations, 1e-30))[:, None]
    # |x|^2 / 2 - |x - f|^2 / 2 as one product, in which no two nearly equal numbers are subtracted.
    dual = jnp.sum(feasible * (descriptors - 0.5 * feasible), axis=1)
    primal = 0.5 * jnp.sum(residuals**2, axis=1) + penalty * jnp.sum(jnp.abs(codes), axis=1)
    return primal - dual


def steepness(dictionary: Float32[Array, "atoms dimensions"]) -> Float32[Array, ""]:
    """Returns the largest eigenvalue of ``dictionary^T dictionary``, by which the length of a step is chosen."""
    return jnp.linalg.eigvalsh(jnp.matmul(dictionary.T, dictionary, precision=_EXACT))[-1]


def sparse_codes(
    descriptors: Float32[Array, "points dimensions"],
    dictionary: Float32[Array, "atoms dimensions"],
    steepest: Float32[Array, ""],
    coding: Coding,
) -> Codes:
    """Returns the codes that minimize `objective`.

    They are computed together until the gap of each is small, so they depend on which descriptors are given together,
    but no further than the tolerance allows.

    Args:
        descriptors: the descriptors; the code of one of zeros is zero.
        dictionary: the atoms, of length 1 at most.
        steepest: their `steepness`.
        coding: the penalty, and how exact the codes are.
    """
    penalty, tolerance, max_steps = coding
    rate = 1 / jnp.maximum(1.001 * steepest, 1e-30)  # what rounding adds to the eigenvalue is less
    allowed = tolerance * 0.5 * jnp.sum(descriptors**2, axis=1)

    def step(_: int, state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        codes, ahead, momentum = state
        residuals = descriptors - jnp.matmul(ahead, dictionary, precision=_EXACT)
        moved = ahead + rate * jnp.matmul(residuals, dictionary.T, precision=_EXACT)
        found = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - rate * penalty, 0)
        uphill = jnp.sum((ahead - found) * (found - codes), axis=1, keepdims=True) > 0
        momentum = jnp.where(uphill, 1.0, momentum)
        following = 0.5 * (1 + jnp.sqrt(1 + 4 * momentum**2))
        return found, found + (momentum - 1) / following * (found - codes), following

    def look(state: tuple) -> tuple:
        steps, _, *moving = state
        moving = jax.lax.fori_loop(0, _STEPS_A_LOOK, step, tuple(moving))
        return steps + _STEPS_A_LOOK, duality_gaps(descriptors, dictionary, moving[0], penalty), *moving

    def goes_on(state: tuple) -> jax.Array:
        return (state[0] < max_steps) & jnp.any(state[1] > allowed)

    zeros = jnp.zeros((len(descriptors), len(dictionary)), jnp.float32)
    start = (jnp.int32(0), jnp.full(len(descriptors), jnp.inf), zeros, zeros, jnp.ones((len(descriptors), 1)))
    _, gaps, codes, *_ = jax.lax.while_loop(goes_on, look, start)
    return Codes(codes, gaps)
