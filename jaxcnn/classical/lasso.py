"""Sparse codes: the lasso of many descriptors in one dictionary, by the alternating direction method of multipliers.

The method is that of Boyd, Parikh, Chu, Peleato and Eckstein, "Distributed optimization and statistical learning via
the alternating direction method of multipliers" (2011), section 6.4, over-relaxed as in section 3.4.3. Descriptors of
SIFT have much in common, and so have atoms that are learned from them: gradients, accelerated as in FISTA, take several
times as many steps there. How far a code is from the best one is known by its duality gap, and not guessed.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

_STEPS_A_LOOK = 10
"""The number of steps after which the gaps are looked at, which costs as much as a step."""
_USUAL_CODE = 0.05
"""The size of an element of a code that the steps are laid out for; descriptors are of length 1."""
_RELAXATION = 1.8
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
    return _objective(residuals, codes, penalty)


def _objective(residuals: jax.Array, codes: jax.Array, penalty: float) -> jax.Array:
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
    return _objective(residuals, codes, penalty) - dual


class Dictionary(NamedTuple):
    """A dictionary, and what is computed once for all codes in it: see `prepared`."""

    atoms: Float32[Array, "atoms dimensions"]
    """The atoms, each of length 1 at most."""
    solution: Float32[Array, "dimensions atoms"]
    """``(augmentation * I + atoms^T atoms)^-1 atoms^T``, by which each step solves its equations."""


def _augmentation(penalty: float) -> float:
    return penalty / _USUAL_CODE


def prepared(atoms: Float32[Array, "atoms dimensions"], penalty: float) -> Dictionary:
    """Returns a dictionary for codes with this penalty."""
    square = jnp.matmul(atoms.T, atoms, precision=_EXACT) + _augmentation(penalty) * jnp.eye(atoms.shape[1])
    return Dictionary(atoms, jax.scipy.linalg.solve(square, atoms.T, assume_a="pos"))


def sparse_codes(descriptors: Float32[Array, "points dimensions"], dictionary: Dictionary, coding: Coding) -> Codes:
    """Returns the codes that minimize `objective`.

    They are computed together until the gap of each is small, so they depend on which descriptors are given together,
    but no further than the tolerance allows.

    Args:
        descriptors: the descriptors; the code of one of zeros is zero.
        dictionary: the dictionary, `prepared` for this penalty.
        coding: the penalty, and how exact the codes are.
    """
    atoms, solution = dictionary
    penalty, tolerance, max_steps = coding
    augmentation = _augmentation(penalty)
    exact = functools.partial(jnp.matmul, precision=_EXACT)
    products = exact(descriptors, atoms.T)
    allowed = tolerance * 0.5 * jnp.sum(descriptors**2, axis=1)

    def step(_: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        codes, multipliers = state
        right = products + augmentation * (codes - multipliers)
        # The inverse of (atoms atoms^T + augmentation * I), by Woodbury's identity.
        dense = (right - exact(exact(right, atoms), solution)) / augmentation
        relaxed = _RELAXATION * dense + (1 - _RELAXATION) * codes + multipliers
        found = jnp.sign(relaxed) * jnp.maximum(jnp.abs(relaxed) - penalty / augmentation, 0)
        return found, relaxed - found

    def look(state: tuple) -> tuple:
        steps, _, *moving = state
        moving = jax.lax.fori_loop(0, _STEPS_A_LOOK, step, tuple(moving))
        return steps + _STEPS_A_LOOK, duality_gaps(descriptors, atoms, moving[0], penalty), *moving

    def goes_on(state: tuple) -> jax.Array:
        return (state[0] < max_steps) & jnp.any(state[1] > allowed)

    zeros = jnp.zeros((len(descriptors), len(atoms)), jnp.float32)
    start = (jnp.int32(0), jnp.full(len(descriptors), jnp.inf), zeros, zeros)
    _, gaps, codes, _ = jax.lax.while_loop(goes_on, look, start)
    return Codes(codes, gaps)
